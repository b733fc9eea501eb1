"""Made-up results for claims: a grid of stacks whose latencies and accuracies a test chooses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dlas.store.schema import RESULTS

CPU = "Example Xeon CPU, 2 cores, 24 GiB, x86_64 0123abcd"
ARM = "HiKey Cortex-A73, 4 cores, 6 GiB, aarch64 0123abcd"
GPU = "AGX Xavier GPU"
MALI = "HiKey Mali-G72 GPU"

CIFAR = {"vgg16": 15e6, "resnet18": 11e6, "mobilenetv2": 2.3e6}
IMAGENET = {
    "densenet161": 28.7e6, "efficientnetb0": 5.3e6, "resnet50": 25.6e6, "mobilenetv2": 3.5e6,
}  # fmt: skip
PRIMITIVES = ("direct", "gemm", "spatial_pack")
#: compression → (format, promised speedup, share of weights left)
COMPRESSIONS = {
    "none": ("dense", 1.0, 1.0),
    "weight_pruning": ("csr", 10.0, 0.1),
    "channel_pruning": ("dense", 3.0, 0.4),
    "float16": ("dense", 2.0, 1.0),
    "int8": ("dense", 4.0, 1.0),
}
IMAGES = 10_000

Row = Mapping[str, Any]


def grid(
    latency: Callable[[Row], float] = lambda row: 1e-3,
    accuracy: Callable[[Row], float] = lambda row: row["baseline_accuracy"],
    *,
    networks: Mapping[str, float] = CIFAR,
    pixels: int = 1024,
    machine: str = CPU,
    width: float = 0.01,
    **axes: tuple[Any, ...],
) -> pd.DataFrame:
    """Every combination of the axes (compression, primitive, tuning, threads), each with the
    latency in seconds and the accuracy that the functions give for its row; NaN is a refusal.
    ``width``: half of the 95 % interval of a latency, relative."""
    axes = {
        "compression": tuple(COMPRESSIONS),
        "primitive": PRIMITIVES,
        "tuning": ("untuned", "template"),
        "threads": (1,),
        **axes,
    }
    rows = []
    for place, network in enumerate(networks):
        for values in itertools.product(*axes.values()):
            row: dict[str, Any] = dict(zip(axes, values, strict=True))
            form, promised, left = COMPRESSIONS[row["compression"]]
            row |= {
                "study": "made-up",
                "dataset": f"images({pixels})",
                "network": network,
                "model": network,
                "pixels": pixels,
                "optimizations": row["compression"],
                "format": form,
                "software": "tvm",
                "batch": 1,
                "machine": machine,
                "hardware": "local",
                "group": machine,
                "baseline_accuracy": 0.90 + 0.01 * place,
                "test_images": IMAGES,
                "macs": 30.0 * networks[network],
                "effective_macs": 30.0 * networks[network] * left,
                "parameters": networks[network],
                "nonzeros": networks[network] * left,
                "size_bytes": 4.0 * networks[network],
                "sparse_bytes": 4.0 * networks[network] * left,
                "peak_bytes": 1e8 + 4.0 * networks[network] * left,
                "promised_speedup": promised,
            }
            row["key"] = "-".join(str(v) for v in (network, pixels, machine[:9], *values))
            row["accuracy"] = round(accuracy(row) * IMAGES) / IMAGES
            seconds = latency(row)
            row |= _measured(seconds, width)
            rows.append(row)
    return pd.DataFrame(rows, columns=[column.name for column in RESULTS])


def _measured(seconds: float, width: float) -> dict[str, Any]:
    if np.isnan(seconds):
        return {"status": "refused", "stage": "systems", "message": "It was refused."}
    return {
        "status": "ok",
        "latency_s": seconds,
        "latency_low_s": seconds / (1 + width),
        "latency_high_s": seconds * (1 + width),
        "runs": 150,
    }


def blurred(frame: pd.DataFrame, noise: np.random.Generator) -> pd.DataFrame:
    """The same measured once more: off the true latencies by what their 95 % intervals say."""
    half = np.log(frame["latency_high_s"] / frame["latency_s"]).to_numpy(dtype=float)
    off = np.exp(noise.standard_normal(len(frame)) * half / 1.96)
    columns = ["latency_s", "latency_low_s", "latency_high_s"]
    return frame.assign(**{column: frame[column] * off for column in columns})


def times(**factors: Mapping[str, float]) -> Callable[[Row], float]:
    """A latency of 1 ms times the factor that each column's level has (1 where none is given)."""

    def latency(row: Row) -> float:
        seconds = 1e-3
        for column, levels in factors.items():
            seconds *= levels.get(str(row[column]), 1.0)
        return seconds

    return latency

"""A made-up results frame, seeded: three models × seven optimizations × five systems by default,
with the refusals, failures and doubtful measurements that a real study has."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dlas.report.info import Conditions, Dropped, Machine, ReportInfo
from dlas.store.schema import RESULTS

#: (label, MACs, parameters, accuracy)
MODELS = (
    ("resnet(8)", 6.4e6, 78_000, 0.981),
    ("mobilenet_v2(0.5)", 2.9e6, 96_000, 0.964),
    ("vgg(0.25)", 19.5e6, 920_000, 0.972),
)
#: (label, share of MACs left, promised speedup, file bytes per parameter, accuracy lost)
OPTIMIZATIONS = (
    ("none", 1.0, 1.0, 4.0, 0.0),
    ("weight_pruning(0.5)", 0.52, 1.9, 4.0, 0.002),
    ("weight_pruning(0.9)", 0.13, 7.7, 4.0, 0.017),
    ("channel_pruning(0.3)", 0.51, 1.95, 2.1, 0.008),
    ("channel_pruning(0.6)", 0.18, 5.5, 0.8, 0.046),
    ("float16", 1.0, 2.0, 2.0, 0.0),
    ("int8", 1.0, 4.0, 1.05, 0.006),
)
#: (system, algorithm, seconds per MAC, seconds per inference)
ENGINES = (
    ("pytorch", "vendor", 4.5e-11, 6.5e-4),
    ("onnxruntime", "vendor", 2.6e-11, 4.0e-5),
    ("tvm", "direct", 3.1e-10, 6.0e-5),
    ("tvm", "gemm", 1.5e-10, 9.0e-5),
    ("tvm", "spatial_pack", 8.0e-11, 7.0e-5),
)
TEST_IMAGES = 360
MACHINE = "Example CPU @ 2.50GHz, 2 cores"


def made_up_results(
    seed: int = 0,
    models: Sequence[tuple[str, float, int, float]] = MODELS,
    engines: Sequence[tuple[str, str, float, float]] = ENGINES,
) -> pd.DataFrame:
    """One row per stack, the columns of ``store.schema.RESULTS``."""
    random = np.random.default_rng(seed)
    rows = []
    for model in models:
        for optimization in OPTIMIZATIONS:
            right = random.binomial(TEST_IMAGES, model[3] - optimization[4])
            for engine in engines:
                rows.append(_row(random, model, optimization, engine, right))
    frame = pd.DataFrame(rows, columns=[column.name for column in RESULTS])
    same = ["model", "algorithm", "system"]
    plain = frame[frame["optimizations"] == "none"].set_index(same)[["latency_s", "key"]]
    own = plain.reindex(pd.MultiIndex.from_frame(frame[same]))
    frame["baseline"] = own["key"].to_numpy()
    frame["measured_speedup"] = own["latency_s"].to_numpy(dtype=float) / frame["latency_s"].astype(
        float
    )
    return frame


def made_up_info() -> ReportInfo:
    return ReportInfo(
        study="made-up",
        title="Small networks on handwritten digits",
        description="A made-up study: which small network, made smaller how, runs best?",
        when="2026-01-31T12:00:00+00:00",
        dlas_version="0.1.0",
        command="dlas run studies/made-up.toml",
        machines=(
            Machine(
                cpu="Example CPU @ 2.50GHz",
                cores=2,
                isa="x86-64, AVX-512",
                memory_bytes=24 << 30,
                fp32_flops=118e9,
                fp16_flops=None,
                bf16_flops=None,
                int8_ops=402e9,
                bandwidth_bytes_s=14.2e9,
            ),
        ),
        conditions=Conditions(load_average=(0.2, 2.9), steal_share=(0.0, 0.04)),
        versions={"onnxruntime": "1.31.0", "torch": "2.13.0", "apache-tvm": "0.27.0"},
        test_images={"digits": TEST_IMAGES},
        dropped=(Dropped(21, "pytorch chooses its own kernels: algorithm = 'vendor'"),),
    )


def _row(
    random: np.random.Generator,
    model: tuple[str, float, int, float],
    optimization: tuple[str, float, float, float, float],
    engine: tuple[str, str, float, float],
    right: int,
) -> dict[str, object]:
    label, macs, parameters, accuracy = model
    choice, share, promised, bytes_each, _ = optimization
    system, algorithm, per_mac, per_run = engine
    row: dict[str, object] = {
        "study": "made-up",
        "dataset": "digits",
        "model": label,
        "optimizations": choice,
        "algorithm": algorithm,
        "system": system,
        "hardware": "local",
        "network": label,
        "pixels": 64,
        "compression": choice.partition("(")[0],
        "primitive": algorithm,
        "format": "dense",
        "software": system,
        "tuning": "vendor" if algorithm == "vendor" else "untuned",
        "batch": 1,
        "machine": MACHINE,
        "group": label,
        "status": "ok",
        "baseline_accuracy": accuracy,
        "test_images": TEST_IMAGES,
        "macs": macs,
        "effective_macs": macs * share,
        "parameters": parameters,
        "nonzeros": int(parameters * (share if "pruning" in choice else 1)),
        "size_bytes": int(parameters * bytes_each) + 9_000,
        "sparse_bytes": int(parameters * min(bytes_each, 8 * share)),
        "promised_speedup": promised,
        "precision": choice if choice in ("float16", "int8") else "float32",
        "threads": 1,
        "key": hashlib.sha256(f"{label} {choice} {system} {algorithm}".encode()).hexdigest(),
    }
    trouble = _trouble(label, choice, system, algorithm)
    if trouble:
        return row | dict(zip(("status", "stage", "message"), trouble, strict=True))

    other_labels = random.choice([0, 0, 0, 1])  # rounding differs between systems
    run_share = share if choice.startswith("channel") else 1.0
    if choice == "int8":
        run_share = 0.35 if system == "onnxruntime" else 0.8
    if choice == "float16":
        run_share = 1.6
        row["emulated"] = "float16 is computed in float32 on this CPU"
    latency = (per_run + per_mac * macs * run_share) * random.lognormal(0, 0.04)
    half = latency * random.uniform(0.003, 0.012)
    if random.random() < 0.05:
        half *= 8
        row["warnings"] = "load average 2.9 on 2 cores; the interval is wider than 1 %"
    return row | {
        "accuracy": (right - other_labels) / TEST_IMAGES,
        "label_agreement": 1 - other_labels / TEST_IMAGES,
        "output_agreement": 1 - 3 * other_labels / TEST_IMAGES if choice == "int8" else None,
        "latency_s": latency,
        "latency_low_s": latency - half,
        "latency_high_s": latency + 1.3 * half,
        "first_run_s": latency * random.uniform(2, 9),
        "runs": int(random.integers(30, 150)),
        "peak_bytes": (380 if system == "pytorch" else 90) * 1e6 + 8 * parameters,
        "taken_at": "2026-01-31T11:5" + f"{random.integers(0, 9)}:00+00:00",
    }


def _trouble(model: str, choice: str, system: str, algorithm: str) -> tuple[str, str, str] | None:
    if choice == "float16" and algorithm == "gemm":
        return "refused", "algorithms", "gemm has no float16 form: choose direct or spatial_pack"
    if choice == "int8" and system == "pytorch":
        return "refused", "systems", "pytorch does not run QDQ networks: choose onnxruntime"
    if model.startswith("vgg") and algorithm == "direct" and choice == "none":
        return "timed_out", "hardware", "one inference took longer than 10 s"
    if model.startswith("mobile") and choice == "channel_pruning(0.6)" and system == "tvm":
        return "failed", "systems", "the dense layer of 3 inputs could not be vectorized by 16"
    return None

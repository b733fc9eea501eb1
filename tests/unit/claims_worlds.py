"""Two made-up worlds: one where all that the paper observed is so, and one where it is the other
way round. Each has both data sets, four compressions, three tunings and four devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from claims_frames import ARM, CIFAR, CPU, GPU, IMAGENET, MALI, Row, grid

TUNINGS = ("untuned", "template", "auto")
MOBILENETV1 = {"mobilenetv1": 4.2e6}
_NETWORK = {
    "vgg16": 1.0, "resnet18": 3.0, "mobilenetv2": 2.0, "mobilenetv1": 2.0,
    "densenet161": 1.0, "efficientnetb0": 3.0, "resnet50": 2.5,
}  # fmt: skip
_DEVICE = {CPU: 1.0, ARM: 8.0, GPU: 0.5, MALI: 4.0}
_COMPRESSED = {
    "none": 1.0, "weight_pruning": 0.2, "channel_pruning": 0.5, "float16": 1.7, "int8": 0.6,
}  # fmt: skip
_FIRST, _MIDDLE, _LAST = 1.0, 1.3, 1.6


def paper_latency(row: Row) -> float:
    machine, compression, primitive = row["machine"], row["compression"], row["primitive"]
    gpu, tuned = machine in (GPU, MALI), row["tuning"] != "untuned"
    small, cut = row["pixels"] <= 4096, compression in ("weight_pruning", "channel_pruning")
    seconds = 0.1 * _NETWORK[row["network"]] * _DEVICE.get(machine, 1.0)
    if compression == "weight_pruning":
        best = "direct" if gpu else "gemm"
    elif gpu:
        best = "direct" if tuned or row["network"] != "mobilenetv2" else "gemm"
    else:
        best = "spatial_pack" if tuned else "gemm"
    ranks = [best, *(p for p in ("direct", "gemm", "spatial_pack") if p != best)]
    seconds *= (_FIRST, _MIDDLE, _LAST)[ranks.index(primitive)]
    if tuned:
        seconds *= 0.1
    seconds *= _COMPRESSED[compression]
    if gpu and compression in ("float16", "int8"):
        seconds *= 0.5
    if gpu and cut:
        seconds *= 1.5
    if tuned and compression != "none":  # what is compressed gains less by tuning
        seconds *= 1.4
    if tuned and cut and not small:
        seconds *= 5.0
    return seconds


def opposite_latency(row: Row) -> float:
    machine, compression, primitive = row["machine"], row["compression"], row["primitive"]
    tuned, small = row["tuning"] != "untuned", row["pixels"] <= 4096
    gpu = machine in (GPU, MALI)
    seconds = 1e-8 * row["parameters"] / _DEVICE.get(machine, 1.0)  # time follows size
    seconds *= {"direct": _LAST, "gemm": _MIDDLE, "spatial_pack": _FIRST}[primitive]
    if not gpu and compression == "none":
        seconds *= {"direct": 0.5, "gemm": 1.0, "spatial_pack": 2.0}[primitive]
    if tuned:
        seconds *= 0.95
    return seconds * {
        "none": 1.0, "weight_pruning": 1.5 if small else 0.05, "channel_pruning": 0.01,
        "float16": 0.4, "int8": 0.4,
    }[compression] * (0.8 if tuned and compression != "none" else 1.0)  # fmt: skip


def paper_accuracy(row: Row) -> float:
    """The smaller the network, the more a compression costs; ImageNet models lose more."""
    if row["compression"] in ("none", "float16"):
        return float(row["baseline_accuracy"])
    if row["network"] == "efficientnetb0" and row["compression"] == "int8":
        return float(row["baseline_accuracy"] - 0.774)
    lost = 0.12 - 0.10 * (row["parameters"] / 30e6) ** 0.5
    return float(row["baseline_accuracy"] - lost * (0.5 if row["pixels"] <= 4096 else 1.5))


def opposite_accuracy(row: Row) -> float:
    """The larger the network, the more a compression costs, and float16 the most."""
    lost = {"none": 0.0, "float16": 0.3}.get(row["compression"], 0.2)
    return float(row["baseline_accuracy"] - lost * (row["parameters"] / 30e6) ** 0.5)


_PAPER_BASELINES = {
    "vgg16": 0.93, "resnet18": 0.99, "mobilenetv2": 0.97, "mobilenetv1": 0.95,
    "densenet161": 0.89, "efficientnetb0": 0.92, "resnet50": 0.86,
}  # fmt: skip


def world(
    latency: Callable[[Row], float],
    accuracy: Callable[[Row], float],
    baselines: Callable[[str, float], float],
    machines: tuple[str, ...] = (CPU, ARM, GPU, MALI),
) -> pd.DataFrame:
    def scored(row: Any) -> float:
        row["baseline_accuracy"] = baselines(row["network"], row["parameters"])
        return accuracy(row)

    frames = [
        grid(latency, scored, networks=networks, pixels=pixels, machine=machine, tuning=TUNINGS)
        for machine in machines
        for networks, pixels in ((CIFAR | MOBILENETV1, 1024), (IMAGENET, 224 * 224))
    ]
    return pd.concat(frames, ignore_index=True)


def paper_world(*machines: str) -> pd.DataFrame:
    chosen = machines or (CPU, ARM, GPU, MALI)
    return world(paper_latency, paper_accuracy, lambda name, _: _PAPER_BASELINES[name], chosen)


def opposite_world(*machines: str) -> pd.DataFrame:
    """Accuracy follows size too."""
    chosen = machines or (CPU, ARM, GPU, MALI)
    return world(opposite_latency, opposite_accuracy, lambda _, size: 0.6 + size / 1e8, chosen)

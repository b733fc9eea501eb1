"""One thread, batch 1, float32: tvm with templates beside ONNX Runtime and OpenVINO, taking turns.

    python docs/examples/peers.py                    all networks below
    python docs/examples/peers.py resnet18 vgg16     some of them
"""
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from dlas.executable import compile_network, load
from dlas.spec import parse_member

SMALL, LARGE, SECONDS = ((3, 32, 32), 10), ((3, 224, 224), 1000), 10
NETWORKS = {
    "resnet18": ({"name": "resnet", "depth": 18, "form": "cifar"}, SMALL),
    "mobilenetv2": ({"name": "mobilenetv2", "form": "cifar"}, SMALL),
    "vgg16": ({"name": "vgg", "depth": 16}, SMALL),
    "resnet50": ({"name": "resnet", "depth": 50, "form": "imagenet"}, LARGE),
    "mobilenetv2-224": ({"name": "mobilenetv2", "form": "imagenet"}, LARGE),
    "efficientnet-b0": ({"name": "efficientnet"}, LARGE),
    "densenet161": ({"name": "densenet", "depth": 161}, LARGE),
}
CONTENDERS = {
    "tvm": ({"name": "tvm", "tuning": "template"}, "cheapest"),
    "onnxruntime": ({"name": "onnxruntime"}, "vendor"),
    "openvino": ({"name": "openvino"}, "vendor"),
}


def compare(name: str) -> None:
    spec, (shape, classes) = NETWORKS[name]
    data = SimpleNamespace(shape=shape, classes=tuple(map(str, range(classes))))
    network = parse_member("models", spec, "$").build(data)
    images = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    runs, times = {}, {contender: [] for contender in CONTENDERS}
    with tempfile.TemporaryDirectory() as place:
        for contender, (system, algorithm) in CONTENDERS.items():
            folder = Path(place, contender)
            folder.mkdir()
            plan = parse_member("algorithms", {"name": algorithm}, "$").plan(network)
            compile_network(parse_member("systems", system, "$"), network, plan, folder)
            runs[contender] = load(folder)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for contender, run in runs.items():
                run(images)  # warm again after the others
                start = time.perf_counter()
                run(images)
                times[contender].append(time.perf_counter() - start)
    median = {contender: float(np.median(values)) for contender, values in times.items()}
    best = min(median["onnxruntime"], median["openvino"])
    macs = sum(row.macs for row in network.layers)
    for contender, seconds in median.items():
        print(
            f"{name:16} {contender:12} {seconds * 1e3:8.2f} ms {2 * macs / seconds / 1e9:6.0f} GFLOP/s"
            f"  {seconds / best:.2f} × best peer", flush=True,
        )


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for chosen in sys.argv[1:] or NETWORKS:
        compare(chosen)

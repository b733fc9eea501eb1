"""What is timed in several precisions: layers and networks, each given as it is and in its reduced
forms to every contender that takes such a form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dlas.bench.cases import FLOAT32, NETWORKS, PAPER, Case, known, network_cases
from dlas.bench.contenders import PEERS, REDUCED, VENDOR, Contender, ours
from dlas.bench.layers import OF_A_KIND, kind_cases
from dlas.errors import InputError
from dlas.layer import did_you_mean

PRECISIONS = (FLOAT32, *REDUCED)
LAYERS = ("resnet18-cifar-3x3", "resnet50-1x1", "mobilenetv2-depthwise")
USUAL = (*LAYERS, *PAPER)
PLACES: Mapping[str, object] = {**NETWORKS, **OF_A_KIND}

#: Of ours, the one whose arithmetic is the layers' and the one that may take less.
_ALGORITHMS = ("spatial_pack", "cheapest")
#: OpenVINO computes in float16 and bfloat16 whatever the network's constants are stored in, so it
#: is given the float32 network; what of an int8 network is not quantized it computes as it is told.
_OPENVINO = {"openvino": "float32", "openvino-default": "default"}
_REDUCED_PEERS = (
    Contender("openvino-float16", {"name": "openvino", "precision": "float16"}, VENDOR, "float16"),
    Contender("onnxruntime-int8", {"name": "onnxruntime"}, precision="int8", given="int8"),
    *(
        Contender(
            f"{name}-int8", {"name": "openvino", "precision": precision}, VENDOR, "int8",
            given="int8",
        )
        for name, precision in _OPENVINO.items()
    ),
)  # fmt: skip


def precision_cases(
    places: Sequence[str] = USUAL, precisions: Sequence[str] = PRECISIONS
) -> list[Case]:
    """Layers and networks; the place ``NETWORK-KIND`` is those of its layers that are 3x3, 1x1 or
    depthwise. float32 always is among the precisions. InputError for what is not known."""
    for name in precisions:
        if name not in PRECISIONS:
            raise InputError(
                f"--precisions: {name!r} is not a precision{did_you_mean(name, PRECISIONS)}"
            )
    chosen = tuple(name for name in PRECISIONS if name == FLOAT32 or name in precisions)
    found = [case for place in known(places, PLACES, "network") for case in _cases(place)]
    return [replace(case, precisions=chosen) for case in found]


def precision_contenders() -> list[Contender]:
    """All that may take part: ours in every precision, and the peers that have fast kernels for
    one."""
    plain = [replace(one, usual=one.usual and one.algorithm in _ALGORITHMS) for one in ours()]
    reduced = [
        replace(one, name=f"{one.name}-{name}", precision=name, given=name)
        for name in REDUCED
        for one in plain
    ]
    return [*plain, *reduced, *PEERS, *_REDUCED_PEERS]


def _cases(place: str) -> list[Case]:
    return network_cases([place]) if place in NETWORKS else kind_cases(place)

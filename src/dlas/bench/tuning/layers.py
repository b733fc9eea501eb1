"""The kernels of networks' layers, each distinct one once, as a compile meets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlas.bench.cases import build
from dlas.layer import member
from dlas.network import Network
from dlas.systems.tvm.runtime import quick_import
from dlas.target import host

if TYPE_CHECKING:
    from tvm import tirx

    from dlas.systems.tvm.questions import Question


@dataclass
class Layer:
    """``networks`` that have it; ``kernel`` with its loops in no order yet; ``weight_bytes``: of
    the first of the networks."""

    question: Question
    kernel: tirx.PrimFunc
    weight_bytes: int = 0
    networks: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its primitive, how far its outputs and its sums go, and the first digits of its key."""
        loops = {"output": "×", "sum": "·"}
        parts = [
            sign.join(str(int(v)) for k, v in self.question.workload.items() if k.startswith(what))
            for what, sign in loops.items()
        ]
        return f"{self.question.primitive} {' Σ'.join(parts)} {self.question.kernel[:6]}"


def layers_of(networks: Sequence[str], algorithm: str) -> list[Layer]:
    """In the order of the networks. The first network that has a layer says where its weights
    come from."""
    found: dict[str, Layer] = {}
    for name in networks:
        network = build(name)
        held = sum(4 * row.weights for row in network.layers)
        for question, kernel in questions_of(network, algorithm):
            layer = found.setdefault(question.kernel, Layer(question, kernel, held))
            if name not in layer.networks:
                layer.networks.append(name)
    return list(found.values())


def questions_of(network: Network, algorithm: str) -> Iterator[tuple[Question, tirx.PrimFunc]]:
    quick_import("tvm")
    from dlas.systems.tvm.blocked import translate_blocked
    from dlas.systems.tvm.calls import calls
    from dlas.systems.tvm.compiling import weight_bytes
    from dlas.systems.tvm.lower import fused
    from dlas.systems.tvm.questions import Setting, of_template
    from dlas.systems.tvm.template import opened, primitive_in

    plan: Any = member("algorithms", algorithm)()
    setting = Setting(host(), 1, weight_bytes(network))
    module = translate_blocked(network, plan.plan(network), setting.target.lanes)
    for call in calls(fused(module, setting.target, setting.threads)):
        if call.layer and primitive_in(opened(call.kernel)) is not None:
            yield of_template(call.kernel, setting), call.kernel


def evenly(layers: Sequence[Layer], number: int) -> list[Layer]:
    """So many of them, at equal distances."""
    step = max(1, len(layers) // max(number, 1))
    return list(layers[::step][:number])

"""Who takes part: our systems with every algorithm and tuning they have, and the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, cast

from msgspec import inspect, structs

from dlas.bench.cases import FLOAT32, Case, known
from dlas.layer import member, table
from dlas.plan import DENSE
from dlas.spec import parse_member
from dlas.systems.base import System

VENDOR = "vendor"
#: Of an int8 network; they are images of noise, as its weights are.
CALIBRATION_IMAGES = 8
#: What makes a network of another precision.
REDUCED: Mapping[str, Mapping[str, Any]] = {
    "bfloat16": {"name": "bfloat16"},
    "float16": {"name": "float16"},
    "int8": {"name": "int8", "samples": CALIBRATION_IMAGES},
}
#: Algorithms that may take Winograd's, whose arithmetic is less than the layers'.
WINOGRAD = ("winograd", "winograd4", "cheapest", "best")
#: The way that is meant to be fast at no great cost; others take part when they are named.
BEST_TUNING = "template"


@dataclass(frozen=True)
class Contender:
    """``given``: the precision of the network that it is given. ``precision``: what it computes in
    where the machine can; else in that of the network. ``usual``: takes part unless contenders are
    named. ``format``: of the algorithm's weights."""

    name: str
    system: Mapping[str, Any] = field(hash=False)
    algorithm: str = VENDOR
    precision: str = FLOAT32
    usual: bool = True
    format: str = DENSE
    given: str = FLOAT32

    @property
    def is_peer(self) -> bool:
        """Whether others made its kernels."""
        return self.algorithm == VENDOR

    def takes(self, case: Case) -> bool:
        """Whether it takes part there."""
        return self.format in (DENSE, case.format) and self.given in case.precisions

    def optimizations(self) -> list[Mapping[str, Any]]:
        """What makes its network, as in a stack."""
        return [] if self.given == FLOAT32 else [REDUCED[self.given]]

    def choice(self) -> Mapping[str, str]:
        """Its algorithm, as in a stack."""
        return {"name": self.algorithm, **({"format": self.format} if self.format != DENSE else {})}


PEERS = (
    Contender("onnxruntime", {"name": "onnxruntime"}),
    Contender("openvino", {"name": "openvino", "precision": "float32"}),
    Contender("openvino-default", {"name": "openvino", "precision": "default"}, VENDOR, "bfloat16"),
    Contender("pytorch", {"name": "pytorch"}),
    Contender("pytorch-nchw", {"name": "pytorch", "memory_format": "contiguous"}, usual=False),
    Contender("inductor", {"name": "inductor"}, usual=False),
)


def ours() -> list[Contender]:
    """Every system that follows a plan, with each of its algorithms and tunings. Those of the best
    tuning take part unless contenders are named."""
    found = []
    for name in table("systems"):
        kind = cast(type[System], member("systems", name))
        algorithms = [each for each in kind.algorithms if each != VENDOR and not needs_more(each)]
        tunings = _choices(kind, "tuning")
        for algorithm, tuning in product(algorithms, tunings or ("",)):
            spec = {"name": name, **({"tuning": tuning} if tuning else {})}
            system = cast(System, parse_member("systems", spec, f"$.{name}"))
            if system.combines(algorithm) is None:
                parts = [name, algorithm, *([tuning] if tuning else [])]
                usual = tuning == BEST_TUNING
                found.append(Contender("-".join(parts), spec, algorithm, usual=usual))
    return found


def needs_more(algorithm: str) -> bool:
    """Whether it has a field that cannot be left out, such as a file."""
    return any(info.required for info in structs.fields(member("algorithms", algorithm)))


def choose(names: Sequence[str] = (), among: Sequence[Contender] | None = None) -> list[Contender]:
    """The contenders of these names; without names, the usual ones. InputError for another."""
    every = {contender.name: contender for contender in among or (*ours(), *PEERS)}
    if not names:
        return [contender for contender in every.values() if contender.usual]
    return [every[name] for name in known(names, every, "contender")]


def _choices(system: type[System], name: str) -> tuple[str, ...]:
    """What a field may be, where that is a list of words; () where there is no such field."""
    info = inspect.type_info(system)
    assert isinstance(info, inspect.StructType)
    kinds = [item.type for item in info.fields if item.name == name]
    literal = next((kind for kind in kinds if isinstance(kind, inspect.LiteralType)), None)
    return tuple(map(str, literal.values)) if literal else ()

"""``planned``: a plan from a file, replayed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from dlas.algorithms.base import Algorithm
from dlas.algorithms.formats import weight_format
from dlas.algorithms.formatted import SHIFTS, in_format, is_tokens
from dlas.algorithms.primitive import Primitive
from dlas.errors import InputError, Refused, SpecError
from dlas.layer import InputPath, did_you_mean, member, table
from dlas.network import LayerRow, Network
from dlas.network.compact import compact
from dlas.plan import DENSE, KEPT, NARROW, WIDE, Plan, Way
from dlas.spec import parse_struct


class Planned(Algorithm, frozen=True, kw_only=True):
    """``file``: a plan.json of any algorithm, or a choices.json that a system wrote beside what it
    compiled; as it lies in an artifact's folder (``dlas explain`` names it), or edited. It holds
    for networks of the same layers, where weights are in a sparse format with the same zeros."""

    name: ClassVar[str] = "planned"

    file: InputPath

    def refuses(self, network: Network) -> str | None:
        try:
            self.plan(network)
        except Refused as reason:
            return str(reason)
        return None

    def plan(self, network: Network) -> Plan:
        """That of the file. InputError where it holds none, Refused where it is for another
        network, or names what cannot be computed."""
        plan = read_plan(Path(self.file))
        sentence = self.misfit(plan, network)
        if sentence:
            raise Refused(f"{self.file}: {sentence}")
        weights = {row.name: network.weight(row) for row in network.layers}
        steps = (  # an edited step may lack the pattern of its zeros
            in_format(step, step.format, weights[step.layer])
            if step.is_sparse or any(way.format != DENSE for way in step.ways)
            else step
            for step in plan.steps
        )
        return Plan(self.name, tuple(steps))

    def misfit(self, plan: Plan, network: Network) -> str | None:
        """Why the plan is not one for this network."""
        if not plan.steps:
            return "the plan has no layers: algorithm = 'vendor' leaves them to the system"
        name, times = Counter(step.layer for step in plan.steps).most_common(1)[0]
        if times > 1:
            return f"the plan has {times} steps for the layer {name!r}: keep one of them"
        try:
            plan.check(network)
        except InputError as error:
            return str(error)
        formats = {step.format for step in plan.steps}
        if KEPT in formats and len(formats) > 1:
            return f"{KEPT} is for all layers or none: the channels left out are those of several"
        computed = compact(network) if KEPT in formats else network
        rows = {row.name: row for row in computed.layers}
        for step in plan.steps:
            for way in (step.way, *step.ways):
                reason = refusal(way, rows[step.layer], network.dtype)
                if reason:
                    return f"the plan computes {step.layer!r} by {way.primitive!r}, but {reason}"
        return None


def read_plan(file: Path) -> Plan:
    """The plan of a plan.json or choices.json, its place among the layers not yet checked."""
    try:
        found = msgspec.json.decode(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except IsADirectoryError:
        raise InputError(f"{file} is a folder; name a plan.json or choices.json") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InputError(f"{file} is no JSON, or damaged: take it anew") from None
    place = "$"
    if isinstance(found, dict) and "plan" in found:  # of choices.json
        found, place = found["plan"], "$.plan"
    try:
        return parse_struct(Plan, found, place, "a plan")
    except SpecError as error:
        raise InputError(f"{file}: {error}") from None


def refusal(way: Way, row: LayerRow, dtype: str) -> str | None:
    """Why a layer of a network of that type is not computed so."""
    known = [n for n in table("algorithms") if issubclass(member("algorithms", n), Primitive)]
    if way.primitive not in known:
        return f"that is not a primitive{did_you_mean(way.primitive, known)}"
    if way.precision not in ("", WIDE):
        return f"{way.precision!r} is not a precision: {WIDE!r}, or '' for the network's own"
    if way.precision and row.dtype not in NARROW:
        return f"only layers of {' and '.join(NARROW)} take {WIDE} instead; this one is {row.dtype}"
    try:
        kind = weight_format(way.format).kind
    except SpecError as error:
        return error.sentence
    if kind in ("csr", "bsr"):
        if way.primitive not in SHIFTS:
            return f"it has no form for {way.format}; {', '.join(SHIFTS)} have"
        if dtype != "float32":
            return f"{way.format} stores float32 weights, and this network is {dtype}"
        if is_tokens(row):
            return f"a dense layer that is applied more than once has no form for {way.format}"
        return None
    if row.op == "dense":
        return None if way.primitive == "gemm" else "a dense layer is a matrix product: 'gemm'"
    primitive: Any = member("algorithms", way.primitive)()
    reason: str | None = primitive.refuses_layer(way.computed(row))
    return reason

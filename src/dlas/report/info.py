"""What a report says about a study beside its results: the machine, the conditions, how to repeat
it. Each fact that is not known stays None, and the page says so."""

from __future__ import annotations

import msgspec

from dlas.choices import Choices
from dlas.measure.protocol import Protocol


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A device that stacks were timed on, with its peaks as measured, not as advertised."""

    cpu: str
    cores: int | None = None
    isa: str = ""
    memory_bytes: int | None = None
    fp32_flops: float | None = None
    fp16_flops: float | None = None
    bf16_flops: float | None = None
    int8_ops: float | None = None
    bandwidth_bytes_s: float | None = None


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine was like while it measured: (least, most) over all measurements."""

    load_average: tuple[float, float] | None = None
    frequency_hz: tuple[float, float] | None = None
    steal_share: tuple[float, float] | None = None


class Dropped(msgspec.Struct, frozen=True):
    """Combinations of a grid that were not tried, and the one sentence that says why."""

    count: int
    sentence: str


class LayerBar(msgspec.Struct, frozen=True):
    """A part of an inference: a layer of the network, or what a system does between layers.

    ``promised_share``: of the network's effective multiply-accumulates, in [0, 1]; None where it is
    no layer that multiplies. ``seconds``: as measured; None where it was not, as of a layer that
    was fused into another."""

    layer: str
    op: str
    promised_share: float | None = None
    seconds: float | None = None


class ReportInfo(msgspec.Struct, frozen=True, kw_only=True):
    """``when`` is ISO 8601; ``versions`` maps a distribution to its version; ``test_images`` maps a
    dataset's label to the images its accuracy is measured on, which gives accuracy its interval;
    ``choices`` is what the system chose, by the keys of the stacks where it was left to;
    ``warmups_s`` (seconds, in order) and ``layers`` (in the order of computing) are by the keys,
    too; ``energy`` says why energy is absent, where it is."""

    study: str
    title: str = ""
    description: str = ""
    when: str = ""
    dlas_version: str = ""
    command: str = ""
    machines: tuple[Machine, ...] = ()
    conditions: Conditions = Conditions()
    protocol: Protocol = Protocol()
    versions: dict[str, str] = {}
    test_images: dict[str, int] = {}
    dropped: tuple[Dropped, ...] = ()
    choices: dict[str, Choices] = {}
    warmups_s: dict[str, tuple[float, ...]] = {}
    layers: dict[str, tuple[LayerBar, ...]] = {}
    energy: str = "This machine has no energy counter that dlas may read."

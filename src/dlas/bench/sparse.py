"""What is timed with zeros among the weights: networks pruned by magnitude, every layer by the same
share, and the contenders that skip the zeros beside those that multiply them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from dlas.algorithms.formats import weight_format
from dlas.bench.cases import NETWORKS, Case, build, known
from dlas.bench.contenders import PEERS, Contender, ours
from dlas.bench.layers import OF_A_KIND, kind_cases
from dlas.errors import InputError
from dlas.layer import member
from dlas.models.calibration import calibrated
from dlas.network import Network
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.plan import DENSE, KEPT

#: Shares of zeros.
LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Single weights, and blocks that are zero as a whole.
FORMATS = ("csr", "bsr_16x1")
#: Distinct convolutions, each by itself.
LAYERS = "resnet18-cifar-3x3"
USUAL = (LAYERS, "resnet18-cifar", "vgg16-cifar", "resnet50", "mobilenetv2-cifar", "mobilenetv2")
PLACES: Mapping[str, object] = {**NETWORKS, LAYERS: OF_A_KIND[LAYERS]}

#: Peers that compute in float32 with their usual kernels.
_PEERS = ("onnxruntime", "openvino")
#: Of ours in dense form one is the fastest: ``cheapest`` takes Winograd, whose arithmetic is less.
_DENSE, _SPARSE = ("cheapest", "spatial_pack"), ("cheapest",)


def sparse_cases(
    places: Sequence[str] = USUAL,
    levels: Sequence[float] = LEVELS,
    formats: Sequence[str] = FORMATS,
) -> list[Case]:
    """Every workload with zeros for every format at every level, which is a share in (0, 1); levels
    of one workload are neighbours. InputError for what is not known."""
    for name in formats:
        check_format(name)
    for level in levels:
        if not 0 < level < 1:
            raise InputError(f"{100 * level:g} % zeros: a level lies between 0 and 100 %")
    return [
        replace(
            case,
            name=f"{case.name}-{100 * level:g}%-{name}",
            draw=partial(with_zeros, case.draw, level, name),
            format=name,
        )
        for place in known(places, PLACES, "network")
        for case in _cases(place)
        for name in formats
        for level in levels
    ]


def sparse_contenders(formats: Sequence[str] = FORMATS) -> list[Contender]:
    """All that may take part: every dense contender, and in each format those of ours that have
    it."""
    dense = [replace(one, usual=one.usual and one.algorithm in _DENSE) for one in ours()]
    stored = [
        replace(one, name=f"{one.name}-{name}", format=name, usual=is_usual)
        for name in formats
        for one in ours()
        if _takes_formats(one)
        for is_usual in [one.usual and one.algorithm in _SPARSE]
    ]
    return [*dense, *stored, *(replace(peer, usual=peer.name in _PEERS) for peer in PEERS)]


def check_format(name: str) -> None:
    """InputError unless there are cases with zeros for this format."""
    weight_format(name, "--formats")
    if name == DENSE:
        raise InputError("dense skips no zeros; name csr or bsr_RxC. Dense contenders always run")
    if name == KEPT:
        raise InputError(
            f"{KEPT} skips channels, and the bench has no case of pruned channels: "
            "dlas run studies/kept-channels.toml times it"
        )


def with_zeros(draw: Callable[[], Network], share: float, name: str) -> Network:
    """The network, its share of least magnitude in every layer zero, in the blocks of the format;
    calibrated again, since it has other activations then."""
    network = draw()
    masks = magnitude_masks(network, share, "layer", weight_format(name).block)
    return calibrated(zeroed(network, masks))


def _cases(place: str) -> list[Case]:
    """Without zeros."""
    return kind_cases(place) if place == LAYERS else [Case(place, partial(_built, place))]


def _takes_formats(one: Contender) -> bool:
    return "format" in member("algorithms", one.algorithm).__struct_fields__


@lru_cache(maxsize=1)
def _built(name: str) -> Network:
    return build(name)

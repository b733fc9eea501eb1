"""What a tuner is asked: which candidate of a kernel is the fastest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
import tvm_ffi
from numpy.typing import NDArray
from tvm import tirx

from dlas.systems.tvm.pages import in_huge_pages
from dlas.systems.tvm.template import by_rule, by_template, opened, primitive_in, weight_of
from dlas.systems.tvm.trial import Arguments, Contest
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.dot.kernel import Kernel as DotKernel
    from dlas.algorithms.sparse.kernel import Kernel as SparseKernel

#: Copies of a kernel's weights, no more, and the bytes that they are spread over at most: beyond
#: what caches hold of a network's weights from one inference to the next.
COPIES, SPREAD_BYTES = 256, 128 << 20
#: What generated code assumes of every tensor.
ALIGNMENT = 64
#: Multiply-adds in the time that a kernel without a primitive takes for each number it touches.
PER_ELEMENT = 10.0
#: What stands for the primitive of a kernel that has none.
RULE = "rule"

Numbers = Mapping[str, float]
Array = NDArray[Any]


@dataclass(frozen=True)
class Setting:
    """What besides a kernel decides how long it takes. ``weight_bytes``: of the whole network. In
    the network a kernel's weights come from where the others' have left them, the second or third
    cache or memory; so they do when it is measured."""

    target: Target
    threads: int
    weight_bytes: int

    @property
    def cold(self) -> int:
        """How many of the second and third caches the weights do not fit: what was measured in one
        network holds in another whose weights come from the same place."""
        return sum(self.weight_bytes > self.target.cache_bytes(level) for level in (2, 3))

    @property
    def numbers(self) -> dict[str, float]:
        return {"threads": self.threads, "cold": self.cold}

    def digest(self, *parts: str) -> str:
        text = "\0".join((*parts, str(self.threads), str(self.cold)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def places(self, weight_bytes: int) -> list[int]:
        """Where copies of a kernel's weights begin, in bytes: as far apart as the network's weights
        are spread."""
        held = -(-max(weight_bytes, 1) // ALIGNMENT) * ALIGNMENT
        spread = min(self.weight_bytes, SPREAD_BYTES)
        number = max(1, min(spread // held, COPIES))
        step = max(held, spread // number // ALIGNMENT * ALIGNMENT)
        return [index * step for index in range(number)]


@dataclass(frozen=True)
class Question:
    """``kernel``: a digest of all that is computed, and of the setting. ``knobs`` and ``estimates``
    of the candidates (see ``tuning/record.py``), cheapest estimate first; with the knobs lies what
    they amount to, for the model. ``plain``: makes that
    candidate's kernel in the order of its definition. The rest as in a ``Contest``."""

    kernel: str
    primitive: str
    workload: Numbers
    knobs: Sequence[Numbers]
    estimates: Sequence[float]
    makers: Sequence[Callable[[], tirx.PrimFunc]]
    plain: Callable[[int], tirx.PrimFunc]
    arguments: Callable[[int], Arguments]
    shared: bool = True

    def candidate(self, index: int) -> str:
        return json.dumps({k: int(v) for k, v in self.knobs[index].items()}, sort_keys=True)

    def contest(self, candidates: Sequence[int]) -> Contest:
        def arguments(index: int) -> Arguments:
            return self.arguments(candidates[index])

        makers = [self.makers[index] for index in candidates]
        return Contest(makers, partial(self.plain, candidates[0]), arguments, self.shared)


def of_template(kernel: tirx.PrimFunc, setting: Setting) -> Question:
    """A kernel with a primitive's template in it."""
    order = opened(kernel)
    primitive = primitive_in(order)
    assert primitive is not None
    estimates, knobs = zip(*primitive.ranked(order, setting.target), strict=True)
    return Question(
        setting.digest(text_of(kernel)),
        f"{primitive.name} {kernel.params[0].dtype}",
        {**primitive.workload(order), **setting.numbers},
        [primitive.traits(each) for each in knobs],
        estimates,
        [partial(by_template, kernel, each, setting.threads) for each in knobs],
        lambda _: kernel,
        partial(random_arguments, kernel, packed(setting, primitive), weight_of(order)),
    )


def packed(setting: Setting, primitive: Any) -> Setting:
    """With as many bytes of weights as a network has whose layers all pack them so."""
    return replace(setting, weight_bytes=int(primitive.expansion * setting.weight_bytes))


def of_rule(kernel: tirx.PrimFunc, setting: Setting) -> Question:
    """A kernel without one, or with the form of one: a single candidate, to know its time."""
    return Question(
        setting.digest(text_of(kernel)),
        RULE,
        {**setting.numbers, "bytes": sum(bytes_of(each) for each in kernel.params)},
        [{}],
        [PER_ELEMENT * max(1, sum(math.prod(shape_of(each)) for each in kernel.params))],
        [partial(by_rule, kernel, setting.target, setting.threads)],
        lambda _: kernel,
        partial(random_arguments, kernel, setting, None),
    )


def of_sparse(kernels: Sequence[SparseKernel], setting: Setting) -> Question:
    """A sparse layer's, with its own weights: where its zeros are decides which tile is best."""
    first = kernels[0]
    weights = hashlib.sha256(b"".join(array.tobytes() for array in first.packed.arrays))

    def arguments(index: int) -> Arguments:
        image, *_, bias, output = first.function().params
        given = (uniform(image), *kernels[index].packed.arrays, uniform(bias), uniform(output))
        return [tensors(given)]

    return Question(
        setting.digest(weights.hexdigest(), *(kernel.identity for kernel in kernels)),
        named(first.stage),
        {**first.workload, **setting.numbers},
        [kernel.knobs for kernel in kernels],
        [kernel.estimate for kernel in kernels],
        [partial(in_order, kernel.function, setting) for kernel in kernels],
        lambda index: kernels[index].function(),
        arguments,
        shared=False,
    )


def of_dots(kernels: Sequence[DotKernel], setting: Setting) -> Question:
    """A layer's on narrow numbers."""
    first = kernels[0]
    number = first.tile.window.number.stored

    def arguments(index: int) -> Arguments:
        kernel, random = kernels[index], np.random.default_rng(0)
        # Small integers, and as bits of bfloat16 small numbers.
        image = random.integers(0, 127, kernel.image_shape).astype(number)
        output = np.zeros(kernel.output_shape, number)
        names = list(kernel.constants)
        given = image, *kernel.constants.values(), output
        return with_copies(given, 1 + names.index("weights"), setting)

    return Question(
        setting.digest(*(kernel.identity for kernel in kernels)),
        f"{named(first.stage)} {number}",
        {**first.workload, **setting.numbers},
        [kernel.knobs for kernel in kernels],
        [kernel.estimate for kernel in kernels],
        [partial(in_order, partial(kernel.function, number), setting) for kernel in kernels],
        lambda index: kernels[index].function(number),
        arguments,
        shared=False,
    )


def named(stage: str) -> str:
    """Of a stage's primitive and form."""
    return stage.removesuffix("_template").replace("_", " ")


def in_order(function: Callable[[], tirx.PrimFunc], setting: Setting) -> tirx.PrimFunc:
    return by_rule(function(), setting.target, setting.threads)


def text_of(kernel: tirx.PrimFunc) -> str:
    return str(kernel.without_attr("global_symbol").script())


def random_arguments(
    kernel: tirx.PrimFunc, setting: Setting, weight: int | None, _: int
) -> Arguments:
    """What a kernel is called with in turns: the same images and, from one parameter, other
    weights."""
    return with_copies([uniform(each) for each in kernel.params], weight, setting)


def with_copies(given: Sequence[Array], weight: int | None, setting: Setting) -> Arguments:
    """In every call other weights: the same numbers elsewhere, in memory that all of a process's
    kernels share and so find cold."""
    same = tensors(given)
    if weight is None:
        return [same]
    values = np.ascontiguousarray(given[weight])
    copies = []
    for place in setting.places(values.nbytes):
        room = memory(place + values.nbytes)[place : place + values.nbytes]
        copy = room.view(values.dtype).reshape(values.shape)
        copy[...] = values
        copies.append(tvm_ffi.from_dlpack(copy))
    return [[*same[:weight], copy, *same[weight + 1 :]] for copy in copies]


def memory(least: int, held: list[NDArray[np.uint8]] = []) -> NDArray[np.uint8]:  # noqa: B006
    """At least so many bytes, the same ones every time unless they are too few."""
    if not held or held[-1].nbytes < least:
        with in_huge_pages():
            whole = np.zeros(max(least, SPREAD_BYTES) + ALIGNMENT, np.uint8)
        held[:] = [whole[-whole.ctypes.data % ALIGNMENT :]]
    return held[-1]


def tensors(given: Sequence[Array]) -> list[Any]:
    return [tvm.runtime.tensor(np.ascontiguousarray(value)) for value in given]


def uniform(parameter: Any) -> Array:
    """Numbers around nought, or small integers."""
    random, dtype = np.random.default_rng(0), str(parameter.dtype)
    if "float" not in dtype:
        return random.integers(0, 100, shape_of(parameter)).astype(dtype)
    return (random.random(shape_of(parameter), np.float32) - np.float32(0.5)).astype(dtype)


def shape_of(parameter: Any) -> tuple[int, ...]:
    return tuple(int(extent) for extent in parameter.shape)


def bytes_of(parameter: Any) -> int:
    return math.prod(shape_of(parameter)) * np.dtype(str(parameter.dtype)).itemsize

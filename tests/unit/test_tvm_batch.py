"""What tuning remembers of kernels tells batches apart, and is that of before for one image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

from tuning_kernels import SETTING

from dlas.algorithms.cheapest import Cheapest
from dlas.layer import member
from dlas.network import Network
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.plan import Plan, Step
from dlas.systems.base import batch_of, fixed_batch
from dlas.systems.tvm.calls import calls
from dlas.systems.tvm.compiling import by_templates
from dlas.systems.tvm.dots import DotLayers
from dlas.systems.tvm.lower import fused
from dlas.systems.tvm.narrow import translate_narrow
from dlas.systems.tvm.questions import Question, of_dots, of_sparse, of_template
from dlas.systems.tvm.sparse import SparseLayers
from dlas.target import host
from dlas.testing.networks import tiny

BATCHES = (1, 2, 3)


def of(network: Network, batch: int) -> Network:
    return Network(fixed_batch(network, batch))


def dense(batch: int) -> Question:
    network = of(tiny("plain"), batch)
    plan: Plan = Cheapest().plan(network)
    module = by_templates(network, plan, AnyTuner())  # type: ignore[arg-type]
    [kernel] = [c.kernel for c in calls(fused(module, host(), 1)) if c.layer == "conv1"]
    return of_template(kernel, SETTING)


def narrow(batch: int) -> Question:
    network, asked = of(tiny("plain", "int8"), batch), {}

    def choose(layer: str, kernels: Any) -> Any:
        asked[layer] = of_dots(kernels, SETTING)
        return kernels[0]

    dots = DotLayers(host(), choose, 2)
    plan: Plan = Cheapest().plan(network)
    translate_narrow(network, plan, host().lanes, dots, SparseLayers(host(), 1))
    return asked["conv1"]


def sparse(batch: int) -> Question:
    whole = tiny("plain")
    network = zeroed(whole, magnitude_masks(whole, 0.9, "layer", (1, 1)))
    [row] = [row for row in network.layers if row.name == "conv1"]
    layers = SparseLayers(host(), 1, lambda _, kernels: kernels[0], 2)
    kernel = layers.kernel(Step("conv1", "direct", "csr"), row, network.weight(row), batch)
    return of_sparse([kernel], SETTING)


class AnyTuner:
    setting, trials = SETTING, 1
    choose_dots = choose_tile = staticmethod(lambda _, kernels: kernels[0])


@pytest.mark.parametrize("ask", [dense, narrow, sparse])
def test_questions_tell_batches_apart(ask: Any) -> None:
    asked = {batch: ask(batch) for batch in BATCHES}
    assert len({question.kernel for question in asked.values()}) == len(BATCHES)
    first = asked[1].estimates[0]
    for batch, question in asked.items():  # the same arithmetic for every image
        assert question.primitive == asked[1].primitive
        assert question.estimates[0] == pytest.approx(batch * first, rel=0.1)
        assert len({tuple(question.workload.items()) for question in asked.values()}) == 3


@pytest.mark.parametrize("ask", [narrow, sparse])
def test_records_of_one_image_are_those_of_before_there_were_batches(ask: Any) -> None:
    question = ask(1)
    assert "batch" not in question.workload
    assert ask(3).workload["batch"] == 3


def test_an_identity_of_one_image_is_that_of_its_tile() -> None:
    primitive: Any = member("algorithms", "direct")()
    network = tiny("plain")
    [row] = [row for row in network.layers if row.name == "conv1"]
    stored = primitive.stored("csr", network.weight(row), 1)
    one = primitive.sparse.simplest(stored, row, host(), 1)
    assert one.identity == repr(one.tile)
    assert replace(one, batch=2).identity == f"{one.tile!r} x2"


def test_a_graph_says_its_batch() -> None:
    network = tiny("plain")
    assert batch_of(network) == 1
    assert batch_of(of(network, 5)) == 5
    assert of(network, 5).input_shape == network.input_shape
    assert [row.macs for row in of(network, 5).layers] == [row.macs for row in network.layers]

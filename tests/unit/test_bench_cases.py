"""What a benchmark times, and who takes part."""

from __future__ import annotations

import numpy as np
import pytest

from dlas.bench.cases import NETWORKS, PAPER, Case, build, network_cases
from dlas.bench.contenders import PEERS, choose, ours
from dlas.bench.layers import GROUPED_SHAPES, WEIGHT_BYTES, Workload, layer_cases
from dlas.errors import InputError
from dlas.evaluate import scores
from dlas.layer import table
from dlas.models.calibration import calibrated
from dlas.network import Network
from dlas.spec import parse_member
from dlas.testing.networks import TINY, noise_images, tiny

POINTWISE = Workload(64, 256, (56, 56), (1, 1))
SAME = Workload(16, 16, (8, 8), (3, 3), pad=(1, 1))


def test_the_papers_networks_are_the_usual_ones() -> None:
    assert [case.name for case in network_cases()] == list(PAPER)
    assert [case.name for case in network_cases(["resnet50", "resnet50"])] == ["resnet50"]
    with pytest.raises(InputError, match=r"'resnet5' is not a network .*did you mean 'resnet50'"):
        network_cases(["resnet5"])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_a_valid_spec(name: str) -> None:
    spec, (shape, classes) = NETWORKS[name]
    assert parse_member("models", spec, "$").name in table("models")
    assert (shape, classes) in (((3, 32, 32), 10), ((3, 224, 224), 1000))


def test_networks_are_the_same_every_time() -> None:
    one, two = (build("mobilenetv1-cifar") for _ in range(2))
    assert one.model == two.model
    assert one.macs == 46_354_432


@pytest.mark.parametrize("name", TINY)
def test_calibrated_networks_keep_images_apart_and_finite(name: str) -> None:
    network = calibrated(tiny(name))
    found = scores(network, noise_images(network.input_shape, 16))
    assert np.isfinite(found).all()
    assert found.std(axis=0).min() > 0


def test_calibration_takes_the_statistics_of_what_arrives() -> None:
    network = calibrated(tiny("plain"))
    deep = _output_before(network, "bn1.running_mean")
    mean, variance = (network.initializers[f"bn1.running_{k}"] for k in ("mean", "var"))
    images = noise_images(network.input_shape, 256)
    values = scores(deep, images)
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), atol=0.05)
    np.testing.assert_allclose(variance, values.var((0, 2, 3)), rtol=0.2)


def _output_before(network: Network, statistic: str) -> Network:
    """The graph up to what the BatchNorm with this statistic reads."""
    model = network.edited()
    node = next(node for node in model.graph.node if statistic in node.input)
    model.graph.output[0].name = node.input[0]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return Network(model)


def test_layers_are_repeated_where_they_fit_onto_themselves() -> None:
    assert (SAME.is_chain, SAME.returns, SAME.copies) == (True, False, 8)
    assert (POINTWISE.is_chain, POINTWISE.returns, POINTWISE.copies) == (False, True, 8)
    strided = SAME._replace(stride=(2, 2))
    assert (strided.is_chain, strided.returns, strided.copies) == (False, False, 1)
    heavy = Workload(512, 512, (7, 7), (3, 3), pad=(1, 1))
    assert heavy.copies == 1
    assert Workload(512, 2048, (7, 7), (1, 1)).copies == 2


@pytest.mark.parametrize(
    "work",
    [
        SAME,
        Workload(8, 24, (6, 6), (1, 1)),
        Workload(3, 8, (16, 16), (7, 7), (2, 2), (3, 3)),
        Workload(16, 16, (8, 6), (3, 3), pad=(2, 2), dilation=(2, 2), groups=4),
        Workload(16, 16, (8, 8), (3, 3), pad=(1, 1), groups=16),
    ],
    ids=lambda work: work.name,
)
def test_a_layers_network_has_its_shapes_in_every_copy(work: Workload) -> None:
    network = work.draw()
    assert len(network.layers) == work.copies
    for row in network.layers:
        forth = Workload.of(row)
        back = forth._replace(inputs=forth.outputs, outputs=forth.inputs)
        assert work in (forth, back if work.returns else forth)
    assert len({row.macs for row in network.layers}) == 1
    assert np.isfinite(scores(network, noise_images(network.input_shape, 2))).all()


def test_names_tell_workloads_apart() -> None:
    assert POINTWISE.name == "64x56x56-256-1x1-both"
    assert SAME._replace(stride=(2, 2)).name == "16x8x8-16-3x3-s2"
    assert SAME._replace(stride=(2, 1), groups=4).name == "16x8x8-16-3x3-s2x1-g4"
    assert SAME._replace(groups=16).name == "16x8x8-16-3x3-depthwise"
    assert SAME._replace(dilation=(2, 2)).name == "16x8x8-16-3x3-d2-p1"


def test_each_workload_is_timed_once() -> None:
    cases = layer_cases(["mobilenetv1-cifar", "grouped"])
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    assert len([name for name in names if name.startswith("256x14x14-256-3x3")]) == 9
    assert all(isinstance(case, Case) for case in cases)
    with pytest.raises(InputError, match="did you mean 'grouped'"):
        layer_cases(["groupd"])


def test_the_grouped_cases_stay_in_the_cache() -> None:
    for channels, side, counts in GROUPED_SHAPES:
        for groups in counts:
            work = Workload(channels, channels, (side, side), (3, 3), pad=(1, 1), groups=groups)
            assert work.copies * 36 * channels**2 // groups <= WEIGHT_BYTES


def test_our_contenders_are_every_algorithm_and_tuning_of_the_tables() -> None:
    names = [contender.name for contender in ours()]
    assert "tvm-gemm-untuned" in names
    for contender in (*ours(), *PEERS):
        system = parse_member("systems", contender.system, "$")
        assert system.combines(contender.algorithm) is None  # type: ignore[attr-defined]


def test_without_names_the_best_tuning_takes_part() -> None:
    usual = [contender.name for contender in choose() if not contender.is_peer]
    assert usual
    assert all(name.endswith("-template") for name in usual)
    named = ["tvm-direct-untuned", "tvm-gemm-auto", "partitioned-cheapest"]
    assert [contender.name for contender in choose(named)] == named


def test_unknown_contenders_are_named() -> None:
    with pytest.raises(InputError, match=r"not a contender .*did you mean 'openvino'"):
        choose(["openvin"])

"""Channels in the order that grouped convolutions want, from layer to layer, at no cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_tvm_system import deviation, expected, plan_of
from test_tvm_template import executed

from dlas.models.calibration import calibrated
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.testing.networks import noise_images

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

LANES = 16
ALGORITHM = "grouped_spatial_pack"


def resnext() -> Network:
    """Two blocks of ResNeXt, the second narrowing; squeeze-and-excitation in the first."""
    b = Builder((3, 12, 12), seed=5)
    x = b.relu(b.batch_norm(b.conv("input", "stem", 64, 3), "bn"))
    for name, width, stride in (("one", 64, 1), ("two", 128, 2)):
        y = b.relu(b.batch_norm(b.conv(x, f"{name}.reduce", width, 1), f"{name}.bn1"))
        y = b.conv(y, f"{name}.grouped", width, 3, stride=stride, groups=32)
        y = b.relu(b.batch_norm(y, f"{name}.bn2"))
        if name == "one":
            gate = b.conv(b.global_average_pool(y), "squeeze", 16, 1, bias=True)
            y = b.mul(y, b.sigmoid(b.conv(b.relu(gate), "excite", width, 1, bias=True)))
        else:
            x = b.batch_norm(b.conv(x, "projection", width, 1, stride=2), "projection.bn")
        y = b.batch_norm(b.conv(y, f"{name}.expand", width, 1), f"{name}.bn3")
        x = b.relu(b.add(x, y))
    return calibrated(b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10)))


def channels_in_groups() -> Network:
    """Groups of 1 → 2, 2 and 4 channels follow each other; a sum and a concatenation of two orders;
    depthwise convolution and pooling in an order that they do not care about."""
    b = Builder((32, 9, 9), seed=6)
    x = b.relu(b.conv("input", "widen", 64, 3, groups=32, bias=True))
    y = b.max_pool(b.conv(x, "depthwise", 64, 3, groups=64, bias=True), 3, 1, pad=1)
    y = b.conv(y, "of two", 64, (1, 3), groups=32)
    z = b.conv(x, "of four", 64, 1, groups=16)
    x = b.add(y, z)
    x = b.concat([x, z, b.conv(x, "of two vectors", 64, 3, groups=2)])
    return b.network(b.dense(b.flatten(b.global_average_pool(b.relu(x))), "fc", 10))


def kernels(network: Network) -> list[str]:
    """The names of its kernels."""
    from dlas.systems.tvm.blocked import translate_blocked

    module = translate_blocked(network, plan_of(network, ALGORITHM), LANES)
    return [name.name_hint for name, _ in module.functions_items()]


def test_a_resnext_block_reorders_nothing() -> None:
    names = kernels(resnext())
    assert sum(name.startswith(ALGORITHM) for name in names) == 2
    assert not [name for name in names if name.startswith(("reorder", "block"))]


def test_reorders_where_two_orders_meet() -> None:
    names = kernels(channels_in_groups())
    reordering = [name for name in names if name.startswith("reorder")]
    # 2 → 4 for "of four", 4 → 2 for the sum, 2 → 1 for "of two vectors", 4 → 1 to concatenate
    assert len(reordering) == 4


def test_every_class_of_images_has_one_order() -> None:
    from dlas.network.fold import fold_batch_norm
    from dlas.systems.tvm.order import channel_orders

    network = Network(fold_batch_norm(resnext().model))
    orders = channel_orders(network, plan_of(network, ALGORITHM), LANES)
    assert orders == {
        "stem": 1, "one.reduce": 2, "one.grouped": 2, "squeeze": 1, "excite": 2, "one.expand": 1,
        "two.reduce": 4, "two.grouped": 4, "projection": 1, "two.expand": 1, "fc": 1,
    }  # fmt: skip
    natural = channel_orders(network, plan_of(network, "spatial_pack"), LANES)
    assert set(natural.values()) == {1}


@pytest.mark.parametrize("algorithm", [ALGORITHM, "cheapest"])
@pytest.mark.parametrize("network", [resnext, channels_in_groups], ids=lambda make: make.__name__)
@pytest.mark.parametrize("threads", [1, 2])
def test_agrees_with_onnxruntime(
    network: Callable[[], Network], algorithm: str, threads: int, tmp_path: Path
) -> None:
    made = network()
    images = noise_images(made.input_shape, 2, seed=1)
    found = executed(made, algorithm, images, tmp_path, threads)
    assert deviation(found, expected(made, images)) < 1e-5

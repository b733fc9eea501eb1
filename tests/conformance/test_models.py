"""Every model has its published size, runs, and is decided by its spec and seed alone."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from dlas.context import Context
from dlas.evaluate import scores
from dlas.layer import table
from dlas.models.base import Model
from dlas.network import Network
from dlas.spec import parse_member
from dlas.testing.noise import noise_data

TORCHVISION = "torchvision, table of classification weights"
KUANGLIU = "the module of kuangliu/pytorch-cifar, counted"
RESNEXT = "Xie et al. 2017, table 7: 34.4M, 68.1M"
KUANGLIU_RESNEXT = "kuangliu/pytorch-cifar, whose stem is 1×1: 1536 fewer"
AKAMASTER = "akamaster/pytorch_resnet_cifar10, counted; MACs: He et al. 2019 (FPGM), table 1"


class Published(NamedTuple):
    """``gmacs``: 10⁹ multiply-accumulates; None where none are published for this form."""

    spec: dict[str, Any]
    shape: tuple[int, int, int]
    classes: int
    parameters: int
    gmacs: float | None
    source: str


CIFAR, IMAGENET = ((3, 32, 32), 10), ((3, 224, 224), 1000)
PUBLISHED = [
    Published({"resnet": 20}, *CIFAR, 269_722, 0.0406, AKAMASTER),
    Published({"resnet": 32}, *CIFAR, 464_154, 0.0689, AKAMASTER),
    Published({"resnet": 44}, *CIFAR, 658_586, None, AKAMASTER),
    Published({"resnet": 56}, *CIFAR, 853_018, 0.125, AKAMASTER),
    Published({"resnet": 110}, *CIFAR, 1_727_962, 0.253, AKAMASTER),
    Published({"resnet": 18}, *CIFAR, 11_173_962, 0.555, KUANGLIU),
    Published({"resnet": 18}, *IMAGENET, 11_689_512, 1.814, TORCHVISION),
    Published({"resnet": 34}, *IMAGENET, 21_797_672, 3.664, TORCHVISION),
    Published({"resnet": 50}, *IMAGENET, 25_557_032, 4.089, TORCHVISION),
    Published(
        {"resnext": 29, "cardinality": 8, "base_width": 64}, *CIFAR, 34_426_698, None, RESNEXT
    ),
    Published(
        {"resnext": 29, "cardinality": 16, "base_width": 64}, *CIFAR, 68_155_210, None, RESNEXT
    ),
    Published(
        {"resnext": 29, "cardinality": 2, "base_width": 64},
        *CIFAR,
        9_130_314,
        None,
        KUANGLIU_RESNEXT,
    ),
    Published({"resnext": 29}, *CIFAR, 4_775_754, None, KUANGLIU_RESNEXT),
    Published({"resnext": 50}, *IMAGENET, 25_028_904, 4.230, TORCHVISION),
    Published({"resnext": 101, "base_width": 8}, *IMAGENET, 88_791_336, 16.414, TORCHVISION),
    Published({"vgg": 16}, *CIFAR, 14_728_266, 0.313, KUANGLIU),
    Published({"name": "mobilenetv1"}, *CIFAR, 3_217_226, None, KUANGLIU),
    Published({"name": "mobilenetv1"}, *IMAGENET, 4_231_976, 0.569, "Howard et al. 2017, table 8"),
    Published({"name": "mobilenetv2"}, *CIFAR, 2_236_682, 0.088, "torchvision's, ten classes"),
    Published({"name": "mobilenetv2"}, *IMAGENET, 3_504_872, 0.301, TORCHVISION),
    Published({"densenet": 121}, *IMAGENET, 7_978_856, 2.834, TORCHVISION),
    Published({"densenet": 161}, *IMAGENET, 28_681_000, 7.728, TORCHVISION),
    Published({"efficientnet": "b0"}, *IMAGENET, 5_288_548, 0.386, TORCHVISION),
    Published({"efficientnet": "b1"}, (3, 240, 240), 1000, 7_794_184, 0.687, TORCHVISION),
    Published({"wrn": 40}, *CIFAR, 2_243_546, None, "Zagoruyko & Komodakis 2016, table 4: 2.2M"),
]

#: A small one of every member, as a demo on 16×16 images would have it.
SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 20, "width": 0.5},
    "resnext": {"depth": 29, "cardinality": 2, "base_width": 4},
    "vgg": {"depth": 11, "width": 0.25},
    "mobilenetv1": {"width": 0.25},
    "mobilenetv2": {"width": 0.25},
    "densenet": {"depth": 121},
    "efficientnet": {},
    "wrn": {"depth": 10, "width": 0.5},
    "tiny": {},
}
BRING_YOUR_OWN = {"onnx", "factory"}


def model(spec: dict[str, Any]) -> Model:
    parsed = parse_member("models", spec, "$.model")
    assert isinstance(parsed, Model)
    return parsed


def build(name: str, seed: int = 0) -> Network:
    side = 32 if name == "densenet" else 16
    spec = {"name": name, "seed": seed, **SMALL[name]}
    return model(spec).build(noise_data((1, side, side), 10))


small = functools.cache(build)


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.spec} {row.shape[1]}")
def test_size_is_the_published_one(row: Published) -> None:
    network = model(row.spec).build(noise_data(row.shape, row.classes))
    assert network.parameters == row.parameters, row.source
    if row.gmacs is not None:
        assert network.macs / 1e9 == pytest.approx(row.gmacs, rel=0.01), row.source
    assert network.effective_macs == network.macs


def test_every_member_is_tested() -> None:
    assert set(SMALL) | BRING_YOUR_OWN == set(table("models"))


@pytest.mark.parametrize("name", SMALL)
def test_runs(name: str) -> None:
    network = small(name)
    data = noise_data(network.input_shape, network.classes, count=1)
    answer = scores(network, data.test.images())
    assert answer.shape == (1, 10)
    assert np.isfinite(answer).all()


@pytest.mark.parametrize("name", SMALL)
def test_seed_decides_the_weights(name: str) -> None:
    first, again, other = small(name), build(name), build(name, seed=1)
    serialized = [n.model.SerializeToString(deterministic=True) for n in (first, again)]
    assert serialized[0] == serialized[1]
    differing = {k for k, v in first.initializers.items() if (v != other.initializers[k]).any()}
    assert {row.weight for row in first.layers} <= differing


@pytest.mark.parametrize("name", SMALL)
def test_stored_network_comes_back_equal(name: str, tmp_path: Path) -> None:
    network = small(name)
    network.save(tmp_path)
    assert Network.open(tmp_path).model == network.model


@pytest.mark.parametrize("name", SMALL)
def test_no_layer_sees_less_than_a_point(name: str) -> None:
    for row in small(name).layers:
        assert min(row.output_hw) >= 1, row.name


@pytest.mark.parametrize("name", SMALL)
def test_initial_signal_neither_vanishes_nor_explodes(name: str) -> None:
    """With BatchNorm as in training, the scores of different images differ by order 1."""
    network = small(name)
    data = noise_data(network.input_shape, network.classes, count=8)
    pytest.importorskip("torch", reason="torch is not installed: pip install 'dlas[torch]'")
    import torch

    from dlas.network.torch_module import to_torch

    module = to_torch(network, trainable=True).train()
    with torch.no_grad():
        spread = module(torch.from_numpy(data.test.images())).std(dim=0).mean().item()
    assert 1e-3 < spread < 10


def test_make_without_weights_or_training_gives_the_initial_network(tmp_path: Path) -> None:
    data = noise_data((1, 16, 16), 10)
    tiny = model({"name": "tiny"})
    assert tiny.make(data, Context(tmp_path, tmp_path)).model == tiny.build(data).model

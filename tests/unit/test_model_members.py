"""Forms, weights by name, and networks that users bring."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from dlas.context import Context
from dlas.errors import InputError, Refused, SpecError
from dlas.evaluate import scores
from dlas.models.base import Model
from dlas.models.channels import divisible, scaled
from dlas.models.factory import Factory
from dlas.models.form import choose_form
from dlas.models.onnx_file import OnnxFile
from dlas.models.tiny import Tiny
from dlas.models.vgg import Vgg
from dlas.models.weights import load_weights
from dlas.spec import parse_member
from dlas.testing.noise import noise_data

DATA = noise_data((1, 8, 8), 3)
TINY = Tiny().build(DATA)
NAMES = (*TINY.trainable, *TINY.statistics)


def model(spec: dict[str, Any]) -> Model:
    parsed = parse_member("models", spec, "$.model")
    assert isinstance(parsed, Model)
    return parsed


# -- forms and widths ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "side,form", [(16, "cifar"), (32, "cifar"), (128, "imagenet"), (224, "imagenet")]
)
def test_form_that_the_images_leave_no_doubt_of(side: int, form: str) -> None:
    assert choose_form(None, noise_data((1, side, 2 * side), 2, count=1), "net") == form


def test_form_in_doubt_is_asked_for() -> None:
    data = noise_data((1, 64, 80), 2, count=1)
    with pytest.raises(Refused, match="resnet18 on 64×80 images: say which form is meant"):
        model({"resnet": 18}).build(data)
    assert choose_form("cifar", data, "net") == "cifar"


@pytest.mark.parametrize(
    "spec,sentence",
    [
        ({"resnet": 20, "form": "imagenet"}, r"\$\.model\.form: ResNet-20 has the cifar form only"),
        ({"resnet": 21}, r"\$\.model\.depth: 21 is not one of 18, 20, 32"),
        ({"name": "resnet"}, r"\$\.model\.depth: resnet needs this field"),
        ({"vgg": 11, "width": 0}, r"\$\.model\.width: 0 is not in \(0, inf\)"),
        ({"wrn": 41}, r"\$\.model\.depth: 41 is not 6n \+ 4; near it are 40 and 46"),
        ({"wrn": 16, "form": "cifar"}, r"\$\.model\.form: not a field of wrn"),
        ({"densenet": 160}, r"\$\.model\.depth: 160 is not one of 121, 161"),
        ({"efficientnet": "b9"}, r"\$\.model\.variant: 'b9' is not one of b0"),
    ],
)
def test_spec_that_means_no_network(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        model(spec)


def test_network_that_does_not_fit_the_images() -> None:
    with pytest.raises(Refused, match="densenet121 needs larger images"):
        model({"densenet": 121}).build(noise_data((1, 16, 16), 2, count=1))


@pytest.mark.parametrize("side,last", [(32, 2), (16, 2), (8, 2), (4, 2), (2, 2)])
def test_vgg_leaves_out_pooling_that_would_leave_a_point(side: int, last: int) -> None:
    network = Vgg(depth=11, width=0.1).build(noise_data((1, side, side), 2, count=1))
    assert network.layers[-2].output_hw == (last, last)


def test_channels() -> None:
    assert [scaled(16, width) for width in (0.01, 0.5, 1, 1.5)] == [1, 8, 16, 24]
    # torchvision's _make_divisible(c · width, 8)
    assert [divisible(32, width) for width in (0.1, 0.35, 0.75, 1.0, 1.4)] == [8, 16, 24, 32, 48]


# -- weights -------------------------------------------------------------------------------------


def stored(file: Path, prefix: str = "", **changed: np.ndarray) -> Path:
    """All arrays of ``TINY`` plus 1, some ``changed``; None leaves one out."""
    arrays = {name: TINY.initializers[name] + 1 for name in NAMES} | changed
    save_file({prefix + k: v for k, v in arrays.items() if v is not None}, file)
    return file


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_weights_load_by_name(prefix: str, tmp_path: Path) -> None:
    counter = {"bn.num_batches_tracked": np.array(7)}
    file = stored(tmp_path / "w.safetensors", prefix, **counter)
    network = Tiny(weights=str(file)).make(DATA, Context(tmp_path, tmp_path))
    for name in NAMES:
        np.testing.assert_array_equal(network.initializers[name], TINY.initializers[name] + 1)


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    half = {name: TINY.initializers[name].astype(np.float16) for name in NAMES}
    network = load_weights(TINY, stored(tmp_path / "w.safetensors", **half))
    assert network.dtype == "float32"
    np.testing.assert_array_equal(network.initializers["fc.bias"], half["fc.bias"])


@pytest.mark.parametrize(
    "changed,sentence",
    [
        ({"fc.bias": None}, r"lacks fc\.bias of 7 tensors$"),
        ({"conv9.weight": np.ones(1)}, r"has conv9\.weight, which the network has not"),
        (
            {"fc.bias": None, "linear.bias": np.ones(3)},
            r"lacks fc\.bias of 7 tensors; it has linear\.bias, which",
        ),
        (
            {"fc.weight": np.ones((10, 8), np.float32)},
            r"fc\.weight has shape \(10, 8\), the network's has \(3, 8\)",
        ),
        ({"fc.bias": np.full(3, np.nan)}, r"fc\.bias holds NaN"),
    ],
)
def test_weights_that_do_not_fit(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    file = stored(tmp_path / "w.safetensors", **changed)
    with pytest.raises(InputError, match=rf"w\.safetensors:? {sentence}"):
        load_weights(TINY, file)


def test_file_that_holds_no_weights(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    with pytest.raises(InputError, match=r"w\.pt cannot be read: No such file"):
        load_weights(TINY, file)
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match=r"w\.pt is not a safetensors file .*dlas loads no pickle"):
        load_weights(TINY, file)
    content = stored(tmp_path / "w.safetensors").read_bytes()
    file.write_bytes(content[:-9])
    with pytest.raises(InputError, match=r"w\.pt is not a safetensors file"):
        load_weights(TINY, file)


# -- a user's ONNX file --------------------------------------------------------------------------


def test_onnx_file(tmp_path: Path) -> None:
    TINY.save(tmp_path)
    brought = model({"onnx": str(tmp_path / "network.onnx")})
    assert brought.make(DATA, Context(tmp_path, tmp_path)).model == TINY.model
    assert brought.label() == "onnx(network.onnx)"


@pytest.mark.parametrize(
    "shape,classes,sentence",
    [
        ((3, 8, 8), 3, r"takes images of shape \(1, 8, 8\), the data set's have \(3, 8, 8\)"),
        ((1, 8, 8), 4, r"gives 3 scores, the data set has 4 classes"),
    ],
)
def test_onnx_file_for_other_data(
    shape: tuple[int, int, int], classes: int, sentence: str, tmp_path: Path
) -> None:
    TINY.save(tmp_path)
    brought = OnnxFile(path=str(tmp_path / "network.onnx"))
    with pytest.raises(InputError, match=sentence):
        brought.make(noise_data(shape, classes), Context(tmp_path, tmp_path))


def test_weights_beside_an_onnx_file_are_inputs(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(
        TINY.edited(), file, save_as_external_data=True, location="net.data", size_threshold=0
    )
    inputs = OnnxFile(path=str(file)).inputs()
    assert inputs == {"path": file, "path/net.data": tmp_path / "net.data"}


# -- a user's function ---------------------------------------------------------------------------

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, 3)

    def forward(self, x):
        x = nn.functional.adaptive_avg_pool2d(self.bn(self.conv(x)).relu(), 1)
        return self.fc(x.view(x.size(0), -1))

def net(width=4):
    return Net(width)

def image():
    return nn.Conv2d(1, 3, 3)

def branching():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x
    return Branching()

def number():
    return 7

def file():
    return FILE
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``mine.nets``, importable; importing the package itself raises until ``ready`` is there."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    TINY.save(tmp_path)
    (folder / "nets.py").write_text(SOURCE.replace("FILE", repr(str(tmp_path / "network.onnx"))))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mine", "mine.nets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


@pytest.fixture
def _torch() -> None:
    for name in ("torch", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'dlas[torch]'")


@pytest.mark.usefixtures("package", "_torch")
def test_factory_of_a_module() -> None:
    import torch

    made = Factory(target="mine.nets:net", arguments={"width": 6}, seed=3).build(DATA)
    assert made.input_shape == (1, 8, 8)
    assert [row.out_channels for row in made.layers] == [6, 3]
    assert "BatchNormalization" in {node.op_type for node in made.model.graph.node}
    assert {"conv.weight", "bn.running_mean", "fc.bias"} <= set(made.initializers)
    assert made.parameters == 6 * 9 + 2 * 6 + 6 * 3 + 3  # the exporter's zero biases are gone

    from mine.nets import Net  # type: ignore[import-not-found]

    torch.manual_seed(3)
    module = Net(6).eval()
    images = DATA.test.images()
    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(scores(made, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("package", "_torch")
def test_factory_of_a_file() -> None:
    assert Factory(target="mine.nets:file").build(DATA).model == TINY.model


@pytest.mark.usefixtures("package", "_torch")
@pytest.mark.parametrize(
    "target,arguments,sentence",
    [
        ("mine.nets:nett", {}, r"mine\.nets has no function 'nett'; did you mean 'net'"),
        ("mine.nets:net", {"depth": 3}, r"mine\.nets:net does not take these arguments: .*'depth'"),
        (
            "mine.nets:number",
            {},
            r"mine\.nets:number returned int, not a torch\.nn\.Module or a path",
        ),
        ("mine.nets:image", {}, r"mine\.nets:image: the output 'logits' has shape \(N, 3, 6, 6\)"),
        ("mine.nets:branching", {}, r"mine\.nets:branching cannot be exported to ONNX"),
    ],
)
def test_factory_that_makes_no_network(
    target: str, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        Factory(target=target, arguments=arguments).build(DATA)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_torch")
def test_factory_whose_module_cannot_be_imported(package: Path) -> None:
    (package / "nets.py").write_text("import no_such_library")
    with pytest.raises(InputError, match=r"mine\.nets cannot be imported: .*no_such_library"):
        Factory(target="mine.nets:net").build(DATA)


@pytest.mark.parametrize(
    "target,sentence",
    [
        ("mine.nets", r"'mine\.nets' is not package\.module:function"),
        ("mine nets:f", "is not package.module:function"),
        ("mine.nest:net", r"there is no module 'mine\.nest'; install it or put its folder on"),
        ("yours:net", "there is no module 'yours'"),
        ("yours.nets:net", r"there is no module 'yours\.nets'"),
    ],
)
@pytest.mark.usefixtures("package")
def test_factory_target_is_checked_early(target: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=rf"\$\.model\.target: .*{sentence}"):
        model({"factory": target})


def test_factory_source_is_an_input_and_is_not_run(package: Path) -> None:
    (package / "__init__.py").write_text("raise RuntimeError('run')")
    (package / "nets.py").write_text("raise RuntimeError('run')")
    made = model({"factory": "mine.nets:net", "arguments": {"width": 2}})
    assert made.inputs() == {"source": package / "nets.py"}
    assert made.label() == "factory(mine.nets:net, width=2)"
    assert "mine" not in sys.modules

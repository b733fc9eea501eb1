"""Training learns, is the same to the bit every time, and goes on where it was killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from dlas.context import Context, silent
from dlas.data import Data, Split
from dlas.errors import Refused
from dlas.evaluate import accuracy
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.testing.networks import noise, noise_images, tiny
from dlas.training import Recipe, train
from dlas.training.history import read_history

torch = pytest.importorskip("torch")

RECIPE = Recipe(epochs=4, batch=16, lr=0.05, label_smoothing=0.1, augment=("crop", "flip"))


def striped(count: int = 64) -> Data:
    """Three classes of 1×8×8 images: stripes across, stripes down, and neither."""
    labels = np.arange(count, dtype=np.int64) % 3
    images = noise_images((1, 8, 8), count) * np.float32(0.3)
    images[labels == 0, :, ::2] += 1
    images[labels == 1, :, :, ::2] += 1
    split = Split(labels, lambda indices: images[indices])
    return Data((1, 8, 8), ("across", "down", "neither"), split, split, split)


def small() -> Network:
    b = Builder((1, 8, 8))
    x = b.relu(b.batch_norm(b.conv("input", "conv1", 8, 3), "bn1"))
    x = b.relu(b.batch_norm(b.conv(x, "conv2", 8, 3, stride=2), "bn2"))
    return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 3))


def context(folder: Path, progress: Callable[[float, str], None] = silent) -> Context:
    folder.mkdir(exist_ok=True)
    return Context(folder, folder / "checkpoints", progress=progress)


def bytes_of(network: Network) -> bytes:
    return network.model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_learns(tmp_path: Path, precision: Literal["float32", "bfloat16"]) -> None:
    data, network = striped(), small()
    recipe = Recipe(epochs=15, batch=16, lr=0.1, precision=precision)
    trained = train(network, data, recipe, seed=0, context=context(tmp_path))
    assert accuracy(trained, data.test) > 0.95 > accuracy(network, data.test)
    history = read_history(tmp_path)
    assert [row.epoch for row in history] == list(range(1, 16))
    assert history[-1].loss < history[0].loss / 2
    assert history[-1].lr < 0.01 < max(row.lr for row in history)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    def trained(folder: str, seed: int) -> bytes:
        place = context(tmp_path / folder)
        return bytes_of(train(small(), striped(), RECIPE, seed=seed, context=place))

    assert trained("a", 0) == trained("b", 0) != trained("c", -1)


@pytest.mark.parametrize("stop", [2, 5, 9, 15])
def test_resumes_to_the_bit(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlas.training.loop.CHECKPOINT_INTERVAL_S", 0.0)
    monkeypatch.setattr("dlas.training.loop.PROGRESS_INTERVAL_S", 0.0)
    whole = train(small(), striped(), RECIPE, seed=1, context=context(tmp_path / "whole"))
    seen: list[str] = []

    def interrupt(fraction: float, text: str) -> None:
        seen.append(text)
        if len(seen) == stop:
            raise KeyboardInterrupt

    killed = context(tmp_path / "killed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(small(), striped(), RECIPE, seed=1, context=killed)
    resumed = train(small(), striped(), RECIPE, seed=1, context=killed)
    assert bytes_of(resumed) == bytes_of(whole)
    assert [row.epoch for row in read_history(killed.folder)] == [1, 2, 3, 4]
    epochs_done = (stop - 1) // 4  # an epoch has four steps, and reports each
    assert len(seen) == stop + 4 * (4 - epochs_done), "finished epochs are not repeated"


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    seen: list[str] = []
    place = context(tmp_path, lambda fraction, text: seen.append(text))
    first = train(small(), striped(), RECIPE, seed=0, context=place)
    seen.clear()
    assert bytes_of(train(small(), striped(), RECIPE, seed=0, context=place)) == bytes_of(first)
    assert not seen


def test_a_damaged_checkpoint_is_made_anew(tmp_path: Path) -> None:
    place = context(tmp_path)
    first = train(small(), striped(), RECIPE, seed=0, context=place)
    (file,) = place.checkpoints.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert bytes_of(train(small(), striped(), RECIPE, seed=0, context=place)) == bytes_of(first)


def test_masked_weights_stay_zero(tmp_path: Path) -> None:
    network = small()
    random = np.random.default_rng(0)
    masks = {
        name: random.random(network.initializers[name].shape) < 0.3
        for name in ("conv1.weight", "conv2.weight", "fc.weight")
    }
    trained = train(network, striped(), RECIPE, seed=0, context=context(tmp_path), masks=masks)
    for name, mask in masks.items():
        weight = trained.initializers[name]
        assert not weight[~mask].any()
        assert weight[mask].all()


def test_masks_of_transposed_weights(tmp_path: Path) -> None:
    """A MatMul's constant is the transpose of what PyTorch holds."""
    network = small()
    model = network.edited()
    dense = model.graph.node[-1]
    for attribute in dense.attribute:
        attribute.i = 0  # transB
    for tensor in model.graph.initializer:
        if tensor.name == "fc.weight":
            tensor.dims[:] = tensor.dims[::-1]
    mask = np.random.default_rng(0).random((8, 3)) < 0.5
    place = context(tmp_path)
    masks = {"fc.weight": mask}
    trained = train(Network(model), striped(), RECIPE, seed=0, context=place, masks=masks)
    np.testing.assert_array_equal(trained.initializers["fc.weight"] != 0, mask)


def test_biases_and_batch_norm_do_not_decay(tmp_path: Path) -> None:
    """After one step from zero momentum, decay can only have moved what decays."""
    network, data = small(), striped()
    step = {"epochs": 1, "batch": 64}
    trained = [
        train(network, data, Recipe(**step, weight_decay=d), seed=0, context=context(tmp_path))
        for d in (0.0, 0.5)
    ]
    same = {
        name: np.array_equal(value, trained[1].initializers[name])
        for name, value in trained[0].initializers.items()
    }
    assert {name for name, equal in same.items() if not equal} == {
        "conv1.weight",
        "conv2.weight",
        "fc.weight",
    }


def test_diverging_is_refused(tmp_path: Path) -> None:
    recipe, place = Recipe(epochs=5, lr=1e30), context(tmp_path)
    with pytest.raises(Refused, match=r"diverged in epoch \d+.*choose a smaller lr than 1e\+30"):
        train(small(), striped(), recipe, seed=0, context=place)


def test_network_and_data_must_fit(tmp_path: Path) -> None:
    place = context(tmp_path)
    with pytest.raises(Refused, match=r"shape \(3, 16, 16\), the data has \(1, 8, 8\)"):
        train(tiny("plain"), striped(), RECIPE, seed=0, context=place)
    narrow = noise(small())
    wide = Data(narrow.shape, (*narrow.classes, "more"), narrow.train, narrow.train, narrow.train)
    with pytest.raises(Refused, match="3 classes apart, the data has 4"):
        train(small(), wide, RECIPE, seed=0, context=place)


def test_zero_epochs_change_nothing(tmp_path: Path) -> None:
    network = small()
    trained = train(network, striped(), Recipe(epochs=0), seed=0, context=context(tmp_path))
    assert bytes_of(trained) == bytes_of(network)


def test_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    place = Context(tmp_path, tmp_path, threads=before + 1)
    train(small(), striped(16), Recipe(epochs=1), seed=0, context=place)
    assert torch.get_num_threads() == before


def test_images_too_many_for_memory_are_read_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = train(small(), striped(), RECIPE, seed=0, context=context(tmp_path / "held"))
    monkeypatch.setattr("dlas.training.loop.IN_MEMORY_BYTES", 0)
    read = train(small(), striped(), RECIPE, seed=0, context=context(tmp_path / "read"))
    assert bytes_of(held) == bytes_of(read)


@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
def test_one_cycle(warmup: float) -> None:
    recipe = Recipe(lr=0.2, warmup=warmup)
    rates = [recipe.learning_rate(step, 100) for step in range(100)]
    peak = int(np.argmax(rates))
    assert abs(peak + 1 - 100 * warmup) <= 1
    assert rates[peak] == pytest.approx(0.2, rel=1e-2)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert min(rates) > 0
    assert warmup == 1 or rates[-1] < 0.001


def augmented(images: NDArray[np.float32], *augment: str, seed: int = 0) -> NDArray[np.float32]:
    from dlas.training.loop import _augmented

    generator = torch.Generator().manual_seed(seed)
    recipe = Recipe(augment=augment)
    result: NDArray[np.float32] = _augmented(torch.from_numpy(images), recipe, generator).numpy()
    return result


def test_crops_shift_by_an_eighth_and_bring_in_zeros() -> None:
    image = noise_images((2, 16, 8), 1)
    copies = augmented(np.repeat(image, 400, axis=0), "crop")
    padded = np.pad(image[0], [(0, 0), (2, 2), (1, 1)])
    windows = {
        padded[:, row : row + 16, column : column + 8].tobytes()
        for row in range(5)
        for column in range(3)
    }
    assert {copy.tobytes() for copy in copies} == windows


def test_flips_half() -> None:
    image = noise_images((1, 4, 4), 1)
    copies = augmented(np.repeat(image, 400, axis=0), "flip")
    mirrored = [np.array_equal(copy, image[0, :, :, ::-1]) for copy in copies]
    assert 150 < sum(mirrored) < 250
    assert all(np.array_equal(c, image[0]) for c, m in zip(copies, mirrored, strict=True) if not m)

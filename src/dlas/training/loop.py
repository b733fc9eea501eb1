"""The training loop: seeded, resumable to the bit, lean enough for tiny networks.

Imports torch: import this file inside functions only.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from dlas.context import Context
from dlas.data import Data, Split
from dlas.errors import Refused
from dlas.network import Network
from dlas.network.torch_module import TorchNetwork, to_torch, write_back
from dlas.network.torch_quantized import to_trainable, write_integers
from dlas.training import Masks, Recipe
from dlas.training.checkpoint import load_checkpoint, save_checkpoint
from dlas.training.history import Epoch, append_history

CHECKPOINT_INTERVAL_S = 5.0
PROGRESS_INTERVAL_S = 0.5
#: Training images up to this size, as float32, are kept in memory.
IN_MEMORY_BYTES = 2 << 30


def run(
    network: Network, data: Data, recipe: Recipe, seed: int, context: Context, masks: Masks
) -> Network:
    """See ``dlas.training.train``."""
    module = to_torch(network, trainable=True)
    _fit(module, network, data, recipe, seed, context, masks)
    return write_back(network, module)


def run_quantized(
    network: Network, data: Data, recipe: Recipe, seed: int, context: Context, masks: Masks,
    learned: bool,
) -> Network:  # fmt: skip
    """See ``dlas.training.train_quantized``."""
    module = to_trainable(network, learned=learned)
    _fit(module, network, data, recipe, seed, context, masks)
    return write_integers(network, module)


def _fit(
    module: TorchNetwork, network: Network, data: Data, recipe: Recipe, seed: int,
    context: Context, masks: Masks,
) -> None:  # fmt: skip
    """Train the module, which is the network's, in place."""
    _check_fit(network, data)
    # Convolutions of small networks train a fifth faster on CPUs with channels last.
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
    parameters = [name for name, _ in module.named_parameters()]
    name = f"training-{_identity(network, recipe, seed, masks, parameters)}.safetensors"
    with _threads(recipe.threads):
        training = _Training(module, data, recipe, seed, masks)
        history = training.run(context, context.checkpoints / name)
    append_history(context.folder, history)


class _Training:
    def __init__(
        self, module: TorchNetwork, data: Data, recipe: Recipe, seed: int, masks: Masks
    ) -> None:
        self.module, self.recipe, self.seed = module, recipe, seed
        self.images = _Images(data.train)
        self.labels = torch.from_numpy(np.array(data.train.labels))
        self.batches = math.ceil(len(self.labels) / recipe.batch)
        parameters = dict(module.named_parameters())
        self.optimizer = _sgd(list(parameters.values()), recipe)
        # Views of what training changes in place.
        self.state = module.state_dict()
        for name, parameter in parameters.items():
            for key, buffer in self.optimizer.state[parameter].items():
                self.state[f"{key}/{name}"] = buffer
        self.pruned = [
            (self.state[link.parameter], link.to_torch(~masks[link.tensor]))
            for link in module.links
            if link.tensor in masks
        ]

    def run(self, context: Context, checkpoint: Path) -> list[Epoch]:
        history = load_checkpoint(checkpoint, self.state)
        saved = time.monotonic()
        for epoch in range(len(history) + 1, self.recipe.epochs + 1):
            history.append(self._epoch(epoch, context))
            now = time.monotonic()
            if epoch == self.recipe.epochs or now - saved > CHECKPOINT_INTERVAL_S:
                save_checkpoint(checkpoint, self.state, history)
                saved = now
        return history

    def _epoch(self, epoch: int, context: Context) -> Epoch:
        started = reported = time.monotonic()
        # Every epoch has its own stream, so a checkpoint needs no state of a generator.
        words = np.random.SeedSequence([self.seed % 2**64, epoch]).generate_state(1, np.uint64)
        generator = Generator().manual_seed(int(words[0]))
        order = torch.randperm(len(self.labels), generator=generator)
        total, seen, lr = 0.0, 0, 0.0
        for index, chosen in enumerate(order.tensor_split(self.batches)):
            step = (epoch - 1) * self.batches + index
            lr = self.recipe.learning_rate(step, self.recipe.epochs * self.batches)
            loss = self._step(chosen, lr, generator)
            if not math.isfinite(loss):
                raise Refused(
                    f"training diverged in epoch {epoch}, the loss is {loss}: "
                    f"choose a smaller lr than {self.recipe.lr:g}"
                )
            total, seen = total + loss * len(chosen), seen + len(chosen)
            now = time.monotonic()
            if index + 1 == self.batches or now - reported > PROGRESS_INTERVAL_S:
                done = (epoch - 1 + seen / len(order)) / self.recipe.epochs
                text = f"epoch {epoch}/{self.recipe.epochs}, loss {total / seen:.2f}"
                context.progress(done, text)
                reported = now
        seconds = time.monotonic() - started
        return Epoch(epoch=epoch, loss=total / seen, lr=lr, seconds=seconds)

    def _step(self, chosen: Tensor, lr: float, generator: Generator) -> float:
        images = _augmented(self.images[chosen], self.recipe, generator)
        narrow = self.recipe.precision == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            scores = self.module(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(
            scores.float(), self.labels[chosen], label_smoothing=self.recipe.label_smoothing
        )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        for weight, absent in self.pruned:
            weight.masked_fill_(absent, 0)
        return float(loss.detach())


class _Images:
    """The training images, kept in memory where they fit."""

    def __init__(self, split: Split) -> None:
        self.split = split
        fits = split.images(slice(1)).nbytes * len(split) <= IN_MEMORY_BYTES
        self.every = torch.from_numpy(split.images()) if fits else None

    def __getitem__(self, chosen: Tensor) -> Tensor:
        if self.every is None:
            return torch.from_numpy(self.split.images(chosen.numpy()))
        return self.every[chosen]


def _augmented(images: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """(n, C, H, W) → the same, every image drawn for itself."""
    n, _, h, w = images.shape
    if "crop" in recipe.augment:
        rows, columns = h // 8, w // 8
        padded = F.pad(images, (columns, columns, rows, rows))
        windows = padded.unfold(2, h, 1).unfold(3, w, 1)  # (n, C, row, column, H, W)
        row = torch.randint(2 * rows + 1, (n,), generator=generator)
        column = torch.randint(2 * columns + 1, (n,), generator=generator)
        images = windows[torch.arange(n), :, row, column]
    if "flip" in recipe.augment:
        mirrored = torch.rand(n, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def _sgd(parameters: list[torch.nn.Parameter], recipe: Recipe) -> torch.optim.SGD:
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    nesterov = recipe.momentum > 0
    optimizer = torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=True
    )
    if nesterov:  # from the start, so that a checkpoint can be loaded into it
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _check_fit(network: Network, data: Data) -> None:
    if network.input_shape != data.shape:
        raise Refused(
            f"the network takes images of shape {network.input_shape}, the data has {data.shape}"
        )
    if network.classes != len(data.classes):
        raise Refused(
            f"the network tells {network.classes} classes apart, the data has {len(data.classes)}"
        )


def _identity(
    network: Network, recipe: Recipe, seed: int, masks: Masks, parameters: list[str]
) -> str:
    """Tells one training's checkpoint from another's."""
    total = hashlib.sha256(network.model.SerializeToString(deterministic=True))
    total.update(msgspec.json.encode([recipe, seed, parameters]))
    for name, mask in sorted(masks.items()):
        total.update(name.encode() + np.packbits(mask).tobytes())
    return total.hexdigest()[:16]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

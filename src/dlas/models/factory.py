"""A user's own network, from a Python function."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from dlas.data import Data
from dlas.errors import InputError, SpecError
from dlas.layer import did_you_mean
from dlas.models.base import Model
from dlas.network import Network
from dlas.network.cleanup import drop_unused
from dlas.network.opening import OPSET

if TYPE_CHECKING:
    import onnx
    from torch import nn

#: Of the example images. Not 1, so that no constant of the network is mistaken for it.
EXAMPLES = 2


def _without_made_up_biases(model: onnx.ModelProto, own: set[str]) -> onnx.ModelProto:
    """The exporter gives a convolution without bias one of zeros, which would count and train."""
    from onnx import numpy_helper

    zeros = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.name not in own and not numpy_helper.to_array(tensor).any()
    }
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in zeros:
            del node.input[2]
    drop_unused(model)
    return model


class Factory(Model, frozen=True, kw_only=True):
    """``target`` is "package.module:function"; the function, called with ``arguments``, returns a
    ``torch.nn.Module`` of (N, C, H, W) → (N, classes) or the path of an ONNX file. It runs after
    ``torch.manual_seed(seed)``.

    The content of the module's source file is part of the identity, so editing it makes the
    network anew; what it imports in turn is not followed."""

    name: ClassVar[str] = "factory"
    distributions: ClassVar[tuple[str, ...]] = ("torch", "onnxscript", "onnx")
    modules: ClassVar[tuple[str, ...]] = ("torch", "onnxscript")
    extra: ClassVar[str] = "torch"
    has_weights: ClassVar[bool] = True

    target: str
    arguments: dict[str, Any] | None = None

    def check(self, path: str) -> None:
        parts = self.target.replace(":", ".").split(".")
        if self.target.count(":") != 1 or not all(part.isidentifier() for part in parts):
            raise SpecError(f"{path}.target", f"{self.target!r} is not package.module:function")
        if self._source() is None:
            raise SpecError(f"{path}.target", self._absent())

    def inputs(self) -> dict[str, Path]:
        """The weights, and the module's source file."""
        source = self._source()
        if source is None:
            raise InputError(self._absent())
        return {**super().inputs(), "source": source}

    def build(self, data: Data) -> Network:
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            made = self._function()(**(self.arguments or {}))
        if isinstance(made, (str, os.PathLike)):
            return Network.open(Path(made))
        if not isinstance(made, torch.nn.Module):
            kind = type(made).__name__
            raise InputError(f"{self.target} returned {kind}, not a torch.nn.Module or a path")
        return Network.adopt(self._export(made, data), self.target)

    def _export(self, module: nn.Module, data: Data) -> onnx.ModelProto:
        """By torch.export. Its optimizer would fold BatchNorm away, which training needs, so only
        constants are folded."""
        import torch
        from onnxscript.optimizer import fold_constants, remove_unused_nodes

        images = torch.zeros(EXAMPLES, *data.shape)
        try:
            program = torch.onnx.export(
                module.eval(), (images,), dynamo=True, optimize=False, opset_version=OPSET,
                input_names=["input"], output_names=["logits"], verbose=False,
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise InputError(f"{self.target} cannot be exported to ONNX: {reason}") from None
        assert program is not None, "dynamo = True returns a program"
        fold_constants(program.model)
        remove_unused_nodes(program.model)
        return _without_made_up_biases(program.model_proto, set(module.state_dict()))

    def _function(self) -> Callable[..., Any]:
        """Imports the module. InputError where that fails or the call would."""
        module_name, _, name = self.target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise InputError(f"{module_name} cannot be imported: {error}") from None
        function = getattr(module, name, None)
        if not callable(function):
            hint = did_you_mean(
                name, [key for key, value in vars(module).items() if callable(value)]
            )
            raise InputError(f"{module_name} has no function {name!r}{hint}")
        try:
            inspect.signature(function).bind(**(self.arguments or {}))
        except TypeError as error:
            raise InputError(f"{self.target} does not take these arguments: {error}") from None
        return cast(Callable[..., Any], function)

    def _absent(self) -> str:
        module = self.target.partition(":")[0]
        return f"there is no module {module!r}; install it or put its folder on PYTHONPATH"

    def _source(self) -> Path | None:
        """The module's source file, found without running it or the packages around it."""
        parts = self.target.partition(":")[0].split(".")
        spec = importlib.util.find_spec(parts[0])
        for depth in range(2, len(parts) + 1):
            places = spec.submodule_search_locations if spec is not None else None
            spec = PathFinder.find_spec(".".join(parts[:depth]), places) if places else None
        return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None

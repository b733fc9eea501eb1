"""From a network and a plan to the files of an executable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tvm

from dlas.network import Network
from dlas.network.compact import compact
from dlas.network.layers import ITEM_BYTES
from dlas.plan import KEPT, Plan
from dlas.systems.tvm.blocked import translate_blocked
from dlas.systems.tvm.choice import Chooser
from dlas.systems.tvm.dots import DotLayers
from dlas.systems.tvm.frontend import translate
from dlas.systems.tvm.lower import Arrange, build
from dlas.systems.tvm.narrow import translate_narrow
from dlas.systems.tvm.questions import Setting
from dlas.systems.tvm.runtime import LIBRARY
from dlas.systems.tvm.schedule import schedule
from dlas.systems.tvm.sparse import SparseLayers
from dlas.systems.tvm.tuning import Tuner
from dlas.target import host

if TYPE_CHECKING:
    from dlas.systems.tvm import Tvm

#: Types whose images lie channels last.
NARROW = ("int8", "bfloat16", "mixed")


@dataclass(frozen=True)
class Compiling:
    network: Network
    plan: Plan
    system: Tvm

    def write(self, folder: Path) -> None:
        """Fill the executable's folder."""
        os.environ["TVM_NUM_THREADS"] = str(self.system.threads)
        network = self.network
        if any(step.format == KEPT for step in self.plan.steps):
            network = compact(network)
        compile_to = self.untuned if self.system.tuning == "untuned" else self.by_templates
        module, arrange = compile_to(network, folder)
        build(module, host(), self.system.threads, folder / LIBRARY, arrange)

    def untuned(self, network: Network, _: Path) -> tuple[tvm.IRModule, Arrange]:
        """The network in Relax, and what puts its kernels' loops in order."""
        threads, lanes = self.system.threads, host().lanes
        module = translate(network, self.plan, SparseLayers(host(), threads))
        return module, lambda kernels: [schedule(each, lanes, threads) for each in kernels]

    def by_templates(self, network: Network, folder: Path) -> tuple[tvm.IRModule, Arrange]:
        """The same by schedule templates. What was left to choose is chosen, and written down."""
        setting = Setting(host(), self.system.threads, weight_bytes(network))
        tuner, plan = Tuner(setting, self.system.trials), self.plan
        if any(step.ways for step in plan.steps):
            choices = Chooser(network, plan, tuner, by_templates).choices()
            choices.save(folder)
            plan = choices.plan
        return tuner.together(partial(by_templates, network, plan, tuner)), tuner.arrange


def by_templates(network: Network, plan: Plan, tuner: Tuner) -> tvm.IRModule:
    """The network with every layer in its primitive's template form."""
    setting, trials = tuner.setting, tuner.trials
    target = setting.target
    sparse = SparseLayers(target, setting.threads, tuner.choose_tile, trials)
    if network.dtype in NARROW:
        dots = DotLayers(target, tuner.choose_dots, trials)
        return translate_narrow(network, plan, target.lanes, dots, sparse)
    return translate_blocked(network, plan, target.lanes, sparse)


def weight_bytes(network: Network) -> int:
    return sum(ITEM_BYTES[row.dtype] * row.weights for row in network.layers)

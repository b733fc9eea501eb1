"""From a network and a plan to the files of an executable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tvm
from tvm import tirx

from dlas.network import Network
from dlas.network.compact import compact
from dlas.network.layers import ITEM_BYTES
from dlas.plan import KEPT, Plan
from dlas.systems.base import fixed_batch
from dlas.systems.tvm.auto import AutoScheduler
from dlas.systems.tvm.blocked import translate_blocked
from dlas.systems.tvm.calls import calls
from dlas.systems.tvm.choice import Chooser
from dlas.systems.tvm.dots import DotLayers
from dlas.systems.tvm.frontend import translate
from dlas.systems.tvm.lower import Arrange, build
from dlas.systems.tvm.narrow import translate_narrow
from dlas.systems.tvm.profile import Kernel, save_kernels
from dlas.systems.tvm.questions import Setting
from dlas.systems.tvm.runtime import LIBRARY
from dlas.systems.tvm.schedule import schedule
from dlas.systems.tvm.sparse import SparseLayers
from dlas.systems.tvm.tuning import Tuner
from dlas.target import host

if TYPE_CHECKING:
    from dlas.systems.tvm import Tvm

#: Candidates of a kernel that are measured while ways are chosen for "auto".
TO_CHOOSE = 8

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
        network = Network(fixed_batch(network, self.system.batch))
        setting = Setting(host(), self.system.threads, weight_bytes(network))
        orders = {"untuned": self.untuned, "template": self.templates, "auto": self.automatic}
        module, arrange = orders[self.system.tuning](network, setting, folder)
        built = build(module, host(), self.system.threads, folder / LIBRARY, arrange)
        save_kernels([Kernel(call.name, call.layers) for call in calls(built)], folder)

    def untuned(
        self, network: Network, setting: Setting, folder: Path
    ) -> tuple[tvm.IRModule, Arrange]:
        """The network in Relax, and what puts its kernels' loops in order."""
        lanes, threads = setting.target.lanes, setting.threads
        module = translate(network, self.plan, SparseLayers(setting.target, threads))
        return module, lambda kernels: [schedule(each, lanes, threads) for each in kernels]

    def templates(
        self, network: Network, setting: Setting, folder: Path
    ) -> tuple[tvm.IRModule, Arrange]:
        """The same by schedule templates. What was left to choose is chosen, and written down."""
        tuner = Tuner(setting, self.system.budget)
        plan = self.settled(network, tuner, folder)
        module = tuner.together(partial(by_templates, network, plan, tuner))

        def arrange(kernels: Sequence[tirx.PrimFunc]) -> Sequence[tirx.PrimFunc]:
            arranged = tuner.arrange(kernels)
            tuner.finished().save(folder)
            return arranged

        return module, arrange

    def automatic(
        self, network: Network, setting: Setting, folder: Path
    ) -> tuple[tvm.IRModule, Arrange]:
        """The templates' kernels with loops as MetaSchedule finds them. Layers on narrow numbers
        are sums in plain order here: their templates' kernels are written out as loops, as those of
        sparse layers are, whose tiles are searched. Templates decide what was left to choose."""
        tuner, chooser = Tuner(setting, self.system.budget), Tuner(setting, TO_CHOOSE)
        plan = self.settled(network, chooser, folder)
        if network.dtype in NARROW:
            sparse = SparseLayers(setting.target, setting.threads, tuner.choose_tile, tuner.trials)
            module = tuner.together(partial(translate, network, plan, sparse))
        else:
            module = tuner.together(partial(by_templates, network, plan, tuner))
        scheduler = AutoScheduler(
            setting.target,
            setting.threads,
            tuner.trials,
            weight_bytes=setting.weight_bytes,
            search_s=self.system.search_s,
        )

        def arrange(kernels: Sequence[tirx.PrimFunc]) -> Sequence[tirx.PrimFunc]:
            arranged = scheduler.arrange(kernels)
            tally = tuner.finished()
            tally.add(chooser.finished())
            tally.add(scheduler.tally)
            tally.save(folder)
            return arranged

        return module, arrange

    def settled(self, network: Network, tuner: Tuner, folder: Path) -> Plan:
        """The plan, with nothing left to choose."""
        if not any(step.ways for step in self.plan.steps):
            return self.plan
        choices = Chooser(network, self.plan, tuner, by_templates).choices()
        choices.save(folder)
        return choices.plan


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

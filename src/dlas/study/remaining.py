"""How long the rest of a run should take, learnt from what it has done so far."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dlas.node import Node
from dlas.store.results import Outcome
from dlas.study.plan import StudyPlan

_Kind = tuple[str, str]


class Remaining:
    """Expects of each node what its kind (layer and member) took in this run, else in the past.
    Nodes are made ``jobs`` at a time and measured one at a time."""

    def __init__(self, plan: StudyPlan, jobs: int) -> None:
        self._plan, self._jobs = plan, jobs
        self._open: dict[str, Node] = {}
        self._taken: dict[_Kind, list[float]] = {}

    def expect(self, nodes: Iterable[Node]) -> float:
        """Add nodes that are to be worked on; the seconds all should take."""
        self._open.update((node.key, node) for node in nodes)
        return self.seconds()

    def after(self, node: Node, outcome: Outcome) -> float:
        """The seconds left once ``node`` has ended so; what hangs below a failure will not run."""
        self._open.pop(node.key, None)
        if outcome.status == "ok":
            self._taken.setdefault((node.layer, node.name), []).append(outcome.seconds)
        else:
            for key in [k for k in self._open if self._is_below(k, node.key)]:
                del self._open[key]
        return self.seconds()

    def seconds(self) -> float:
        made = sum(self._expected(n) for n in self._open.values() if n.layer != "hardware")
        measured = sum(self._expected(n) for n in self._open.values() if n.layer == "hardware")
        return made / self._jobs + measured

    def __len__(self) -> int:
        return len(self._open)

    def _expected(self, node: Node) -> float:
        taken = self._taken.get((node.layer, node.name))
        return float(np.median(taken)) if taken else self._plan.seconds(node)

    def _is_below(self, key: str, ancestor: str) -> bool:
        while key:
            if key == ancestor:
                return True
            key = self._plan.nodes[key].parent
        return False

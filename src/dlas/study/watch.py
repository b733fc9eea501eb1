"""What can be told of a running study to whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence

from dlas.node import Node
from dlas.store.results import Outcome


class Watcher:
    """Watches nothing; subclasses override what they show. Times are in seconds."""

    def entered(self, phase: str) -> None:
        """The run has come to ``making`` or ``measuring``."""

    def planned(self, total: int, remaining_s: float) -> None:
        """``total`` nodes are to be worked on."""

    def started(self, node: Node) -> None:
        """Work on a node begins."""

    def progressed(self, node: Node, fraction: float, text: str) -> None:
        """A node's own word on how far it is, ``fraction`` in [0, 1]."""

    def ended(self, node: Node, outcome: Outcome, remaining_s: float) -> None:
        """A node has ended, well or not; ``remaining_s`` is what the rest should take."""

    def idle(self) -> None:
        """Nothing has happened for a moment; the run is alive."""


class Watchers(Watcher):
    """Several, told one after the other."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def entered(self, phase: str) -> None:
        for watcher in self._watchers:
            watcher.entered(phase)

    def planned(self, total: int, remaining_s: float) -> None:
        for watcher in self._watchers:
            watcher.planned(total, remaining_s)

    def started(self, node: Node) -> None:
        for watcher in self._watchers:
            watcher.started(node)

    def progressed(self, node: Node, fraction: float, text: str) -> None:
        for watcher in self._watchers:
            watcher.progressed(node, fraction, text)

    def ended(self, node: Node, outcome: Outcome, remaining_s: float) -> None:
        for watcher in self._watchers:
            watcher.ended(node, outcome, remaining_s)

    def idle(self) -> None:
        for watcher in self._watchers:
            watcher.idle()

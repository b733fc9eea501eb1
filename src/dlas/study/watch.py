"""What can be told of a running study to whoever watches it."""

from __future__ import annotations

from dlas.node import Node
from dlas.store.results import Outcome


class Watcher:
    """Watches nothing; subclasses override what they show. Times are in seconds."""

    def planned(self, total: int, remaining_s: float) -> None:
        """``total`` nodes are to be worked on."""

    def started(self, node: Node) -> None:
        """Work on a node begins."""

    def progressed(self, node: Node, fraction: float, text: str) -> None:
        """A node's own word on how far it is, ``fraction`` in [0, 1]."""

    def ended(self, node: Node, outcome: Outcome, remaining_s: float) -> None:
        """A node has ended, well or not; ``remaining_s`` is what the rest should take."""

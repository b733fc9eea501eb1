"""Identity: a stack is a chain of nodes, a study is the union of its chains.

``key = sha256(canonical JSON of [layer, spec with every field written out, tools, parent key])``
so equal prefixes have equal keys, and what was made once is never made again. This file imports
nothing else of dlas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spare space; floats in Python's shortest exact form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


@dataclass(frozen=True)
class Node:
    """One choice in its context: the choices above it are in ``parent``'s key.

    ``spec`` is what a user would write; ``content`` the digests of the input files it names,
    by field: in the key they stand in place of the paths.
    """

    layer: str
    spec: Mapping[str, Any]
    content: Mapping[str, str]
    tools: Mapping[str, str]
    parent: str
    key: str = field(init=False)

    def __post_init__(self) -> None:
        identity = [self.layer, {**self.spec, **self.content}, dict(self.tools), self.parent]
        object.__setattr__(self, "key", hashlib.sha256(canonical(identity)).hexdigest())

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    def plain(self) -> dict[str, Any]:
        """All that the key is made of, as plain data."""
        return {
            "layer": self.layer,
            "spec": dict(self.spec),
            "content": dict(self.content),
            "tools": dict(self.tools),
            "parent": self.parent,
        }


def lineage(nodes: Mapping[str, Node], key: str) -> list[Node]:
    """The node of ``key`` and all above it, data set first. KeyError where one is not there."""
    found: list[Node] = []
    while key:
        found.append(nodes[key])
        key = nodes[key].parent
    return found[::-1]


def tree(chains: Iterable[Iterable[Node]]) -> dict[str, Node]:
    """The union of chains: key → node, every parent before its children."""
    return {node.key: node for chain in chains for node in chain}

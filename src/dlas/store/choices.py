"""A stack's choices as plain words and numbers that an analysis can group by, from its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from dlas.node import Node


def choices(chain: Sequence[Node]) -> dict[str, Any]:
    """The columns network, compression, primitive, format, software, tuning, threads, batch and
    machine of ``schema.RESULTS``, of a chain with a node in every layer."""
    by_layer = {node.layer: node for node in chain}
    algorithm, system = by_layer["algorithms"].spec, by_layer["systems"].spec
    optimizations = [node.name for node in chain if node.layer == "optimizations"]
    return {
        "network": network_name(by_layer["models"].spec),
        "compression": " + ".join(optimizations) or "none",
        "primitive": algorithm["name"],
        "format": algorithm.get("format", "dense"),
        "software": system["name"],
        "tuning": system.get("tuning", "vendor"),
        "threads": system["threads"],
        "batch": system.get("batch", 1),
        "machine": machine_name(by_layer["hardware"].tools),
    }


def network_name(spec: Mapping[str, Any]) -> str:
    """What a network is called in papers: resnet18, efficientnetb0, resnext29-8x64d; with its
    width where it is not the usual one. How it is trained is not in it.

    >>> network_name({"name": "vgg", "depth": 11, "width": 0.25})
    'vgg11-width0.25'
    """
    name = f"{spec['name']}{spec.get('depth') or spec.get('variant') or ''}"
    if "path" in spec:
        return PurePath(spec["path"]).stem
    if "target" in spec:
        return str(spec["target"]).rpartition(":")[2]
    if "cardinality" in spec:
        name += f"-{spec['cardinality']}x{spec['base_width']}d"
    if spec.get("width", 1.0) != 1.0:
        name += f"-width{spec['width']:g}"
    return name


def machine_name(tools: Mapping[str, str]) -> str:
    """One name per device: all that its fingerprint holds (``hardware.base.fingerprint``)."""
    traits = {name: value for name, value in tools.items() if not name.startswith("dlas.")}
    if "cpu" not in traits:
        return ", ".join(f"{name} {value}" for name, value in sorted(traits.items()))
    cores = "1 core" if traits["cores"] == "1" else f"{traits['cores']} cores"
    known = [traits["cpu"], cores, f"{traits['memory_gib']} GiB", traits["isa"]]
    others = sorted(set(traits) - {"cpu", "cores", "memory_gib", "isa"})
    return ", ".join([*known, *(f"{name} {traits[name]}" for name in others)])

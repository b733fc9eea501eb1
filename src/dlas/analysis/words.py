"""Choices, lists and numbers in plain words."""

from __future__ import annotations

from collections.abc import Sequence

#: Choices in the order of the layers that decide them.
WORDS = {
    "dataset": "data set",
    "network": "network",
    "model": "model",
    "compression": "compression",
    "optimizations": "optimization",
    "primitive": "algorithm",
    "algorithm": "algorithm",
    "format": "format",
    "software": "system",
    "system": "system",
    "tuning": "tuning",
    "threads": "number of threads",
    "batch": "batch",
}
#: What choices decide: columns of results.
NUMBERS = {
    "latency_s": "latency",
    "accuracy": "accuracy",
    "sparse_bytes": "size of the weights",
    "macs": "MACs",
    "effective_macs": "effective MACs",
}
_LEVELS = {"gemm": "GEMM", "none": "no compression", "vendor": "the system's own"}


def word(factor: str) -> str:
    return WORDS.get(factor, factor)


def level_word(factor: str, level: str) -> str:
    """
    >>> level_word("primitive", "spatial_pack"), level_word("threads", "1")
    ('spatial pack', '1 thread')
    """
    if factor == "threads":
        return f"{level} thread" if level == "1" else f"{level} threads"
    if factor == "batch":
        return f"batch {level}"
    if factor in ("compression", "primitive"):
        return _LEVELS.get(level, level.replace("_", " "))
    return level


def listed(words: Sequence[str], last: str = "and") -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def count(many: int, noun: str, plural: str = "") -> str:
    """
    >>> count(1, "stack"), count(1500, "latency", "latencies")
    ('1 stack', '1,500 latencies')
    """
    return f"{many:,} {noun if many == 1 else plural or noun + 's'}"

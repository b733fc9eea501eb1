"""A table of texts, and how Markdown writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """``rows`` of as many cells as there are ``headings``; cells of the first ``texts`` columns are
    words, the others numbers. ``notes``: sentences below it."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Without a final line break. Bars in cells are escaped; no rows and no notes say so."""
        rule = ["---" if i < self.texts else "---:" for i in range(len(self.headings))]
        lines = [_line(self.headings), _line(rule), *map(_line, self.rows)] if self.rows else []
        notes = [note for note in self.notes if note]
        return "\n\n".join(["\n".join(lines), *notes] if lines else notes) or "No such stacks."


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(escaped) + " |"

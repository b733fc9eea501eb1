"""Tables of results inside Markdown: ``fill`` replaces what stands between a table's marks.

<!-- dlas: latency studies/a.parquet threads=1 -->
…
<!-- /dlas -->
"""

from dlas.report.tables.fill import TABLES, fill
from dlas.report.tables.table import Table

__all__ = ["TABLES", "Table", "fill"]

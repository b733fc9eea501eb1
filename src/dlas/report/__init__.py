"""Reports: one page a person wants to read, and short tables for the terminal."""

from dlas.report.html import write_report
from dlas.report.info import Conditions, Dropped, Machine, ReportInfo

__all__ = ["Conditions", "Dropped", "Machine", "ReportInfo", "write_report"]

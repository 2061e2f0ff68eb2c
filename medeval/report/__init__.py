"""The report: plain views in, one self-contained HTML file or terminal text out. Knows views, and no task."""

from medeval.report.html import Section, render_report, write_report
from medeval.report.text import plain_table, render_table

__all__ = ["Section", "plain_table", "render_report", "render_table", "write_report"]

"""The report: what a job came to, and how, for people and machines.

Comes in: a ledger. Goes out: `Statistics`, and these as a page (`page`), as Markdown (`markdown`) and as JSON
(`Statistics.summary`). Always holds: each entry is read once and kept as sums, so a job of any length takes the memory of a
page; nothing here decides a byte of the manifest (law 2).
"""

from tokenmill.report.gather import statistics
from tokenmill.report.markdown import markdown
from tokenmill.report.page import page
from tokenmill.report.statistics import Statistics

__all__ = ["Statistics", "markdown", "page", "statistics"]

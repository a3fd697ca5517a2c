"""Which items of a collection are copies of one another: blocking, comparison, report."""

from .finder import Found, find_duplicates
from .report import content_security_policy, report_csv, report_dict, report_html, report_lines

__all__ = [
    "Found",
    "content_security_policy",
    "find_duplicates",
    "report_csv",
    "report_dict",
    "report_html",
    "report_lines",
]

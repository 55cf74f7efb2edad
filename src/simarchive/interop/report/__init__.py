"""A report on a container: one page for a browser that asks nobody for anything, not even the container."""

from simarchive.interop.report.gathering import Facts, gather
from simarchive.interop.report.page import page_of, write_report

__all__ = ["Facts", "gather", "page_of", "write_report"]

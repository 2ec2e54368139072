"""The report's files in the results folder of a run, and the plots of a journal."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from adapters.report.build import ReportInput, build_report
from adapters.report.page import write_page
from adapters.report.pictures import write_pictures, write_plots
from adapters.report.schema import Report

KINDS = ("png", "pdf", "html")


def write_report(folder: Path, given: ReportInput, kinds: Collection[str] = KINDS) -> list[Path]:
    """Write `equity.png`, `drawdown.png`, `report.pdf` and `report.html`, or those of `kinds`; return their paths.

    Raises InputMissingError where the charts' JavaScript was not fetched: after the others, which do without.
    """
    report = build_report(given)
    written = write_pictures(folder, report) if "png" in kinds else []
    return written + _pages(folder, report, kinds)


def write_journal_plots(folder: Path, report: Report, kinds: Collection[str] = KINDS) -> list[Path]:
    """The same of a journal's report, with four pictures: equity, trades, distribution, heatmap."""
    written = write_plots(folder, report) if "png" in kinds else []
    return written + _pages(folder, report, kinds)


def _pages(folder: Path, report: Report, kinds: Collection[str]) -> list[Path]:
    written = []
    if "pdf" in kinds:
        from adapters.report.document import write_document  # noqa: PLC0415 - matplotlib, where it is wanted

        written.append(write_document(folder / "report.pdf", report))
    if "html" in kinds:
        written.append(write_page(folder / "report.html", report))
    return written

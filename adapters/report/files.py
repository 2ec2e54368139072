"""The report's files in the results folder of a run."""

from __future__ import annotations

from pathlib import Path

from adapters.report.build import ReportInput, build_report
from adapters.report.page import write_page
from adapters.report.pictures import write_pictures


def write_report(folder: Path, given: ReportInput) -> list[Path]:
    """Write `equity.png`, `drawdown.png` and `report.html`; return their paths.

    Raises InputMissingError where the charts' JavaScript was not fetched: after the pictures, which do without.
    """
    report = build_report(given)
    return [*write_pictures(folder, report), write_page(folder / "report.html", report)]

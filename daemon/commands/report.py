"""`tapewright report`: what programs need to read reports."""

from __future__ import annotations

import json

import typer

report_app = typer.Typer(no_args_is_help=True, help="Reports of runs: see `backtest --report`.")


@report_app.callback()
def about() -> None:
    """Reports of runs: see `backtest --report`."""


@report_app.command()
def schema() -> None:
    """Print the JSON Schema of a report, the document inside report.html."""
    from adapters.report.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))

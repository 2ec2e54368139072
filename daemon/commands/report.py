"""`tapewright report`: the report of a run that is over, the plots of a journal, and the schema of reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_KINDS = ("png", "pdf", "html")


class _MakeByDefault(TyperGroup):
    """`report RUN` is `report make RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before what is none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["make", *args]
        return super().parse_args(ctx, args)


report_app = typer.Typer(
    cls=_MakeByDefault, no_args_is_help=True,
    help="The report of a run that is over, or of a bar journal: `report RUN`, `report JOURNAL.parquet`.",
)  # fmt: skip


@report_app.callback()
def about() -> None:
    """Reports of runs and of bar journals."""


@report_app.command()
def make(
    context: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A results folder or session, by name or path; or a bar journal (.parquet)."
        ),
    ],
    *,
    only: Annotated[str, typer.Option(metavar="KINDS", help="Which files to write: some of png,pdf,html.")] = ",".join(
        _KINDS
    ),
    timeframe: Annotated[
        str | None, typer.Option(metavar="TF", help="Of a journal: join its bars to this, such as 1h.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write here, not into the run's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Write the report of a run that is over: it is run again, and its hash compared. Or the plots of a journal."""
    from daemon.reporting import make_report
    from daemon.stages import Quiet, Terminal
    from engine.errors import UsageError

    kinds = [kind.strip() for kind in only.split(",")]
    if not set(kinds) <= set(_KINDS):
        raise UsageError(f"--only: {only}: not some of {', '.join(_KINDS)}", remedy="Write such as --only html,pdf.")
    stages = Quiet() if as_json else Terminal()
    made = make_report(context.obj.home, target, stages, kinds=kinds, timeframe=timeframe, out=out)
    if as_json:
        files = [str(file) for file in made.files]
        typer.echo(json.dumps({"source": made.source, "folder": str(made.folder), "files": files}))
    else:
        typer.echo("\n".join(str(file) for file in made.files))


@report_app.command()
def schema() -> None:
    """Print the JSON Schema of a report, the document inside report.html."""
    from adapters.report.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))

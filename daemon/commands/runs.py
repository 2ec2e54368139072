"""`tapewright runs`: which runs the store holds, what each came to, its rows as files, and what to delete.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands.compare import Json, Run, Store, compare, print_json, store_path

if TYPE_CHECKING:
    from adapters.store import RunRow

runs_app = typer.Typer(help="List, show, compare, export and delete the runs in the store.", no_args_is_help=True)
runs_app.command("compare")(compare)

_MEGABYTE = 1_000_000


class Format(StrEnum):
    """Kinds of files."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


class Mode(StrEnum):
    """Kinds of runs."""

    BACKTEST = "backtest"
    PAPER = "paper"
    REPLAY = "replay"


@runs_app.command("list")
def list_(
    context: typer.Context,
    *,
    mode: Annotated[Mode | None, typer.Option(help="Only runs of this kind.")] = None,
    strategy: Annotated[str | None, typer.Option(metavar="ID", help="Only runs with this strategy.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only runs with this symbol.")] = None,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the newest N of them.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List runs, the newest last."""
    from adapters.store import StoreReader
    from adapters.store.listing import RunFilter, listed
    from daemon.commands.run_tables import new_table, show, shown, status_text
    from daemon.stored_runs import summarized

    path = store_path(context, store)
    with StoreReader(path) as reader:
        found = listed(reader, RunFilter(mode.value if mode else None, strategy, symbol, last))
    runs = [summarized(each) for each in found]
    if as_json:
        print_json({"store": str(path), "runs": runs})
        return
    if not runs:
        typer.echo(f"{path} holds no {'run' if (mode, strategy, symbol) == (None,) * 3 else 'such run'}.")
        return
    numbers = ("run", "trades", "return", "outputs")
    table = new_table(
        "run", "name", "mode", "status", "strategies", "began", "trades", "return", "outputs", "hash", right=numbers
    )
    for run in runs:
        table.add_row(
            str(run["run_id"]), run["name"], run["mode"], status_text(run["status"]), run["strategy_id"],
            run["start"][:19], f"{run['trades']:,}", shown("equity.total_return", run["total_return"]),
            f"{run['outputs_stored']:,}", run["hash"] or "–",
        )  # fmt: skip
    show(table)


@runs_app.command()
def show(context: typer.Context, run: Run, *, store: Store = None, as_json: Json = False) -> None:
    """Show what a run is, how far it is stored, and what it came to."""
    from daemon.commands.run_tables import show_run
    from daemon.stored_runs import view_of

    view = view_of(store_path(context, store), run)
    if as_json:
        print_json(view)
        return
    show_run(view)


@runs_app.command()
def export(
    context: typer.Context,
    run: Run,
    *,
    form: Annotated[Format, typer.Option("--format", help="What the files are.")] = Format.CSV,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="A new folder [HOME/exports/RUN].")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write every table of a run, with names for codes and exact decimals beside the integers."""
    from adapters.store import StoreReader
    from adapters.store.export import export_run

    with StoreReader(store_path(context, store)) as reader:
        found = reader.find(run)
        done = export_run(reader, found, out or context.obj.home / "exports" / found.name, form.value)
    if as_json:
        print_json(done)
        return
    typer.echo(f"Wrote {len(done.files):,} files of {found.name}: {done.folder}")
    for name, count in done.rows.items():
        typer.echo(f"  {name}: {count:,} rows")


@runs_app.command()
def delete(
    context: typer.Context,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names, beginnings of names, or numbers.")],
    *,
    is_agreed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    with_files: Annotated[bool, typer.Option("--files", help="Its results and bar journals too.")] = False,
    is_forced: Annotated[bool, typer.Option("--force", help="Also a run that a dead process left running.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Delete runs from the store. The file does not shrink: the next runs use what is free."""
    from adapters.store.deleting import delete_runs
    from daemon.run_files import remove

    path, home = store_path(context, store), context.obj.home
    found = _found(path, home, runs, is_forced=is_forced, with_files=with_files)
    if not is_agreed:
        for run, files in found:
            typer.echo(f"{run.name} ({run.mode}, {run.status})" + "".join(f"\n  {file}" for file in files))
        typer.confirm(f"Delete {len(found):,} run{'s' if len(found) > 1 else ''} for good?", abort=True)
    told: list[dict[str, Any]] = []
    done = delete_runs(path, [run.run_id for run, _ in found], also_running=is_forced)
    for (run, files), each in zip(found, done, strict=True):
        removed = {str(file): remove(file) for file in files}
        told.append({"name": run.name, **_plain(each), "files": list(removed), "file_bytes": sum(removed.values())})
        if not as_json:
            typer.echo(f"Deleted {run.name}: {each.rows:,} rows, {each.bytes_freed / _MEGABYTE:,.1f} MB free again")
            for file, size in removed.items():
                typer.echo(f"  {file}: {size / _MEGABYTE:,.1f} MB")
    if as_json:
        print_json({"store": str(path), "deleted": told})


def _found(
    path: Path, home: Path, targets: list[str], *, is_forced: bool, with_files: bool
) -> list[tuple[RunRow, list[Path]]]:  # fmt: skip
    """The runs that are meant, each once, with the files that go with it; all are looked at before any is deleted."""
    from adapters.store import StoreReader
    from adapters.store.deleting import refuse_running
    from daemon.comparing_runs import find_run
    from daemon.run_files import files_of
    from daemon.session.folder import refuse_held

    found: dict[int, tuple[RunRow, list[Path]]] = {}
    with StoreReader(path) as reader:
        for target in targets:
            run = find_run(reader, target)
            if run.status == "running":
                refuse_held(home, run.name)
                if not is_forced:
                    raise refuse_running(run.name)
            symbols = [each.symbol for each in reader.instruments(run.run_id)]
            found[run.run_id] = run, files_of(home, run.name, symbols) if with_files else []
    return list(found.values())


def _plain(value: Any) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(value)
    return found

"""`tapewright service`: install the systemd units with the paths of this installation, and check units.

Nothing here talks to a running systemd: units are files, and what to run next is said.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import EXIT_FINDINGS, InputMissingError, UsageError

if TYPE_CHECKING:
    from daemon.units import UnitVerdict

service_app = typer.Typer(help="Run as a systemd service: write the units, check them.", no_args_is_help=True)

_UNIT_FOLDER = Path("/etc/systemd/system")
_INSTANCE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.\-]*")
_UNIT_MODE = 0o644
# Folders that a service with ProtectHome and PrivateTmp cannot see.
_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - nothing is put there


@service_app.command()
def install(
    *,
    config: Annotated[
        Path | None, typer.Option(help="The config to run [/etc/tapewright/tapewright.yaml; of an instance NAME.yaml].")
    ] = None,
    instance: Annotated[
        str | None, typer.Option(metavar="NAME", help="Write tapewright@, the unit of several sessions on one machine.")
    ] = None,
    unit_folder: Annotated[Path, typer.Option(help="Where units lie.")] = _UNIT_FOLDER,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a unit that says something else.")] = False,
) -> None:
    """Write the unit of a paper session and say what to run next."""
    from daemon.units import unit_text

    if instance is not None and not _INSTANCE.fullmatch(instance):
        raise UsageError(
            f"--instance {instance}: not a name of an instance", remedy="Letters, digits, dots, _ and - make one."
        )
    command = command_path()
    unit = unit_text(command, config.absolute() if config is not None else None, is_instance=instance is not None)
    # An instance with a config of its own choice is a unit of its own; systemd prefers it to tapewright@.service.
    file = unit_folder / unit_name(instance, has_config=config is not None)
    if dry_run:
        typer.echo(f"# {file}\n{unit}", nl=False)
        return
    state = write_unit(file, unit, is_forced=force)
    typer.echo(f"{file}: {state}")
    runs = config.absolute() if config is not None else Path(f"/etc/tapewright/{instance or 'tapewright'}.yaml")
    for line in unreachable([command, Path(sys.executable).resolve(), runs]):
        typer.echo(f"warning: {line}")
    typer.echo(next_steps(instance, runs))


@service_app.command()
def check(
    units: Annotated[
        list[Path] | None, typer.Argument(metavar="[UNIT]...", help="Unit files [the installed ones, else ours].")
    ] = None,
    *,
    unit_folder: Annotated[Path, typer.Option(help="Where installed units lie.")] = _UNIT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Have systemd-analyze read units and rate their exposure; ends with 1 on findings, or above 1.5."""
    from daemon.units import EXPOSURE_MOST, check_shipped, check_unit

    files = list(units or sorted(unit_folder.glob("tapewright*.service")))
    for file in files:
        if not file.is_file():
            raise InputMissingError(f"Unit not found: {file}", remedy="Give the path of a unit file.")
    verdicts = [check_unit(file) for file in files] if files else check_shipped(command_path())
    if as_json:
        listed = [_described(verdict) for verdict in verdicts]
        typer.echo(json.dumps({"ok": all(verdict.is_good for verdict in verdicts), "units": listed}))
    else:
        for verdict in verdicts:
            exposure = "not rated by this systemd" if verdict.exposure is None else f"{verdict.exposure}"
            typer.echo(f"{verdict.unit}: {'good' if verdict.is_good else 'NOT GOOD'}, exposure {exposure}"
                       f" (at most {EXPOSURE_MOST})")  # fmt: skip
            typer.echo("".join(f"  {finding}\n" for finding in verdict.findings), nl=False)
    if not all(verdict.is_good for verdict in verdicts):
        raise typer.Exit(EXIT_FINDINGS)


def unit_name(instance: str | None, *, has_config: bool) -> str:
    """The name of the unit file that `install` writes."""
    if instance is None:
        return "tapewright.service"
    return f"tapewright@{instance}.service" if has_config else "tapewright@.service"


def command_path() -> Path:
    """Where the `tapewright` of this installation lies; raises InputMissingError where there is none."""
    own = Path(sys.executable).with_name("tapewright")
    if own.is_file():
        return own
    found = shutil.which("tapewright")
    if found is None:
        raise InputMissingError("The tapewright command is not installed", remedy="Install the package, then run this.")
    return Path(found).absolute()


def write_unit(file: Path, unit: str, *, is_forced: bool) -> str:
    """Write a unit whole or not at all; what happened in a word. Raises where another unit lies there."""
    if not file.parent.is_dir():
        raise InputMissingError(f"{file.parent} is no folder", remedy="Name the folder of units with --unit-folder.")
    is_there = file.exists()
    if is_there and file.read_text(encoding="utf-8", errors="replace") == unit:
        return "as it should be already"
    if is_there and not is_forced:
        raise UsageError(
            f"{file} says something else than would be written",
            remedy=f"Keep your changes in a drop-in (systemctl edit {file.name}) and write it with --force.",
        )
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(unit, encoding="utf-8")
        new.chmod(_UNIT_MODE)
        new.replace(file)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", remedy="Run this as root, or give --unit-folder."
        ) from error
    return "replaced" if is_there else "written"


def unreachable(paths: list[Path]) -> list[str]:
    """What the service's own user will not be able to read, one line each."""
    lines = []
    for path in paths:
        hidden = next((folder for folder in _HIDDEN if path.is_relative_to(folder)), None)
        if hidden is not None:
            lines.append(f"{path} lies under {hidden}, which the service cannot see; move it, such as to /opt or /etc")
        elif not path.exists():
            lines.append(f"{path} is not there yet")
        elif not path.stat().st_mode & stat.S_IROTH:
            lines.append(f"{path} cannot be read by the service's user; run: chmod o+r {path}")
        else:
            lines += [f"{path} cannot be reached by the service's user; run: chmod o+x {folder}"
                      for folder in path.parents if not folder.stat().st_mode & stat.S_IXOTH]  # fmt: skip
    return lines


def next_steps(instance: str | None, config: Path) -> str:
    """The commands that bring the service up."""
    name = "tapewright" if instance is None else f"tapewright@{instance}"
    return f"""Next, as root:
  tapewright config check {config}
  systemctl daemon-reload
  systemctl enable --now {name}
Then:
  systemctl status {name}
  journalctl -u {name} -o cat -f"""


def _described(verdict: UnitVerdict) -> dict[str, object]:
    return {"unit": verdict.unit, "good": verdict.is_good, "exposure": verdict.exposure, "findings": verdict.findings}

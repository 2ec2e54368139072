"""A config file and what it builds on, with the command line's overrides, to a RunConfig; or every problem at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from config.build import build
from config.files import BYTES_MAX, FORMATS, Format, read_text
from config.layers import read_layered
from config.migrations import migrate
from config.model import Mode, RunConfig
from config.nodes import Node
from config.overrides import with_mode, with_settings, with_strategy
from config.problems import Findings
from config.reader import read
from config.rules import Sheet, check
from engine.errors import InputMissingError

__all__ = ["BYTES_MAX", "FORMATS", "Format", "Resolved", "load", "parse", "resolve"]


class Resolved(msgspec.Struct, frozen=True):
    """A config, and the tree with the place of every value, the files and the migrations' notes that it comes from."""

    config: RunConfig
    root: Node
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def load(
    path: Path, *, overrides: Sequence[str] = (), strategy: str | None = None, is_tape: bool = False,
    mode: Mode | None = None,
) -> RunConfig:  # fmt: skip
    """Read a config file and the files that it builds on; YAML, JSON or TOML by their endings.

    `overrides` are `a.b=c` as `--set` takes them, `strategy` is what `--strategy` names; `is_tape`: the run is on a
    tape, so that no symbols means all of it (as it does in a file with a `book` section). `mode` is what the command
    stands for: it counts where the file says none, and another one in the file is a problem. Raises ConfigError with
    every problem of files and overrides, and InputMissingError where the file is not there.
    """
    return resolve(path, overrides=overrides, strategy=strategy, is_tape=is_tape, mode=mode).config


def resolve(
    path: Path, *, overrides: Sequence[str] = (), strategy: str | None = None, is_tape: bool = False,
    mode: Mode | None = None,
) -> Resolved:  # fmt: skip
    """Read as `load` does, and keep where each value stands."""
    findings = Findings(str(path))
    try:
        layered = read_layered(path, findings)
    except OSError as error:
        raise InputMissingError(
            f"{path}: cannot be read: {error.strerror or error}",
            remedy="Give the path of a config file; `config/defaults/backtest.yaml` is one to copy.",
        ) from error
    root = _overridden(layered.root, findings, overrides, strategy, mode)
    return Resolved(_built(root, findings, is_tape=is_tape), root, layered.files, layered.notes)


def parse(
    text: str, form: Format, *, source: str, overrides: Sequence[str] = (), strategy: str | None = None,
    is_tape: bool = False, mode: Mode | None = None,
) -> RunConfig:  # fmt: skip
    """Read the text of a config; `source` is what messages call it. Raises ConfigError as `load` does."""
    findings = Findings(source)
    root = migrate(read_text(text, form, findings), findings).root
    return _built(_overridden(root, findings, overrides, strategy, mode), findings, is_tape=is_tape)


def _overridden(
    root: Node, findings: Findings, overrides: Sequence[str], strategy: str | None, mode: Mode | None
) -> Node:  # fmt: skip
    if strategy is not None:
        root = with_strategy(root, strategy, findings)
    root = with_settings(root, overrides, findings)
    return root if mode is None else with_mode(root, mode, findings)


def _built(root: Node, findings: Findings, *, is_tape: bool) -> RunConfig:
    values = read(root, findings)
    check(Sheet(values, root, findings, is_tape))
    findings.raise_if_any()
    return build(values, findings.origin)

"""A config file, with the command line's overrides, to a RunConfig; or every problem of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, assert_never

from config.build import build
from config.json_nodes import read_json
from config.model import Mode, RunConfig
from config.nodes import Node, Place
from config.overrides import with_mode, with_settings, with_strategy
from config.problems import Findings
from config.reader import read
from config.rules import Sheet, check
from config.toml_nodes import read_toml
from config.yaml_nodes import read_yaml
from engine.errors import InputMissingError

Format = Literal["yaml", "json", "toml"]

FORMATS: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
BYTES_MAX = 512 * 1024


def load(
    path: Path, *, overrides: Sequence[str] = (), strategy: str | None = None, is_tape: bool = False,
    mode: Mode | None = None,
) -> RunConfig:  # fmt: skip
    """Read a config file; YAML, JSON or TOML by its ending.

    `overrides` are `a.b=c` as `--set` takes them, `strategy` is what `--strategy` names; `is_tape`: the run is on a
    tape, so that no symbols means all of it (as it does in a file with a `book` section). `mode` is what the command
    stands for: it counts where the file says none, and another one in the file is a problem. Raises ConfigError with
    every problem of file and overrides, and InputMissingError where the file is not there.
    """
    findings = Findings(str(path))
    form = FORMATS.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise InputMissingError(
            f"{path}: cannot be read: {error.strerror or error}",
            remedy="Give the path of a config file; `config/defaults/backtest.yaml` is one to copy.",
        ) from error
    if form is None:
        findings.stop(Place(str(path)), (), f"the ending {path.suffix!r} is not allowed; one of {', '.join(FORMATS)}")
    if len(data) > BYTES_MAX:
        findings.stop(Place(str(path)), (), f"larger than {BYTES_MAX // 1024} KiB, which no config is")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        findings.stop(Place(str(path), line), (), f"byte {error.start} is not UTF-8; save the file as UTF-8")
    return parse(text, form, source=str(path), overrides=overrides, strategy=strategy, is_tape=is_tape, mode=mode)


def parse(
    text: str, form: Format, *, source: str, overrides: Sequence[str] = (), strategy: str | None = None,
    is_tape: bool = False, mode: Mode | None = None,
) -> RunConfig:  # fmt: skip
    """Read the text of a config; `source` is what messages call it. Raises ConfigError as `load` does."""
    findings = Findings(source)
    root = _nodes(text, form, findings)
    if strategy is not None:
        root = with_strategy(root, strategy, findings)
    root = with_settings(root, overrides, findings)
    if mode is not None:
        root = with_mode(root, mode, findings)
    values = read(root, findings)
    check(Sheet(values, root, findings, is_tape))
    findings.raise_if_any()
    return build(values, source)


def _nodes(text: str, form: Format, findings: Findings) -> Node:
    match form:
        case "yaml":
            return read_yaml(text, findings)
        case "json":
            return read_json(text, findings)
        case "toml":
            return read_toml(text, findings)
        case _:
            assert_never(form)

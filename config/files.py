"""A config file's text as nodes, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, assert_never

from config.json_nodes import read_json
from config.nodes import Node, Place
from config.problems import Findings
from config.toml_nodes import read_toml
from config.yaml_nodes import read_yaml

Format = Literal["yaml", "json", "toml"]

FORMATS: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
BYTES_MAX = 512 * 1024


def read_file(path: Path, findings: Findings) -> Node:
    """Return the tree of a file; YAML, JSON or TOML by its ending. Raises OSError, and ConfigError for its content."""
    with path.open("rb") as file:
        data = file.read(BYTES_MAX + 1)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        findings.stop(Place(str(path)), (), f"the ending {path.suffix!r} is not allowed; one of {', '.join(FORMATS)}")
    if len(data) > BYTES_MAX:
        findings.stop(Place(str(path)), (), f"larger than {BYTES_MAX // 1024} KiB, which no config is")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        findings.stop(Place(str(path), line), (), f"byte {error.start} is not UTF-8; save the file as UTF-8")
    return read_text(text, form, findings)


def read_text(text: str, form: Format, findings: Findings) -> Node:
    """Return the tree of a text. Raises ConfigError for a syntax error."""
    match form:
        case "yaml":
            return read_yaml(text, findings)
        case "json":
            return read_json(text, findings)
        case "toml":
            return read_toml(text, findings)
        case _:
            assert_never(form)

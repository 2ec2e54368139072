"""`report.html`: one file that opens from disk, without network: data, scripts and style in one page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path

import msgspec

from adapters.report.schema import Report
from adapters.result_files import put_file
from engine.errors import InputMissingError

_HERE = Path(__file__).parent
_BROWSER = _HERE / "browser"
_LIBRARY = "lightweight-charts"
# In the order in which one needs the other; together they are one module of the page.
SCRIPTS = (
    "columns.js",
    "format.js",
    "tiles.js",
    "lines.js",
    "overlay.js",
    "chart.js",
    "trades.js",
    "figures.js",
    "main.js",
)
_EXPORTS = re.compile(r"export\s*\{([^{}]*)\};?\s*$")
_IMPORT = re.compile(r"^import\s[^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function|class))", re.MULTILINE)


def write_page(path: Path, report: Report) -> Path:
    """Write the page; raises InputMissingError where the charts' JavaScript was not fetched."""
    text = page_text(report)
    return put_file(path, lambda place: place.write_bytes(text.encode()))


def page_text(report: Report) -> str:
    """The page as text."""
    names = ", ".join(symbol.symbol for symbol in report.symbols)
    title = f"{names} · {', '.join(report.run.strategies)} · {report.run.timeframe}"
    parts = {
        "TITLE": html.escape(title),
        "STYLE": (_BROWSER / "report.css").read_text(encoding="utf-8"),
        "LIBRARY": charts_script(),
        # `<` in a JSON text stands inside strings only, so that no string can end the script.
        "REPORT": msgspec.json.encode(report).decode().replace("<", "\\u003c"),
        "SCRIPT": "\n".join(_inlined((_BROWSER / name).read_text(encoding="utf-8")) for name in SCRIPTS),
    }
    template = (_BROWSER / "report.html").read_text(encoding="utf-8")
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], template)


def charts_script() -> str:
    """The charting library as a script that leaves its exports in `globalThis.LightweightCharts`.

    A page from disk may not import modules from other files. Raises InputMissingError where the file was not
    fetched or is another one than the lock file names.
    """
    lock = json.loads((_HERE / "javascript.lock.json").read_text(encoding="utf-8"))[_LIBRARY]
    file = lock["files"][0]
    place = _HERE / "vendor" / file["name"]
    content = place.read_bytes() if place.is_file() else b""
    if "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode() != file["integrity"]:
        what = "is not the one that javascript.lock.json names" if content else "is missing"
        raise InputMissingError(
            f"report.html needs the charting library {_LIBRARY} {lock['version']}: {place} {what}",
            remedy="Where registry.npmjs.org can be reached, run: uv sync --reinstall-package tapewright",
        )
    text = content.decode().replace("</script", "<\\/script")
    exports = _EXPORTS.search(text)
    assert exports is not None, "the library ends with its exports"
    pairs = (part.split(" as ") for part in exports[1].split(","))
    members = ",".join(f"{pair[-1].strip()}:{pair[0].strip()}" for pair in pairs)
    return f"{text[: exports.start()]}globalThis.LightweightCharts={{{members}}};"


def _inlined(source: str) -> str:
    """A module of ours as part of the page's one module."""
    return _EXPORT.sub("", _IMPORT.sub("", source))

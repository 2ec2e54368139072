"""Fetches the third-party JavaScript of report.html when the package is built, for editable installs too.

What is fetched, and the hash that it must have, stands in adapters/report/javascript.lock.json. Where a file is
there with its hash, nothing is asked of the network. Where the registry cannot be reached, the build goes on
without: only report.html needs the file, and says so.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REPORT = Path("adapters") / "report"
SECONDS_MOST = 15
BYTES_MOST = 20_000_000


class JavaScriptHook(BuildHookInterface):
    """Puts the locked files under adapters/report/vendor before anything is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the interface's arguments
        """Fetch what is missing; never fail the build."""
        try:
            fetch_missing(Path(self.root) / REPORT)
        except Exception as error:  # whatever it was, the package works without
            print(f"report.html will miss its charts: {error}", file=sys.stderr)  # noqa: T201 - the build's log


def fetch_missing(report: Path) -> None:
    """Fetch each package of the lock file of which a file is missing or has another hash."""
    lock = json.loads((report / "javascript.lock.json").read_text(encoding="utf-8"))
    for package in lock.values():
        places = [(report / "vendor" / file["name"], file) for file in package["files"]]
        if all(place.is_file() and _integrity(place.read_bytes()) == file["integrity"] for place, file in places):
            continue
        archive = _fetched(package["resolved"], package["integrity"])
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
            for place, file in places:
                member = members.extractfile(file["member"])
                content = b"" if member is None else member.read()
                _check(content, file["integrity"], file["member"])
                place.parent.mkdir(exist_ok=True)
                partial = place.with_name(place.name + ".partial")
                partial.write_bytes(content)
                partial.replace(place)


def _fetched(address: str, integrity: str) -> bytes:
    if not address.startswith("https://"):
        raise ValueError(f"{address} is not https")
    with urllib.request.urlopen(address, timeout=SECONDS_MOST) as response:  # noqa: S310 - https, checked above
        content: bytes = response.read(BYTES_MOST)
    _check(content, integrity, address)
    return content


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _check(content: bytes, integrity: str, name: str) -> None:
    if _integrity(content) != integrity:
        raise ValueError(f"{name} is not what javascript.lock.json says")

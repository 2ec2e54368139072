"""A copy of the store a day, the newest few kept: what is left where the disk, or a person, spoils the file itself."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

from adapters.store.schema import back_up, sqlite_trouble

BACKUPS_KEPT = 7
_DAY = re.compile(r"-(\d{8})$")


def daily_backup(path: Path, folder: Path, keep: int = BACKUPS_KEPT, *, day: date | None = None) -> Path | None:
    """Copy the store to `folder/{name}-YYYYMMDD.sqlite`, once a day (UTC), and let go of all but the newest `keep`.

    For a start, before anybody writes and after `prepare` has found the file whole: a damaged one never takes the
    place of a good copy. Returns the new copy; None where the day has its copy already or there is no store yet.
    Raises as `prepare` does where the copy cannot be made; then the older ones stay.
    """
    assert keep >= 1, "a backup that is not kept is none"
    to = folder / f"{path.stem}-{day or datetime.now(UTC).date():%Y%m%d}{path.suffix}"
    if not path.exists() or to.exists():
        return None
    with sqlite_trouble(to):
        folder.mkdir(parents=True, exist_ok=True)
        back_up(path, to)
        for old in backups_of(path, folder)[:-keep]:
            old.unlink(missing_ok=True)
    return to


def backups_of(path: Path, folder: Path) -> list[Path]:
    """The daily copies of a store, the oldest first; other files of the folder are not among them."""
    found = []
    for each in folder.glob(f"*{path.suffix}"):
        match = _DAY.search(each.stem)
        if match and each.stem[: match.start()] == path.stem:
            found.append((match[1], each))
    return [each for _, each in sorted(found)]

"""How fast the daemon is: the cost of a message, the time to a decision, and whether it stays as it is for minutes.

`uv run python -m tests.bench.daemon [--only path,sockets,latency,soak] [--quick] [--json]`. Without `--only` all but
the soak, about six minutes; the soak takes ten more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform

from tests.bench.daemon_latency import latency_section, soak_section
from tests.bench.daemon_load import REEL_FRAMES
from tests.bench.daemon_path import path_section
from tests.bench.daemon_sockets import sockets_section
from tests.bench.measuring import Section

SECTIONS = ("path", "sockets", "latency", "soak")
_DEFAULT = "path,sockets,latency"
_ALL_FRAMES, _QUICK_FRAMES = 93_000, 10_000


def sections(chosen: argparse.Namespace) -> list[Section]:
    """The sections asked for, one after the other."""
    found = []
    for name in chosen.only.split(","):
        match name:
            case "path":
                frames = _QUICK_FRAMES if chosen.quick else _ALL_FRAMES
                found.append(path_section(most=chosen.messages or frames, repeats=1 if chosen.quick else 3))
            case "sockets":
                seconds = 8.0 if chosen.quick else 20.0
                frames = _QUICK_FRAMES if chosen.quick else REEL_FRAMES
                repeats = 1 if chosen.quick else 3
                found.append(sockets_section(rate=chosen.rate, seconds=seconds, frames=frames, repeats=repeats))
            case "latency":
                seconds = chosen.seconds or (5.0 if chosen.quick else 60.0)
                frames = _QUICK_FRAMES if chosen.quick else REEL_FRAMES
                warm_seconds = 2.0 if chosen.quick else 10.0
                found.append(
                    latency_section(rate=chosen.rate, seconds=seconds, frames=frames, warm_seconds=warm_seconds)
                )
            case "soak":
                seconds = chosen.seconds or (20.0 if chosen.quick else 600.0)
                found.append(soak_section(rate=chosen.rate, seconds=seconds, frames=REEL_FRAMES))
            case _:
                raise SystemExit(f"--only takes {', '.join(SECTIONS)}")
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.daemon", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=_DEFAULT, help=f"of {', '.join(SECTIONS)} [{_DEFAULT}]")
    parser.add_argument("--quick", action="store_true", help="fewer messages, fewer seconds")
    parser.add_argument("--rate", type=int, default=5_000, help="messages a second [5000]")
    parser.add_argument("--seconds", type=float, default=0.0, help="of latency (60) and soak (600)")
    parser.add_argument("--messages", type=int, default=0, help="of the path [all of the capture]")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    chosen = parser.parse_args()
    found = sections(chosen)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    if chosen.json:
        figures = {section.name: section.figures for section in found}
        print(json.dumps({"machine": machine, "quick": chosen.quick} | figures))  # noqa: T201
        return
    for section in found:
        print(section.text(), end="\n\n")  # noqa: T201
    print(f"{machine['cores']} cores, load {machine['load']:.1f} at the end, Python {machine['python']}")  # noqa: T201


if __name__ == "__main__":
    main()

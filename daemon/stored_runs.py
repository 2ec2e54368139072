"""What people are told of a stored run: its facts and sums with decimals in place of the store's integers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapters.store import PositionRow, RunRow, StoredInstrument, StoreReader
from adapters.store.listing import ListedRun
from adapters.store.totals import RunTotals, totals_of
from adapters.tape.times import time_text
from daemon.stored_figures import figures_of_stored, scales_of
from engine.figures.metrics import JsonGroups, as_json
from engine.figures.money import from_units
from engine.reading import Scale

_LAST_COUNT = 10
_TOTALS_MONEY = ("fees", "realised", "funding")
_FILLS_MONEY = ("fees",)
_TRADES_MONEY = ("pnl", "fees", "funding")
_EQUITY_MONEY = ("equity", "exposure", "margin", "equity_least", "equity_most", "drawdown_most")
_RISK_MONEY = ("equity", "reference")


class RunView(msgspec.Struct, frozen=True):
    """A stored run as `runs show` tells it: money and sizes are exact decimals as text, times ISO beside ns.

    `figures` are those of metrics.json, of the samples that are stored. `positions` are the last ones, flat ones
    included; `risks` and `errors` the last ten, all are counted in `totals`.
    """

    store: str
    run: dict[str, Any]
    strategies: list[dict[str, Any]]
    instruments: list[StoredInstrument]
    totals: dict[str, Any]
    figures: JsonGroups
    positions: list[dict[str, Any]]
    risks: list[dict[str, Any]]
    errors: list[dict[str, Any]]


def view_of(path: Path, target: str) -> RunView:
    """The run of a name, the beginning of one, or a run id; raises InputMissingError where there is none."""
    with StoreReader(path) as reader, reader.at_one_moment():
        run = reader.find(target)
        instruments = reader.instruments(run.run_id)
        scales = scales_of(reader, run)
        return RunView(
            store=str(path),
            run=described(run),
            strategies=[msgspec.to_builtins(each) for each in reader.strategies(run.run_id)],
            instruments=instruments,
            totals=_totals(totals_of(reader, run.run_id), run.cash_decimals),
            figures=as_json(figures_of_stored(reader, run)),
            positions=[_position(each, scales[each.symbol]) for each in reader.positions(run.run_id)],
            risks=[
                _timed(_plain(each, _RISK_MONEY, run.cash_decimals)) for each in reader.risks(run.run_id)[-_LAST_COUNT:]
            ],
            errors=[_timed(_plain(each, (), 0)) for each in reader.errors(run.run_id)[-_LAST_COUNT:]],
        )  # fmt: skip


def described(run: RunRow) -> dict[str, Any]:
    """The facts of a run: cash as a decimal, times as text too, parameters and config as they are."""
    return _plain(run, ("initial_cash",), run.cash_decimals) | {
        "start": time_text(run.start_ns),
        "end": None if run.end_ns is None else time_text(run.end_ns),
        "params": msgspec.json.decode(run.params),
        "config": msgspec.json.decode(run.config),
    }


def summarized(each: ListedRun) -> dict[str, Any]:
    """A run as `runs list` tells it: its facts, its trades, its last equity and what that is above its start."""
    run, equity = each.run, each.equity
    earned = None if equity is None or not run.initial_cash else (equity - run.initial_cash) / run.initial_cash
    return described(run) | {
        "trades": each.trades,
        "equity": None if equity is None else f"{from_units(equity, run.cash_decimals):f}",
        "total_return": earned,
    }


def _totals(totals: RunTotals, cash_decimals: int) -> dict[str, Any]:
    equity = totals.equity
    return _plain(totals, _TOTALS_MONEY, cash_decimals) | {
        "fills": [_plain(each, _FILLS_MONEY, cash_decimals) for each in totals.fills],
        "trades": [_plain(each, _TRADES_MONEY, cash_decimals) for each in totals.trades],
        "equity": None if equity is None else _timed(_plain(equity, _EQUITY_MONEY, cash_decimals)),
    }


def _position(row: PositionRow, scale: Scale) -> dict[str, Any]:
    price = scale.average_price(abs(row.cost), abs(row.lots)) if row.lots else None
    found = _timed(_plain(row, ("cost",), scale.cash_decimals))
    return found | {"size": f"{scale.size(row.lots):f}", "entry_price": price}


def _plain(row: msgspec.Struct, money: tuple[str, ...], cash_decimals: int) -> dict[str, Any]:
    """A row by its columns, with these of them as decimals."""
    found: dict[str, Any] = msgspec.to_builtins(row)
    return found | {name: f"{from_units(found[name], cash_decimals):f}" for name in money}


def _timed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "time": time_text(row["ts_ns"])}

"""`tapewright inspect`: the books of a tape at a moment, and what a run's strategies held and knew then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from daemon.inspecting import MarketState, StrategyState, TapeState

Level = tuple[float | None, float | None]
_NO_LEVEL: Level = (None, None)


def inspect(
    context: typer.Context,
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="Folder of a tape.")],
    *,
    at: Annotated[str, typer.Option(metavar="TIME", help="Receive time: ISO (UTC) or ns.")],
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="CONFIG", help="Show its strategies too, run from the start.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Show a stored run's strategies: its folder or run id.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="With --config: a value in place of its.")
    ] = None,
    depth: Annotated[int, typer.Option(help="Levels of each side.", min=0, max=10_000)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Show a tape's state after all records received up to a moment."""
    import msgspec

    from adapters.tape.times import parse_time

    if config_file is not None and run is not None:
        raise UsageError("--config and --run are given together", remedy="Give one of them.")
    if settings and config_file is None:
        raise UsageError("--set is given without --config", remedy="Give a config, or leave --set out.")
    at_ns = parse_time(at)
    from daemon.inspecting import inspect_config, inspect_run, inspect_tape

    if config_file is not None:
        from config.loader import load

        config = load(config_file, overrides=settings or (), is_tape=True)
        found = inspect_config(context.obj.home, tape, config, at_ns, depth)
    elif run is not None:
        from daemon.commands.verify import run_folder

        found = inspect_run(tape, run_folder(context.obj.home, run) or run, at_ns, depth)
    else:
        found = inspect_tape(tape, at_ns, depth)
    if as_json:
        from engine.replay import plain_state

        typer.echo(msgspec.json.encode(found, enc_hook=plain_state).decode())
    else:
        _print(found)


def _print(found: TapeState) -> None:
    from rich.console import Console

    from adapters.tape.times import time_text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(f"{found.tape} at {time_text(found.at_ns)}: after record {found.seq:,}, {time_text(found.ts_ns)}")
    for note in found.notes:
        console.print(f"  {note}")
    for symbol, market in found.symbols.items():
        _print_market(console, symbol, market)
    for name, markets in (found.strategies or {}).items():
        for symbol, state in markets.items():
            _print_strategy(console, f"{name} on {symbol}", state)
    if found.equity is not None and found.cash is not None:
        console.print(f"\nEquity {found.equity:,.2f}, cash {found.cash:,.2f}")


def _print_market(console: Console, symbol: str, market: MarketState) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    book = f"book {market.state}" if market.state != "none" else "no book"
    age = "" if market.age_ms is None else f", update id {market.update_id}, {market.age_ms:,.3f} ms old"
    console.print(f"\n{symbol}: {book}{age}; last {_written(market.last)}, mark {_written(market.mark)}")
    if market.bid is None and market.ask is None:
        return
    bids: list[Level] = [*market.bids] or [(market.bid, market.bid_size)]
    asks: list[Level] = [*market.asks] or [(market.ask, market.ask_size)]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("bid size", "bid", "ask", "ask size"):
        table.add_column(title, justify="right")
    for number in range(max(len(bids), len(asks))):
        bid, ask = (side[number] if number < len(side) else _NO_LEVEL for side in (bids, asks))
        table.add_row(_written(bid[1]), _written(bid[0]), _written(ask[0]), _written(ask[1]))
    console.print(table)


def _print_strategy(console: Console, title: str, state: StrategyState) -> None:
    entry = "" if state.entry_price is None else f" from {_written(state.entry_price)}"
    console.print(f"\n{title}: position {_written(state.position)}{entry}, {state.bars:,} bars")
    if state.last_event is not None:
        from adapters.tape.times import time_text

        console.print(f"  last told: {state.last_event.callback}, {time_text(state.last_event.ts_ns)}")
    for order in state.orders:
        price = order.price if order.price is not None else order.stop_price
        at = "at the market" if price is None else f"at {_written(price)}"
        console.print(f"  order {order.id}: {order.type} {_written(order.size)} {at}, {order.state}")
    for name, value in state.indicators.items():
        values = value if isinstance(value, dict) else {"": value}
        console.print(f"  {name}: " + ", ".join(f"{key} {_written(each)}".strip() for key, each in values.items()))
    for key, each in state.state.items():
        console.print(f"  state {key}: {each!r}")


def _written(value: float | None) -> str:
    return "–" if value is None else f"{value:,.12g}"

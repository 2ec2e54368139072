"""`tapewright exchange`: an exchange on this machine, to try strategies, feeds and alarms against.

Nothing heavy is imported before the command runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError

if TYPE_CHECKING:
    from anyio import CancelScope

    from adapters.loopback.market import Market
    from adapters.loopback.server import ExchangeCounts, ExchangeOptions, LoopbackExchange

_CAPTURE_FUNDING_SECONDS = 28_800
_SEEDED_FUNDING_SECONDS = 60
_SPEED_LEAST = 0.01
_SYMBOLS = ("BTCUSDT", "ETHUSDT")


def exchange(
    *,
    capture: Annotated[
        Path | None, typer.Option(help="Play a raw capture of Binance USD-M, from the first websocket on.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Make up a market; another one for another number [1].")] = None,
    symbol: Annotated[
        list[str] | None, typer.Option(help="Instrument of a seeded market; may be repeated [BTCUSDT, ETHUSDT].")
    ] = None,
    speed: Annotated[float, typer.Option(help="1 as it was, 10 ten times as fast, 0 as fast as it goes.", min=0)] = 1,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="NAME@TIME[:ARGUMENT]", help="Play a fault; may be repeated.")
    ] = None,
    volatility: Annotated[float, typer.Option(help="Of a seeded market, a year (0.6 is 60 %).", min=0)] = 0.6,
    spread: Annotated[float, typer.Option(help="Of a seeded market, in ticks, about.", min=1)] = 4,
    rate: Annotated[float, typer.Option(help="Events a second of a seeded market's instrument.", min=0.1)] = 30,
    funding_seconds: Annotated[
        int | None, typer.Option(help="Seconds between settlements [60; 28800 with --capture].", min=1)
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="Give out the bars, funding and mark prices stored under this home by REST.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes any that is free.", min=0, max=65535)] = 8765,
    clock_offset: Annotated[
        float, typer.Option(metavar="SECONDS", help="What its clock is ahead of this host's: 3600, or -3600.")
    ] = 0,
    stay: Annotated[bool, typer.Option("--stay", help="Keep answering once a capture has come to its end.")] = False,
    keep_times: Annotated[bool, typer.Option("--keep-times", help="Send a capture's own times, not today's.")] = False,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and nothing else.")] = False,
) -> None:
    """Run an exchange on 127.0.0.1: Binance USD-M's REST and websocket, from a capture or made up, with faults."""
    from adapters.loopback.faults import parse_faults, table_lines

    if faults:
        _list_faults(as_json=as_json, lines=table_lines())
        return
    if capture is not None and (seed is not None or symbol):
        raise UsageError(
            "--capture is given, and so is --seed or --symbol",
            remedy="A capture is one market, a seed makes another. Leave one of them out.",
        )
    _check_numbers({"--speed": speed, "--volatility": volatility, "--spread": spread, "--rate": rate,
                    "--clock-offset": clock_offset})  # fmt: skip
    if 0 < speed < _SPEED_LEAST:
        raise UsageError(f"--speed {speed:g} is too slow", remedy=f"Give 0 (full speed), or {_SPEED_LEAST} and more.")
    import anyio

    from adapters.loopback.capture import CaptureMarket, CaptureSettings
    from adapters.loopback.history import read_history
    from adapters.loopback.seeded import SeededMarket, SeededSettings
    from adapters.loopback.server import ExchangeOptions, LoopbackExchange

    parsed = parse_faults(fault or ())
    market: Market
    if capture is not None:
        market = CaptureMarket(
            CaptureSettings(capture, funding_seconds or _CAPTURE_FUNDING_SECONDS, is_time_kept=keep_times)
        )
    else:
        names = _symbols(symbol or _SYMBOLS)
        interval = funding_seconds or _SEEDED_FUNDING_SECONDS
        market = SeededMarket(SeededSettings(market_seed(seed), names, volatility, spread, rate, interval))
    options = ExchangeOptions(
        speed, parsed, port, waits_for_client=capture is not None or speed == 0,
        clock_offset_ns=round(clock_offset * 1_000_000_000), stays=stay,
    )  # fmt: skip
    output = Output(capture.name if capture is not None else f"seed {market_seed(seed)}", as_json=as_json)
    given = read_history(history) if history is not None else None
    anyio.run(_serve, LoopbackExchange(market, options, given), options, output, list(market.boards), stay)


class Output:
    """What the command says: where the exchange is, and at the end what has happened."""

    def __init__(self, source: str, *, as_json: bool) -> None:
        self._source = source
        self._as_json = as_json

    def begin(self, running: LoopbackExchange, options: ExchangeOptions, symbols: list[str]) -> None:
        """The exchange listens."""
        rest, websocket = running.rest_address, running.websocket_address
        if self._as_json:
            self._print({"event": "listening", "exchange": "BINANCE_FUTURES", "rest": rest, "websocket": websocket,
                         "port": running.port, "symbols": symbols, "source": self._source,
                         "speed": options.speed, "faults": len(options.faults)})  # fmt: skip
            return
        speed = f"speed {options.speed:g}" if options.speed else "full speed"
        typer.echo(f"Exchange of {', '.join(symbols)} ({self._source}, {speed}, {len(options.faults)} faults to come)")
        if options.waits_for_client:
            typer.echo("  It begins with the first websocket.")
        typer.echo("Put these addresses where the config of a feed has BINANCE_FUTURES:")
        typer.echo(f"  rest: {rest}")
        typer.echo(f"  websocket: {websocket}")
        typer.echo("Stop it with Ctrl-C.")

    def end(self, counts: ExchangeCounts, reason: str) -> None:
        """The exchange has stopped."""
        import msgspec

        if self._as_json:
            self._print({"event": "stopped", "reason": reason} | msgspec.to_builtins(counts))
            return
        typer.echo(
            f"Stopped ({reason}): {counts.messages:,} messages to {counts.connections:,} connections,"
            f" {counts.requests:,} requests answered, {counts.refused_requests:,} refused, {counts.faults:,} faults"
        )

    def _print(self, content: dict[str, object]) -> None:
        import msgspec

        typer.echo(msgspec.json.encode(content).decode())


def _check_numbers(numbers: dict[str, float]) -> None:
    """Raise UsageError where one is no number, or endless."""
    for option, number in numbers.items():
        if not math.isfinite(number):
            raise UsageError(f"{option} {number} makes no market", remedy="Give a number.")


def _symbols(names: Sequence[str]) -> tuple[str, ...]:
    """The instruments, each once; raises UsageError for one that no USD-M future is called."""
    found = tuple(dict.fromkeys(name.upper() for name in names))
    for name in found:
        if not re.fullmatch("[A-Z0-9]{1,16}USD[TC]", name):
            raise UsageError(f"--symbol {name} is no USD-M future", remedy="Its name ends with USDT or USDC.")
    return found


def market_seed(seed: int | None) -> int:
    """The seed that is taken where none was given."""
    return 1 if seed is None else seed


async def _serve(
    exchange_: LoopbackExchange,
    options: ExchangeOptions,
    output: Output,
    symbols: list[str],
    stay: bool,  # noqa: FBT001 - anyio.run passes by place
) -> None:
    """Run until a signal comes, or the market has come to its end."""
    import anyio

    reasons: list[str] = []
    async with exchange_.running() as running:
        output.begin(running, options, symbols)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_await_signal, tasks.cancel_scope, reasons)
            await running.ended.wait()
            if stay:
                await anyio.sleep_forever()
            reasons.append("the capture has come to its end")
            tasks.cancel_scope.cancel()
    output.end(exchange_.counts(), reasons[0])


async def _await_signal(scope: CancelScope, reasons: list[str]) -> None:
    import signal

    import anyio

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            reasons.append(number.name)
            scope.cancel()
            return


def _list_faults(lines: list[str], *, as_json: bool) -> None:
    import msgspec

    from adapters.loopback.faults import TABLE

    if as_json:
        rows = [
            {"name": info.kind.value, "argument": info.argument(), "default": info.defaults(), "text": info.text}
            for info in TABLE
        ]
        typer.echo(msgspec.json.encode(rows).decode())
        return
    typer.echo("\n".join(lines))

"""Commands from outside: checked against what runs, then a record of the tape, carried out like all others."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, assert_never

import msgspec

from adapters.tape.documents import REPLACEMENT
from config.model import RunConfig
from daemon.control import model
from daemon.control.stream import Broadcast, StreamKind
from daemon.driving import Loader, built, digest_of, replacement_of
from daemon.logs import get_logger
from daemon.session.loop import RunLoop
from daemon.session.recorder import Recorder
from daemon.session.sequencer import Sequencer
from engine.commands import EVERY, Command, Flatten, Halt, Replace, Resume, StartStrategy, StopStrategy, words_of
from engine.errors import ConfigError, InputMissingError, TapewrightError, UsageError
from engine.replay import StrategyRun
from engine.strategy import Strategy, resolve_params
from engine.tape_replay import TapeReplay
from strategies.registry import SHIPPED, Registry


class Commander:
    """Turns commands into records, and waits until the engine has applied them."""

    def __init__(
        self, home: Path, config: RunConfig, replay: TapeReplay, loader: Loader, sequencer: Sequencer,
        recorder: Recorder, loop: RunLoop, broadcast: Broadcast, shut_down: Callable[[], None],
        files: list[frozenset[Path]],
    ) -> None:  # fmt: skip
        self.files = files  # of each strategy, as the home folder has them
        self.halt_reason = ""  # of the last halt that this process was told
        self.kinds: Counter[str] = Counter()
        self.reloads: Counter[str] = Counter()
        self._home = home
        self._config = config
        self._replay = replay
        self._loader = loader
        self._sequencer = sequencer
        self._recorder = recorder
        self._loop = loop
        self._broadcast = broadcast
        self._shut_down = shut_down
        self._log = get_logger("control")

    async def carry_out(self, command: model.Command) -> model.CommandResult:
        """Apply a command; returns when the engine has."""
        self.kinds[type(command).__struct_config__.tag] += 1  # type: ignore[index]
        if isinstance(command, model.Shutdown):
            self._shut_down()
            return model.CommandResult(self._loop.applied_seq, "The session drains and stops.")
        made, text = self._engine_commands(command)
        seq = await self._put(made) if made else 0
        if isinstance(command, model.Halt):
            self.halt_reason = command.reason
        self._log.info("command", command=type(command).__struct_config__.tag, text=text, seq=seq)
        self._broadcast.publish(StreamKind.COMMAND, "", {"text": text, "seq": seq})
        return model.CommandResult(seq or self._loop.applied_seq, text)

    async def _put(self, commands: Sequence[Command]) -> int:
        """Apply commands at once, so that nobody else's comes between what was checked and what is done."""
        for command in commands:
            if isinstance(command, Replace):
                replacement = replacement_of(command.strategy, command.run)
                self._loader.ready[digest_of(replacement)] = command.run
                self._sequencer.document(REPLACEMENT, replacement)
            self._sequencer.command(words_of(command))
        self._loop.step()
        seq = self._recorder.last_seq
        await self._recorder.acknowledged(seq)
        return seq

    def _engine_commands(self, command: model.Command) -> tuple[list[Command], str]:
        match command:
            case model.StartStrategy():
                index = self._index(command.strategy)
                if self._replay.fates[index] == "running":
                    return [], f"{command.strategy} runs already."
                return [StartStrategy(index)], f"{command.strategy} runs."
            case model.StopStrategy():
                index = self._index(command.strategy)
                if self._replay.fates[index] != "running":
                    return [], f"{command.strategy} does not run: {self._replay.fates[index]}."
                return [StopStrategy(index)], f"{command.strategy} is stopped, its orders are cancelled."
            case model.SetParams():
                return self._set_params(command)
            case model.Flatten():
                return self._flatten(command)
            case model.Halt():
                return [Halt()], f"Halted ({command.reason or 'no reason given'}): orders are cancelled, nothing opens."
            case model.Resume():
                return [Resume()], "Trading goes on."
            case model.Reload():
                return self._reload(command.strategy)
            case model.Shutdown():
                return [], ""
            case _:
                assert_never(command)

    def _flatten(self, command: model.Flatten) -> tuple[list[Command], str]:
        strategy = self._index(command.strategy) if command.strategy else EVERY
        symbols = [scale.instrument.symbol for scale in self._replay.scales]
        market = EVERY
        if command.symbol:
            if command.symbol not in symbols:
                raise UsageError(
                    f"The session has no {command.symbol}", remedy=f"It has {', '.join(symbols)}."
                )  # fmt: skip
            market = symbols.index(command.symbol)
        whose, what = command.strategy or "every strategy", command.symbol or "every symbol"
        return [Flatten(strategy, market)], f"Positions of {whose} in {what} are being closed at the market."

    def _set_params(self, command: model.SetParams) -> tuple[list[Command], str]:
        index = self._index(command.strategy)
        before = self._replay.runs[index]
        try:
            params = resolve_params(before.strategy.schema, {**before.params, **command.params})
        except ConfigError as error:
            raise UsageError(
                error.message, remedy="Nothing was changed. What it has now: tapewright ctl strategies"
            ) from None
        if params == before.params:
            return [], f"{command.strategy} has these parameters already."
        run = msgspec.structs.replace(before, params=params)
        changed = ", ".join(f"{name}={params[name]}" for name in params if params[name] != before.params.get(name))
        return [Replace(index, run)], f"{command.strategy} goes on with {changed}."

    def _reload(self, name: str) -> tuple[list[Command], str]:
        wanted = [self._index(name)] if name else range(len(self._replay.runs))
        made: list[Command] = []
        for index in wanted:
            run = self.read_again(index)
            if run is not None:
                made.append(Replace(index, run))
        names = ", ".join(self._replay.runs[each.strategy].name for each in made if isinstance(each, Replace))
        return made, f"New code runs: {names}." if made else "Nothing has changed."

    def read_again(self, index: int) -> StrategyRun | None:
        """A strategy as its files are now, with the same parameters; None where they are what runs.

        Raises StrategyError, ConfigError or InputMissingError where it does not load; the old one runs on.
        """
        before = self._replay.runs[index]
        try:
            strategy, params = self._built(index, before.params)
            self._refuse_stand_in(index, strategy)
        except TapewrightError:
            self.reloads["refused"] += 1
            raise
        if strategy.source_hash == before.strategy.source_hash:
            return None
        self.reloads["loaded"] += 1
        return msgspec.structs.replace(before, strategy=strategy, params=params)

    def _built(self, index: int, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """A strategy with the parameters that it still knows; those that are new have their defaults."""
        registry = Registry(self._home)
        try:
            return built(registry, self._config, index, params)
        except ConfigError:
            entry = self._config.strategies[index]
            if entry.entry is not None:
                raise
            known = {spec.name for spec in registry.load(entry.name).schema.inputs}
            return built(registry, self._config, index, {name: params[name] for name in params if name in known})

    def _refuse_stand_in(self, index: int, strategy: Strategy) -> None:
        """Raise InputMissingError where a file of the user's is gone, and a shipped one of the same name was found."""
        found = {Path(file.path).resolve() for file in strategy.files}
        gone = sorted(path for path in self.files[index] - found if not path.is_file())
        fresh = found - self.files[index]
        if gone and any(path.is_relative_to(SHIPPED) and path.parent.name != "custom" for path in fresh):
            raise InputMissingError(
                f"{gone[0]} is gone, and there is a shipped strategy of that name",
                remedy="Put the file back. To go on with the shipped one, start the session again.",
            )

    def _index(self, name: str) -> int:
        names = [run.name for run in self._replay.runs]
        if name in names:
            return names.index(name)
        near = difflib.get_close_matches(name, names, n=1)
        raise UsageError(
            f"The session has no strategy {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            remedy=f"It has {', '.join(names)}. See: tapewright ctl strategies",
        )

    async def reload_changed(self, changed: frozenset[Path]) -> None:
        """Files have other content: let each strategy that they belong to go on with it, where it loads."""
        for index, run in enumerate(self._replay.runs):
            if not self.files[index] & {path.resolve() for path in changed}:
                continue
            try:
                fresh = self.read_again(index)
            except TapewrightError as error:
                self._log.error("reload refused: the old code runs on", strategy=run.name, why=str(error))
                continue
            if fresh is not None:
                seq = await self._put([Replace(index, fresh)])
                self._log.info("reloaded", strategy=run.name, source=fresh.strategy.source_hash[:16], seq=seq)

"""Hot reload's eyes: files edited the way editors do it, on a real disk, with watchfiles and real threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import anyio
import pytest

from daemon.watching import watch_files

DEBOUNCE_MS = 300
# Longer than debounce and the look of each second together: whoever waits so long and got nothing gets nothing.
NOTHING_SECONDS = 1.5


class Told:
    """What the watch told, in order."""

    def __init__(self) -> None:
        self.changes: list[frozenset[Path]] = []
        self._send, self._receive = anyio.create_memory_object_stream[frozenset[Path]](100)

    async def take(self, files: frozenset[Path]) -> None:
        """Be told."""
        self.changes.append(files)
        await self._send.send(files)

    async def next(self) -> frozenset[Path]:
        """The next change, waited for."""
        with anyio.fail_after(15):
            return await self._receive.receive()

    def close(self) -> None:
        """Close both ends."""
        self._send.close()
        self._receive.close()


@contextlib.asynccontextmanager
async def watching(paths: Callable[[], Collection[Path]]) -> AsyncIterator[Told]:
    told = Told()
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await watch_files(paths, debounce_ms=DEBOUNCE_MS, changed=told.take)

        tasks.start_soon(watch)
        # The first look and the watch are there, so that what follows is a change.
        await anyio.sleep(0.4)
        yield told
        tasks.cancel_scope.cancel()
    told.close()


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def replace_atomically(path: Path, text: str) -> None:
    """As vim, VS Code and git do it: another file takes the name."""
    write(path.with_name(f".{path.name}.swp"), text).replace(path)


@pytest.mark.asyncio
async def test_a_file_written_in_place_is_told_once(tmp_path: Path) -> None:
    strategy = write(tmp_path / "strategy.py", "a = 1\n")
    async with watching(lambda: [strategy]) as told:
        with strategy.open("w", encoding="utf-8") as file:
            for number in range(6):
                file.write(f"a = {number}\n")
                file.flush()
                await anyio.sleep(DEBOUNCE_MS / 3000)
        assert await told.next() == {strategy}
        await anyio.sleep(NOTHING_SECONDS)
        assert told.changes == [{strategy}]


@pytest.mark.asyncio
async def test_a_file_renamed_over_it_is_told_each_time(tmp_path: Path) -> None:
    strategy = write(tmp_path / "strategy.py", "a = 1\n")
    async with watching(lambda: [strategy]) as told:
        for number in (2, 3, 4):
            replace_atomically(strategy, f"a = {number}\n")
            assert await told.next() == {strategy}
            assert strategy.read_text(encoding="utf-8") == f"a = {number}\n"


@pytest.mark.asyncio
async def test_a_file_that_is_deleted_is_told_and_so_is_its_return(tmp_path: Path) -> None:
    strategy = write(tmp_path / "strategy.py", "a = 1\n")
    async with watching(lambda: [strategy]) as told:
        strategy.unlink()
        assert await told.next() == {strategy}
        assert not strategy.exists()
        write(strategy, "a = 1\n")
        assert await told.next() == {strategy}


@pytest.mark.asyncio
async def test_a_touch_an_edit_taken_back_and_a_neighbour_are_no_change(tmp_path: Path) -> None:
    strategy = write(tmp_path / "strategy.py", "a = 1\n")
    async with watching(lambda: [strategy]) as told:
        strategy.touch()
        write(strategy, "a = 2\n")
        replace_atomically(strategy, "a = 1\n")
        write(tmp_path / "neighbour.py", "b = 1\n")
        await anyio.sleep(NOTHING_SECONDS)
        assert told.changes == []
        # The watch is awake all the same.
        write(strategy, "a = 3\n")
        assert await told.next() == {strategy}


@pytest.mark.asyncio
async def test_files_of_several_folders_changed_together_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    files = [write(tmp_path / "one" / "a.py", "a"), write(tmp_path / "two" / "b.py", "b"), tmp_path / "two" / "same.py"]
    write(files[2], "same")
    async with watching(lambda: files) as told:
        write(files[0], "a2")
        replace_atomically(files[1], "b2")
        assert await told.next() == set(files[:2])


@pytest.mark.asyncio
async def test_a_folder_that_comes_later_goes_and_comes_again(tmp_path: Path) -> None:
    strategy = tmp_path / "strategies" / "custom" / "strategy.py"
    async with watching(lambda: [strategy]) as told:
        for text in ("a = 1\n", "a = 2\n"):
            strategy.parent.mkdir(parents=True)
            write(strategy, text)
            assert await told.next() == {strategy}
            replace_atomically(strategy, text + "b = 1\n")
            assert await told.next() == {strategy}
            strategy.unlink()
            strategy.parent.rmdir()
            assert await told.next() == {strategy}


@pytest.mark.asyncio
async def test_a_file_named_later_is_watched_from_then_on(tmp_path: Path) -> None:
    named = [write(tmp_path / "strategy.py", "a = 1\n")]
    late = write(tmp_path / "late.py", "b = 1\n")
    async with watching(lambda: list(named)) as told:
        named.append(late)
        await anyio.sleep(NOTHING_SECONDS)
        assert told.changes == []
        write(late, "b = 2\n")
        assert await told.next() == {late}


@pytest.mark.asyncio
async def test_a_link_whose_target_changes_elsewhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    target = write(tmp_path / "target.py", "a = 1\n")
    link = tmp_path / "here" / "strategy.py"
    link.symlink_to(target)
    async with watching(lambda: [link]) as told:
        write(target, "a = 2\n")
        assert await told.next() == {link}


@pytest.mark.asyncio
async def test_what_happens_while_a_change_is_handled_is_told_afterwards(tmp_path: Path) -> None:
    strategy = write(tmp_path / "strategy.py", "a = 1\n")
    seen: list[str] = []
    is_over = anyio.Event()

    async def slowly(files: frozenset[Path]) -> None:
        seen.append(strategy.read_text(encoding="utf-8"))
        if len(seen) == 1:
            write(strategy, "a = 3\n")
            await anyio.sleep(0.5)
        else:
            is_over.set()

    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await watch_files(lambda: [strategy], debounce_ms=DEBOUNCE_MS, changed=slowly)

        tasks.start_soon(watch)
        await anyio.sleep(0.4)
        write(strategy, "a = 2\n")
        with anyio.fail_after(15):
            await is_over.wait()
        tasks.cancel_scope.cancel()
    assert seen == ["a = 2\n", "a = 3\n"]


def test_a_cancelled_watch_leaves_no_thread_behind(tmp_path: Path) -> None:
    strategy = write(tmp_path / "strategy.py", "a = 1\n")

    async def watch_for_a_moment() -> int:
        async with watching(lambda: [strategy]):
            return system_threads()

    before, pythons = system_threads(), threading.active_count()
    ours = asyncio.run(watch_for_a_moment()) - before
    assert ours
    # The event loop's end tells its idle workers to go, and does not wait for them.
    until = time.monotonic() + 5
    # Fewer of Python's are none of ours: threads of before may end meanwhile.
    while ours & system_threads() or threading.active_count() > pythons:
        assert time.monotonic() < until
        time.sleep(0.02)


def system_threads() -> set[str]:
    """Threads as the system numbers them: watchfiles' own are not Python's."""
    return {task.name for task in Path("/proc/self/task").iterdir()}


@pytest.mark.asyncio
async def test_what_the_callback_raises_ends_the_watch(tmp_path: Path) -> None:
    strategy = write(tmp_path / "strategy.py", "a = 1\n")

    async def fail(files: frozenset[Path]) -> None:
        raise LookupError(str(files))

    async def edit() -> None:
        await anyio.sleep(0.4)
        write(strategy, "a = 2\n")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(edit)
        with anyio.fail_after(15), pytest.raises(ExceptionGroup) as raised:
            await watch_files(lambda: [strategy], debounce_ms=DEBOUNCE_MS, changed=fail)
    assert raised.group_contains(LookupError, depth=1)


@pytest.mark.asyncio
async def test_without_system_watches_the_look_of_each_second_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # watchfiles' own switch: it looks so seldom that only ours finds the change in time.
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "1")
    monkeypatch.setenv("WATCHFILES_POLL_DELAY_MS", "600000")
    strategy = write(tmp_path / "strategy.py", "a = 1\n")
    async with watching(lambda: [strategy]) as told:
        write(strategy, "a = 2\n")
        assert await told.next() == {strategy}

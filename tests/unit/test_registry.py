"""Finding strategies by path, and what is said of files that break the contract."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import ConfigError, InputMissingError, StrategyError
from engine.settings import Sizing
from engine.strategy import source_digest
from strategies.loading import load_strategy
from strategies.parts import load_part
from strategies.registry import SHIPPED, Registry

SHIPPED_STRATEGIES = {
    "bollinger_reversion", "buy_and_hold", "donchian_breakout", "ema_cross", "ema_cross_signals", "macd_cross",
    "rsi_reversion", "grid", "grid_compiled", "market_maker", "market_maker_compiled", "book_imbalance",
    "book_imbalance_compiled",
}  # fmt: skip
SCHEMA = 'def schema():\n    return {"id": "idea", "name": "Idea", "inputs": {}}\n'
ON_BAR = "def on_bar(ctx, i):\n    pass\n"
ENTRY = "class Entry:\n    def should_enter(self, window):\n        return False\n"
EXIT = "class Exit:\n    def should_exit(self, window, entry_price):\n        return False\n"


def write(home: Path, name: str, text: str | bytes) -> Path:
    path = home / "strategies" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def strategy_text(own_id: str) -> str:
    return SCHEMA.replace('"idea"', f'"{own_id}"') + ON_BAR


def test_shipped_ones_are_found_without_a_home_folder(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert {each.name for each in registry.listing() if each.kind == "strategy"} == SHIPPED_STRATEGIES
    assert {(each.kind, each.name) for each in registry.listing() if each.kind != "strategy"} == {
        ("entry", "ema_cross"),
        ("exit", "fixed_tp_sl"),
    }
    for name in SHIPPED_STRATEGIES:
        strategy = registry.load(name)
        assert strategy.schema.id == name
        assert strategy.source_hash == source_digest(Path(strategy.path).read_bytes())


def test_a_home_folder_at_the_shipped_files_lists_each_once() -> None:
    listed = [each for each in Registry(SHIPPED.parent).listing() if each.is_shipped]
    assert len({each.path.resolve() for each in listed}) == len(listed)
    assert not any(each.hidden_by for each in listed)


def test_a_strategy_is_found_by_file_name_and_by_id(tmp_path: Path) -> None:
    path = write(tmp_path, "custom/my_file.py", strategy_text("my_id"))
    for name in ("my_file", "my_id"):
        assert Registry(tmp_path).load(name).path == str(path)


def test_the_users_own_comes_first_and_the_list_says_so(tmp_path: Path) -> None:
    custom = write(tmp_path, "custom/mine.py", strategy_text("ema_cross"))
    write(tmp_path, "builtins/ema_cross.py", strategy_text("ema_cross"))
    registry = Registry(tmp_path)
    assert registry.load("ema_cross").path == str(custom)
    hidden = [(each.file, each.hidden_by) for each in registry.listing() if each.hidden_by and each.kind == "strategy"]
    assert hidden == [
        ("strategies/builtins/ema_cross.py", "strategies/custom/mine.py"),
        ("strategies/builtins/ema_cross.py", "strategies/custom/mine.py"),
    ]


def test_files_that_start_with_an_underscore_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "custom/_tools.py", "raise RuntimeError")
    assert not any(each.path.name == "_tools.py" for each in Registry(tmp_path).listing())
    with pytest.raises(InputMissingError):
        Registry(tmp_path).load("_tools")


def test_a_broken_file_is_listed_with_its_reason_and_stops_no_other(tmp_path: Path) -> None:
    write(tmp_path, "custom/a_broken.py", "import nothing_of_this_name\n")
    write(tmp_path, "custom/b_sound.py", strategy_text("sound"))
    listed = {each.name: each for each in Registry(tmp_path).listing() if not each.is_shipped}
    assert "ModuleNotFoundError" in listed["a_broken"].error
    assert listed["a_broken"].schema is None
    assert listed["sound"].error == ""
    assert Registry(tmp_path).load("sound").schema.id == "sound"


def test_other_files_are_not_run_when_one_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, "custom/loud.py", "raise SystemExit('loud')\n")
    assert Registry(tmp_path).load("ema_cross").schema.id == "ema_cross"


BROKEN_ENDS = {
    "syntax": "x = (\n",
    "import": "import nothing_of_this_name\n",
    "rule": "async def on_bar(ctx, i):\n    pass\n",
}


@pytest.mark.parametrize("file", ["custom/ema_cross.py", "custom/mine.py", "builtins/ema_cross.py", "builtins/mine.py"])
@pytest.mark.parametrize("end", BROKEN_ENDS)
def test_a_broken_file_does_not_leave_its_place_to_a_shipped_strategy(tmp_path: Path, file: str, end: str) -> None:
    path = write(tmp_path, file, strategy_text("ema_cross") + BROKEN_ENDS[end])
    with pytest.raises(StrategyError) as caught:
        Registry(tmp_path).load("ema_cross")
    assert caught.value.message.startswith(str(path))
    assert len(caught.value.message) > len(str(path)) + 20  # and the reason
    assert caught.value.remedy == (
        "Correct the file, or give it another name and id if the shipped ema_cross is to run,"
        " and run: tapewright strategies check"
    )


def test_a_broken_file_that_only_speaks_of_a_strategy_is_not_taken_for_it(tmp_path: Path) -> None:
    write(tmp_path, "custom/mine.py", "# better than ema_cross\n" + strategy_text("mine") + "x = (\n")
    assert Registry(tmp_path).load("ema_cross").path == str(SHIPPED / "builtins" / "ema_cross.py")


def test_a_link_to_nowhere_does_not_leave_its_place_to_a_shipped_strategy(tmp_path: Path) -> None:
    path = write(tmp_path, "custom/mine.py", strategy_text("mine")).with_name("ema_cross.py")
    path.symlink_to(tmp_path / "gone.py")
    registry = Registry(tmp_path)
    with pytest.raises(InputMissingError, match=f"not found: {path}") as caught:
        registry.load("ema_cross")
    assert "the shipped ema_cross" in caught.value.remedy
    assert registry.load("grid").path == str(SHIPPED / "builtins" / "grid.py")
    assert [each.error for each in registry.listing() if each.path == path] == [f"Strategy file not found: {path}"]


def test_a_file_that_lies_a_folder_too_high_does_not_leave_its_place_to_a_shipped_strategy(tmp_path: Path) -> None:
    path = write(tmp_path, "ema_cross.py", strategy_text("ema_cross"))
    with pytest.raises(StrategyError, match=rf"{path} lies where no strategy is looked for") as caught:
        Registry(tmp_path).load("ema_cross")
    assert str(tmp_path / "strategies" / "custom") in caught.value.remedy
    write(tmp_path, "custom/ema_cross.py", strategy_text("ema_cross"))
    assert Registry(tmp_path).load("ema_cross").path == str(tmp_path / "strategies" / "custom" / "ema_cross.py")


def test_a_folder_that_cannot_be_read_does_not_leave_its_place_to_shipped_strategies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    custom = write(tmp_path, "custom/ema_cross.py", strategy_text("ema_cross")).parent
    read = Path.iterdir

    def denied(path: Path) -> Iterator[Path]:  # tests may run as root, who may read everything
        if path == custom:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(StrategyError, match=rf"{custom} cannot be read: Permission denied"):
        Registry(tmp_path).load("ema_cross")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "emma_cross",
            'Strategy not found: "emma_cross". Did you mean "ema_cross"?\n  Create strategies/custom/emma_cross.py',
        ),
        ("fixed_tp_sl", 'Strategy not found: "fixed_tp_sl". There is an exit of that name.'),
        ("../../etc/x", 'Strategy not found: "../../etc/x".\n  Create strategies/custom/______etc_x.py'),
    ],
)
def test_an_unknown_strategy_names_the_nearest_and_the_remedy(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputMissingError) as caught:
        Registry(tmp_path).load(name)
    assert str(caught.value).startswith(said)
    assert caught.value.exit_code == 66


def test_an_unknown_entry_or_exit_names_the_nearest_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError) as caught:
        Registry(tmp_path).load_entry("ema_cros")
    assert str(caught.value) == (
        'Entry strategy not found: "ema_cros". Did you mean "ema_cross"?\n  Create strategies/entry/ema_cros.py'
    )
    with pytest.raises(InputMissingError, match=r"Create strategies/exit/trailing\.py"):
        Registry(tmp_path).load_exit("trailing")


def test_a_file_leaves_no_module_behind_and_no_bytecode(tmp_path: Path) -> None:
    before = set(sys.modules)
    path = write(tmp_path, "custom/json.py", strategy_text("json"))
    load_strategy(path)
    assert set(sys.modules) == before
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_file_changed_within_the_same_second_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "custom/a.py", strategy_text("one"))
    first = load_strategy(path)
    write(tmp_path, "custom/a.py", strategy_text("two"))
    second = load_strategy(path)
    assert (first.schema.id, second.schema.id) == ("one", "two")
    assert first.source_hash != second.source_hash


def test_dataclasses_work_in_a_strategy_file(tmp_path: Path) -> None:
    lines = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    b: int = 1\n"
    )
    assert load_strategy(write(tmp_path, "custom/a.py", lines + SCHEMA + ON_BAR)).schema.id == "idea"


# The file, and all that is said of it.
BROKEN: list[tuple[str, str | bytes, list[str]]] = [
    ("syntax", SCHEMA + "def on_bar(ctx, i)\n    pass\n", ["a.py:3: ", "def on_bar(ctx, i)"]),
    ("null byte", b"x = 1\0\n", ["a.py", "null bytes"]),
    ("encoding", b"x = '\xff'\n", ["a.py", "utf-8"]),
    ("another encoding", "# coding: latin-1\n# caf\xe9\n".encode("latin-1") + SCHEMA.encode(), ["a.py", "utf-8"]),
    ("nested", "x = " + "-" * 200_000 + "1\n", ["a.py: "]),
    ("import", SCHEMA + ON_BAR + "import nothing_at_all\n", ["a.py:5: while it was loaded: ModuleNotFoundError"]),
    ("raises", "x = 1\ny = 1 / 0\n", ["a.py:2: while it was loaded: ZeroDivisionError", "y = 1 / 0"]),
    ("exits", "import sys\nsys.exit(3)\n", ["a.py:2: while it was loaded: SystemExit: 3"]),
    ("empty", "", ["no schema()", "none of on_bar(ctx, i), signals(ctx), on_book(ctx)"]),
    ("no rule", SCHEMA, ["none of on_bar(ctx, i), signals(ctx), on_book(ctx)"]),
    ("schema is data", 'schema = {"id": "x"}\n' + ON_BAR, ["schema is {'id': 'x'}, not a function"]),
    ("schema takes", "def schema(ctx):\n    return {}\n" + ON_BAR, ["it is written as schema(ctx)"]),
    ("schema raises", "def schema():\n    return {}[1]\n" + ON_BAR, ["a.py:2: schema(): KeyError: 1"]),
    ("schema is wrong", "def schema():\n    return {'id': 'x'}\n" + ON_BAR, ["schema().name: None"]),
    ("too few", SCHEMA + "def on_bar(ctx):\n    pass\n", ["it is written as on_bar(ctx); write def on_bar(ctx, i)"]),
    ("too many", SCHEMA + "def on_bar(ctx, i, j):\n    pass\n", ["it is written as on_bar(ctx, i, j)"]),
    ("async", SCHEMA + "async def on_bar(ctx, i):\n    pass\n", ["on_bar(ctx, i): is async"]),
    ("generator", SCHEMA + "def on_bar(ctx, i):\n    yield 1\n", ["on_bar(ctx, i): has a yield"]),
    (
        "plural",
        SCHEMA + "def on_bars(ctx, i):\n    pass\n",
        ["on_bars(): no such callback; did you mean on_bar(ctx, i)?"],
    ),
    ("joined", SCHEMA + "def onbar(ctx, i):\n    pass\n", ["onbar(): no such callback; did you mean on_bar(ctx, i)?"]),
    ("camel", SCHEMA + ON_BAR + "def onTrade(ctx, t):\n    pass\n", ["did you mean on_trade(ctx, trade)?"]),
    ("signal", SCHEMA + "def signal(ctx):\n    pass\n", ["signal(): no such callback; did you mean signals(ctx)?"]),
    (
        "all at once",
        "def shema():\n    return 1\ndef on_init(): ...\ndef on_finish(a, b): ...\ndef on_bras(c, i): ...\n",
        ["on_init()", "on_finish(a, b)", "shema()", "on_bras()", "no schema()", "none of on_bar"],
    ),
]


@pytest.mark.parametrize(("text", "said"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_strategy_says_everything_that_is_wrong(tmp_path: Path, text: str | bytes, said: list[str]) -> None:
    with pytest.raises(StrategyError) as caught:
        load_strategy(write(tmp_path, "custom/a.py", text))
    for part in said:
        assert part in caught.value.message
    assert "tapewright strategies check" in caught.value.remedy


@pytest.mark.parametrize("helper", ["signal", "on_cross", "only", "setup"])
def test_a_helper_is_no_typo(tmp_path: Path, helper: str) -> None:
    load_strategy(write(tmp_path, "custom/a.py", SCHEMA + ON_BAR + f"def {helper}(ctx):\n    pass\n"))


BROKEN_ENTRIES: list[tuple[str, str, str]] = [
    ("no class", "", "no class with should_enter(self, window)"),
    ("a function", "def should_enter(window):\n    pass\n", "should_enter stands outside a class"),
    ("an exit", EXIT, "Exit has none"),
    ("two", ENTRY + ENTRY.replace("Entry", "Other"), "2 classes have should_enter: Entry, Other"),
    ("parameters", ENTRY.replace("self, window", "self"), "written as should_enter(self)"),
    ("async", ENTRY.replace("def", "async def"), "Entry.should_enter is async"),
    ("inputs", ENTRY + "    inputs = {'a': {'type': 'int'}}\n", "Entry.inputs.a.default: missing"),
    ("both", ENTRY + "    inputs = {}\n" + SCHEMA, "both schema() and Entry.inputs"),
    ("keywords", ENTRY + "    inputs = {'a': {'type': 'int', 'default': 1}}\n    def __init__(self, b): ...\n",
     "Entry(b) does not take its inputs a"),
    ("raises", ENTRY + "    def __init__(self):\n        raise ValueError('no')\n", "a.py:5: Entry(): ValueError: no"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [row[1:] for row in BROKEN_ENTRIES], ids=[row[0] for row in BROKEN_ENTRIES])
def test_a_broken_entry_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StrategyError) as caught:
        load_part(write(tmp_path, "entry/a.py", text), "entry", {})
    assert said in caught.value.message


def test_inputs_may_come_from_schema_from_the_class_or_from_init(tmp_path: Path) -> None:
    init = "    def __init__(self, a, b=2.5):\n        self.a, self.b = a, b\n"
    listed = "{'a': {'type': 'int', 'default': 1}, 'b': {'type': 'float', 'default': 2.5}}"
    texts = {
        "schema": ENTRY + init + f"def schema():\n    return {{'id': 'x', 'name': 'X', 'inputs': {listed}}}\n",
        "inputs": ENTRY + f"    inputs = {listed}\n" + init,
        "init": ENTRY + init,
        "base": "class _Base:\n" + init + ENTRY.replace("Entry", "Entry(_Base)"),
    }
    for name, text in texts.items():
        write(tmp_path, f"entry/{name}.py", text)
        part = Registry(tmp_path).load_entry(name, {"a": 7})
        assert part.params == {"a": 7, "b": 2.5}, name
    with pytest.raises(StrategyError, match="parameter a has no default"):
        Registry(tmp_path).load_entry("init", {})
    with pytest.raises(ConfigError, match="unknown parameter 'c'"):
        Registry(tmp_path).load_entry("init", {"a": 1, "c": 1})


def test_build_resolves_parameters(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    _, params = registry.build("ema_cross", {"fast": 5})
    assert params == {"fast": 5, "slow": 26, "size": 1.0}
    with pytest.raises(ConfigError, match="ema_cross: parameter fast: 0 is below the minimum 1"):
        registry.build("ema_cross", {"fast": 0})
    strategy, params = registry.build_entry_exit("ema_cross", {"fast": 5}, "fixed_tp_sl", {"tp": 0.1}, Sizing())
    assert params == {"entry_fast": 5, "entry_slow": 26, "exit_tp": 0.1, "exit_sl": 0.02}
    assert strategy.schema.id == "ema_cross_fixed_tp_sl"
    assert [spec.name for spec in strategy.schema.inputs] == list(params)

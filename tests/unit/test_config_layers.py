"""Files that build on others: who wins, where values stand, what goes wrong; and secrets of the environment."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from config.document import from_document, to_document
from config.layers import LAYERS_MAX
from config.loader import load, resolve
from config.shown import shown_document, shown_lines
from engine.errors import ConfigError

RUN = "symbols: [BTCUSDT]\ntimeframe: 1m\n"


def write(folder: Path, **files: str) -> Path:
    """Write files by name (`base_yaml` is base.yaml); the path of the last one."""
    path = folder
    for name, text in files.items():
        path = folder / ".".join(name.rsplit("_", 1))
        path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, **options)
    return tuple(problem.replace(f"{path.parent}/", "") for problem in caught.value.problems)


# What the base says | what the upper layer says => what the two are as one file (`; ` for a new line).
MERGED = """
leverage: 2 | leverage: 3 => leverage: 3
leverage: 2 | seed: 3 => leverage: 2; seed: 3
leverage: 2 | leverage: null => # nothing
risk: {max_drawdown: 0.2, on_trip: hold} | risk: {max_drawdown: 0.1} => risk: {max_drawdown: 0.1, on_trip: hold}
risk: {max_drawdown: 0.2, on_trip: hold} | risk: {max_drawdown: null} => risk: {on_trip: hold}
risk: {max_drawdown: 0.2} | risk: => # nothing
indicators: [sma_20_1m, rsi_14_1m] | indicators: [ema_50_4h] => indicators: [ema_50_4h]
instruments: {BTCUSDT: {tick_size: 0.1}} | instruments: {BTCUSDT: {lot_size: 2}} => instruments: {BTCUSDT: {tick_size: 0.1, lot_size: 2}}
instruments: {BTCUSDT: {tiers: [{notional_floor: 0, maintenance_rate: 1}]}} | instruments: {BTCUSDT: {tiers: []}} => instruments: {BTCUSDT: {}}
symbols: [ETHUSDT] | symbol: XRPUSDT => symbol: XRPUSDT
symbol: ETHUSDT | symbols: [XRPUSDT] => symbols: [XRPUSDT]
commission_bps: 4 | commission: {maker_bps: 1} => commission: {maker_bps: 1, taker_bps: 4}
commission_bps: 4 | commission: {per_fill: 1} => commission_bps: 4; commission: {per_fill: 1}
commission: {maker_bps: 1, per_fill: 2} | commission_bps: 4 => commission_bps: 4; commission: {per_fill: 2}
slippage_bps: 3 | slippage: {model: atr, atr_factor: 1} => slippage: {model: atr, bps: 3, atr_factor: 1}
slippage: {model: atr, atr_factor: 1} | slippage_bps: 3 => slippage_bps: 3; slippage: {atr_factor: 1}
strategy: {name: a, params: {x: 1, y: 2}} | strategy: {params: {x: 3}} => strategy: {name: a, params: {x: 3, y: 2}}
strategy: {name: a, params: {x: 1}} | strategy: a => strategy: {name: a, params: {x: 1}}
strategy: a | strategy: {params: {x: 1}} => strategy: {name: a, params: {x: 1}}
strategy: {name: a, params: {x: 1}} | strategy: {name: b, params: {z: 2}} => strategy: {name: b, params: {z: 2}}
strategy: {name: a, params: {x: 1}} | strategy: b => strategy: b
strategy: {name: a, params: {x: 1}} | strategy: {entry: c, exit: d} => strategy: {entry: c, exit: d}
strategy: {entry: c, exit: d} | strategy: b => strategy: b
strategy: {entry: {name: c, params: {x: 1}}, exit: d} | strategy: {entry: {params: {y: 2}}} => strategy: {entry: {name: c, params: {x: 1, y: 2}}, exit: d}
strategy: {entry: {name: c, params: {x: 1}}, exit: d} | strategy: {entry: e} => strategy: {entry: e, exit: d}
strategy: a | strategies: [b, c] => strategies: [b, c]
strategies: [{name: a, params: {x: 1}}] | strategies: [a] => strategies: [a]
"""  # noqa: E501  a row each


@pytest.mark.parametrize("row", MERGED.strip().splitlines())
def test_two_layers_are_as_one_file(row: str, tmp_path: Path) -> None:
    layers, _, expected = row.partition(" => ")
    base, _, upper = layers.partition(" | ")
    has_symbols = base.startswith("symbol")
    common = "timeframe: 1m\n" if has_symbols else RUN
    path = write(tmp_path, base_yaml=common + base, top_yaml=f"extends: base.yaml\n{upper}")
    single = write(tmp_path, single_yaml=common + expected.replace("; ", "\n"))
    first, second = to_document(load(path)), to_document(load(single))
    del first["source"], second["source"]
    assert first == second


def test_later_bases_win_and_the_file_over_all_whatever_their_formats(tmp_path: Path) -> None:
    (tmp_path / "bases").mkdir()
    write(
        tmp_path / "bases",
        deep_toml='symbol = "BTCUSDT"\ntimeframe = "1m"\nseed = 1\nleverage = 5\ncash_decimals = 6\n',
    )
    write(tmp_path / "bases", first_json='{"extends": "deep.toml", "seed": 2, "leverage": 4}')
    write(tmp_path / "bases", second_yaml="seed: 3\nfunding: {rate: 0.1}\n")
    path = write(tmp_path, top_yaml="extends: [bases/first.json, bases/second.yaml]\nfunding: {enabled: true}\n")
    run = load(path)
    assert (run.symbols, run.settings.seed, run.settings.leverage, run.settings.cash_decimals) == (
        ("BTCUSDT",),
        3,
        4,
        6,
    )
    assert (run.funding.enabled, str(run.funding.rate)) == (True, "0.1")
    assert run.source == str(path)
    assert load(path, overrides=["seed=9"]).settings.seed == 9
    names = [file.relative_to(tmp_path).as_posix() for file in resolve(path).files]
    assert names == ["top.yaml", "bases/first.json", "bases/deep.toml", "bases/second.yaml"]
    origins = shown_document(resolve(path, overrides=["seed=9"]))["origins"]
    at = f"{tmp_path}/bases/"
    assert origins["symbols"] == f"{at}deep.toml:1"
    assert origins["leverage"] == f"{at}first.json:1"
    assert origins["funding.rate"] == f"{at}second.yaml:2"
    assert origins["funding.enabled"] == f"{path}:2"
    assert origins["seed"] == "--set seed=9"
    assert origins["margin"] == "default"


def test_each_problem_names_the_file_and_line_where_it_stands(tmp_path: Path) -> None:
    base = RUN + "leverage: 0\nrisk: {max_drawdown: 2}\nsymbol: ETHUSDT\n"
    path = write(tmp_path, base_yaml=base, top_yaml="extends: base.yaml\nsead: 1\nrisk: {on_trip: run}\n")
    assert problems(path, overrides=["margin=x"]) == (
        'top.yaml:2: sead: unknown field; did you mean "seed"?',
        'top.yaml:3: risk.on_trip: "run" is not allowed; one of flatten, hold',
        "base.yaml:1: symbols: given together with symbol (line 5), which says the same; give one of them",
        "base.yaml:3: leverage: 0 is not allowed; a number from 1 to 1000",
        "base.yaml:4: risk.max_drawdown: 2 is not allowed; a number above 0 and at most 1",
        '--set margin=x: "x" is not allowed; one of cross, isolated',
    )


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"top_yaml": f"{RUN}extends: none.yaml\n"},
            "top.yaml:3: extends: none.yaml cannot be read: No such file or directory; paths are relative to top.yaml",
        ),
        (
            {"base_ini": "x", "top_yaml": f"{RUN}extends: base.ini\n"},
            "top.yaml:3: extends: \"base.ini\": the ending '.ini' is not allowed; one of .yaml, .yml, .json, .toml",
        ),
        (
            {
                "base_yaml": "extends: [mid.yaml]\n",
                "mid_yaml": "extends:\n- top.yaml\n",
                "top_yaml": f"{RUN}extends: base.yaml\n",
            },
            'mid.yaml:2: extends: "top.yaml" builds on this file itself: top.yaml > base.yaml > mid.yaml > top.yaml',
        ),
        (
            {"top_yaml": f"{RUN}extends: ./top.yaml\n"},
            'top.yaml:3: extends: "./top.yaml" builds on this file itself: top.yaml > top.yaml',
        ),
        (
            {"base_json": '{"leverage":\n 2,}', "top_yaml": f"{RUN}extends: base.json\n"},
            "base.json:2:4: not valid JSON: Expecting property name enclosed in double quotes",
        ),
        (
            {"base_yaml": "[1]", "top_yaml": f"{RUN}extends: base.yaml\n"},
            "top.yaml:3: extends: base.yaml is not a config but a list",
        ),
        (
            {"base_yaml": "version: 7\n", "top_yaml": f"{RUN}extends: base.yaml\n"},
            "base.yaml:1: version: 7 is not allowed; 1, the newest that this Tapewright reads: update Tapewright",
        ),
        (
            {"top_yaml": f"{RUN}extends: [1]\n"},
            "top.yaml:3: extends: 1 is not allowed; a path relative to this file, or a list of them",
        ),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_had(files: dict[str, str], told: str, tmp_path: Path) -> None:
    assert problems(write(tmp_path, **files)) == (told,)


def test_layers_are_bounded(tmp_path: Path) -> None:
    names = [f"l{index}" for index in range(LAYERS_MAX + 2)]
    files = {f"{names[0]}_yaml": RUN}
    files |= {f"{now}_yaml": f"extends: {before}.yaml\n" for before, now in itertools.pairwise(names)}
    last = write(tmp_path, **files)
    assert problems(last)[0].endswith(f"extends: more than {LAYERS_MAX} layers")
    assert load(tmp_path / f"l{LAYERS_MAX}.yaml").symbols == ("BTCUSDT",)


def test_only_a_file_builds_on_others(tmp_path: Path) -> None:
    path = write(tmp_path, base_yaml="leverage: 2\n", top_yaml=RUN)
    assert "only a file builds on others" in problems(path, overrides=["extends=base.yaml"])[0]
    with pytest.raises(ConfigError, match="only a file builds on others"):
        from_document({"symbols": ["A"], "timeframe": "1m", "extends": "base.yaml"})


def test_the_stored_document_is_the_resolved_one(tmp_path: Path) -> None:
    path = write(tmp_path, base_yaml="leverage: 2\n", top_yaml=f"extends: base.yaml\n{RUN}")
    run = load(path)
    (tmp_path / "base.yaml").unlink()
    document = json.loads(json.dumps(to_document(run)))
    assert "extends" not in document
    assert from_document(document) == run


def test_what_is_shown_is_a_config_that_says_the_same(tmp_path: Path) -> None:
    strategies = '[{name: a, params: {x: "20", y: 1.5, z: "a, b # c", on: "true"}}, {entry: e, exit: {name: f}, id: g}]'
    tiers = "[{notional_floor: 0, maintenance_rate: 0.01}, {notional_floor: 5, maintenance_rate: 0.02}]"
    base = f"{RUN}start: 2024-01-01\nstrategies: {strategies}\ninstruments: {{BTCUSDT: {{tiers: {tiers}}}}}\n"
    path = write(tmp_path, base_yaml=base, top_yaml="extends: base.yaml\nmode: backtest\ninitial_cash: 1e4\n")
    run = load(path)
    lines = shown_lines(resolve(path))
    shown = write(tmp_path, shown_yaml="\n".join(lines))
    assert {**to_document(load(shown)), "source": ""} == {**to_document(run), "source": ""}
    assert f"initial_cash: 10000                               # {path}:3" in lines
    assert any(line.startswith("  - id: g") and line.endswith("base.yaml:4") for line in lines)
    paper = write(tmp_path, paper_yaml=f"{RUN}mode: paper\nfeed: {{rest: 'http://[::1]:80'}}\n")
    again = write(tmp_path, again_yaml="\n".join(shown_lines(resolve(paper))))
    assert load(again).daemon == load(paper).daemon


SECRET_CONFIG = (
    RUN + 'mode: paper\nfeed: {key_id: "${env:TW_ID}", key_secret: "${env:TW_KEY}"}\n'
    'control: {http_port: 8100, token: "${env:TW_TOKEN}"}\n'
)


def test_references_are_stored_and_shown_and_never_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TW_ID", "TW_KEY", "TW_TOKEN"):
        monkeypatch.setenv(name, f"hunter2-hunter2-{name}")
    path = write(tmp_path, top_yaml=SECRET_CONFIG)
    run = load(path)
    assert run.daemon.control.token == "${env:TW_TOKEN}"
    assert from_document(to_document(run)) == run
    everything = json.dumps(to_document(run)) + "\n".join(shown_lines(resolve(path))) + repr(run)
    assert "hunter2" not in everything


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("leverage: '${env:X}'", "leverage"),
        ("strategy: '${env:X}'", "strategy"),
        ("strategy: {name: a, params: {x: '${env:X}'}}", "strategy.params.x"),
        ("data: {rest: 'http://${env:X}'}", "data.rest"),
        ("feed: {key_file: '${env:X}'}", "feed.key_file"),
        ("indicators: ['${env:X}']", "indicators[0]"),
    ],
)
def test_the_environment_is_for_secrets_only(line: str, path: str, tmp_path: Path) -> None:
    (told,) = problems(write(tmp_path, top_yaml=f"{RUN}{line}\n"))
    assert told.startswith(f"top.yaml:3: {path}: ")
    assert "the environment is for secrets only (feed.key_id, feed.key_secret, control.token)" in told


def test_a_secret_in_the_file_itself_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path, top_yaml=f"{RUN}control: {{token: hunter2hunter2hunter2}}\n")
    (told,) = problems(path)
    assert told.startswith("top.yaml:3: control.token: [hidden] is not allowed; ${env:NAME}")
    (told,) = problems(write(tmp_path, top_yaml=RUN), overrides=["control.token=hunter2hunter2hunter2"])
    assert told.startswith("--set control.token=[hidden]: ")
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("feed: {key_id: '${env:A}'}", "feed.key_secret: missing; key_id needs it"),
        (
            "feed: {key_file: k, key_id: '${env:A}', key_secret: '${env:B}'}",
            "feed.key_id: given together with feed.key_file, which tells it; give one of them",
        ),
        (
            "control: {token_file: t, token: '${env:A}'}",
            "control.token: given together with control.token_file, which tells it; give one of them",
        ),
    ],
)
def test_secrets_come_from_one_place(line: str, told: str, tmp_path: Path) -> None:
    assert problems(write(tmp_path, top_yaml=f"{RUN}{line}\n")) == (f"top.yaml:3: {told}",)

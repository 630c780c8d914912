"""Each dashboard is of the type that Grafana itself gives dashboards (npm @grafana/schema).

The JSON becomes a constant of TypeScript, which tsc reads. Checked is all that those types know:
the dashboard, its variables, links and rows, each panel with the options and field settings of
its kind, no field unknown, and every word of an enumeration. What the types leave open isn't:
the values in overrides, the options of transformations and cells' links; and Prometheus' own
fields of queries and events stand in grafana.ts, since no type of the schema has them.
"""

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grafana.boards import BOARDS
from tests.acceptance.peers.presence import node_modules

from .written import written

pytestmark = pytest.mark.peer("grafana-schema")
LIMIT = 60  # seconds; tsc takes about five

Change = Callable[[dict[str, Any]], None]


def first(board: dict[str, Any], kind: str) -> dict[str, Any]:
    """A panel of that kind."""
    return next(panel for panel in board["panels"] if panel["type"] == kind)


def unknown_word(board: dict[str, Any]) -> None:
    """A word that its enumeration hasn't."""
    first(board, "stat")["options"]["colorMode"] = "backgrund"


def unknown_field(board: dict[str, Any]) -> None:
    """An option of no time series."""
    first(board, "timeseries")["options"]["legends"] = {}


def unknown_setting(board: dict[str, Any]) -> None:
    """A field setting that is none of a time series'."""
    first(board, "timeseries")["fieldConfig"]["defaults"]["custom"]["lineColour"] = "red"


def missing_option(board: dict[str, Any]) -> None:
    """A heatmap without an axis."""
    del first(board, "heatmap")["options"]["yAxis"]


def wrong_kind(board: dict[str, Any]) -> None:
    """A place that isn't a number."""
    first(board, "table")["gridPos"]["x"] = "0"


def unknown_variable(board: dict[str, Any]) -> None:
    """A variable of a kind that isn't there."""
    board["templating"]["list"][0]["type"] = "datasources"


BROKEN: dict[str, tuple[Change, str]] = {
    "word": (unknown_word, '"backgrund"'),
    "field": (unknown_field, '"legends"'),
    "setting": (unknown_setting, '"lineColour"'),
    "option": (missing_option, "'yAxis'"),
    "kind": (wrong_kind, "'string' is not assignable to type 'number'"),
    "variable": (unknown_variable, '"datasources"'),
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What tsc says of each dashboard, and of each that was broken, by name."""
    place = tmp_path_factory.mktemp("types")
    shutil.copy(Path(__file__).with_name("grafana.ts"), place)
    (place / "node_modules").symlink_to(node_modules())
    found = {board.name: written(board) for board in BOARDS}
    for name, (change, _) in BROKEN.items():
        found[name] = copy.deepcopy(found["filters"])
        change(found[name])
    for name, board in found.items():
        (place / f"{name}.ts").write_text(
            'import type { Board } from "./grafana";\n'
            f"export const board: Board = {json.dumps(board)};\n"
        )
    command = ["node_modules/.bin/tsc", "--noEmit", "--strict", "--pretty", "false"]
    command += ["--module", "esnext", "--moduleResolution", "bundler", "--skipLibCheck"]
    command += [f"{name}.ts" for name in found]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert not done.stderr
    told = dict.fromkeys((*found, "grafana"), "")
    for complaint in re.split(r"^(?=\S)", done.stdout, flags=re.MULTILINE):
        if complaint:
            told[complaint.partition(".ts(")[0]] += complaint
    return told


@pytest.mark.parametrize("name", ["grafana", *(board.name for board in BOARDS)])
def test_grafana_knows_every_field_and_word(complaints: dict[str, str], name: str) -> None:
    """Grafana itself ignores what it doesn't know, and shows something else."""
    assert complaints[name] == ""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_dashboard_is_noticed(complaints: dict[str, str], name: str) -> None:
    """By name, whatever part is broken."""
    assert BROKEN[name][1] in complaints[name]

"""The command that makes pictures: what it writes, says and returns."""

import json
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from grafana.draw import command
from grafana.draw.pictures import Drawn

PNG = b"\x89PNG not really"


def panel(state: str, reason: str = "") -> dict[str, str]:
    """What the page tells of one."""
    return {"title": f"Is {state}", "type": "stat", "state": state, "reason": reason}


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One dashboard in place of ours, and no program that makes pictures smaller."""
    (tmp_path / "overview.json").write_text(json.dumps({"panels": []}))
    monkeypatch.setattr(command, "DASHBOARDS", tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("drawn", "code"),
    [
        (Drawn(PNG, [panel("drawn"), panel("empty")], []), 0),
        (Drawn(PNG, [panel("failed", "no such series")], []), 1),
        (Drawn(PNG, [], ["a script failed"]), 1),
    ],
)
def test_it_writes_pictures_and_says_what_is_wrong(
    board: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str], drawn: Drawn, code: int
) -> None:
    """A panel without data is told, but only a failure is one."""
    draw = mocker.patch.object(command, "draw", return_value={"overview": drawn})
    out = board / "pictures"
    asked = ["--uplot", "uplot", "--prometheus", "http://127.0.0.1:1", "--minutes", "5"]
    assert command.main([*asked, "--out", str(out)]) == code
    (boards, prometheus, library), _ = draw.call_args
    assert (list(boards), prometheus, library) == (
        ["overview"],
        "http://127.0.0.1:1",
        Path("uplot"),
    )
    span = boards["overview"].span
    assert (round(span.end - span.start), span.scrape) == (300, 15)
    assert (out / "overview.png").read_bytes() == PNG
    said = capsys.readouterr().out
    assert "overview.png" in said
    for words in ("Is empty: no data", "Is failed: no such series", "a script failed"):
        assert (words in said) is (words.partition(":")[0] in str(drawn))

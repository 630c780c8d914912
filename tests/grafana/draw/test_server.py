"""What the browser can get from the page's server, and what not."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from grafana.draw.server import serve


def fetched(url: str) -> bytes:
    """What is answered."""
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
    return body


def test_each_plan_has_a_page_of_its_own(tmp_path: Path) -> None:
    """With the library beside it."""
    (tmp_path / "uPlot.esm.js").write_text("export default 1;")
    with serve({"overview": {"a": 1}}, tmp_path) as address:
        assert json.loads(fetched(f"{address}/overview/plan.json")) == {"a": 1}
        assert b"<!doctype html>" in fetched(f"{address}/overview/")
        assert b"import" in fetched(f"{address}/overview/main.js")
        assert fetched(f"{address}/uplot/uPlot.esm.js") == b"export default 1;"


@pytest.mark.parametrize(
    "path", ["uplot/secret.js", "uplot/../secret", "overview/../../server.py", "nobody/plan.json"]
)
def test_nothing_else_is_served(tmp_path: Path, path: str) -> None:
    """Neither files of other folders nor plans that nobody made."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "library").mkdir()
    with (
        serve({"overview": {}}, tmp_path / "library") as address,
        pytest.raises(urllib.error.HTTPError, match="404"),
    ):
        fetched(f"{address}/{path}")

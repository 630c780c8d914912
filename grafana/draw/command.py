"""The command that makes pictures of dashboards."""

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .pictures import Drawn, draw
from .questions import PrometheusLabels, Span, read

DASHBOARDS = Path(__file__).parents[1] / "dashboards"
_QUANTIZE = ("pngquant", "--quality", "60-90", "--strip", "--speed", "1", "-")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pictures; 1 when a panel could not be drawn."""
    parser = argparse.ArgumentParser(
        prog="python -m grafana.draw",
        description="Draws dashboards from a running Prometheus, with headless Chromium.",
    )
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--minutes", type=float, default=60, help="how far to look back")
    parser.add_argument("--scrape", type=int, default=15, help="its scrape interval in seconds")
    parser.add_argument("--uplot", type=Path, required=True, help="the dist folder of npm's uplot")
    parser.add_argument("--out", type=Path, default=Path(), help="the folder for NAME.png")
    options = parser.parse_args(arguments)
    now = time.time()
    span = Span(now - options.minutes * 60, now, options.scrape)
    drawn = draw_ours(span, options.prometheus, options.uplot)
    write(drawn, options.out)
    return int(any(complaints(each) for each in drawn.values()))


def draw_ours(span: Span, prometheus: str, library: Path) -> dict[str, Drawn]:
    """All dashboards of the tree, by name. library: the folder with uPlot's modules."""
    labels = PrometheusLabels(prometheus)
    boards = {
        file.stem: read(json.loads(file.read_text()), span, labels)
        for file in sorted(DASHBOARDS.glob("*.json"))
    }
    return draw(boards, prometheus, library)


def write(drawn: Mapping[str, Drawn], folder: Path) -> None:
    """Puts NAME.png there, and says what is missing in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, each in drawn.items():
        png = smaller(each.png)
        (folder / f"{name}.png").write_bytes(png)
        _say(f"{name}.png: {len(each.panels)} panels, {len(png) // 1024} KiB")
        empty = [f"{panel['title']}: no data" for panel in each.panels if panel["state"] == "empty"]
        for line in (*complaints(each), *empty):
            _say(f"  {line}")


def _say(line: str) -> None:
    print(line)  # noqa: T201  # the command's output


def complaints(drawn: Drawn) -> list[str]:
    """What went wrong, in the page and in its panels."""
    failed = [panel for panel in drawn.panels if panel["state"] == "failed"]
    return [*drawn.errors, *(f"{panel['title']}: {panel['reason']}" for panel in failed)]


def smaller(png: bytes) -> bytes:
    """The same picture with 256 colours, if the program for that is installed."""
    if shutil.which(_QUANTIZE[0]) is None:
        return png
    return subprocess.run(_QUANTIZE, input=png, capture_output=True, check=True).stdout  # noqa: S603  # nobody's words are in it

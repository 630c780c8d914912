# mypy: allow-untyped-calls
# (prometheus_client's part for several processes has no types)
"""What processes have counted is added up as prometheus_client does it."""

import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from filterrelay.observe.metrics import UNKNOWN
from filterrelay.observe.multiprocess import fold
from filterrelay.observe.sums import Sums

COUNTING = """
import sys
from pathlib import Path
from prometheus_client import Counter, Gauge
from prometheus_client.metrics import MetricWrapperBase
from filterrelay.observe.multiprocess import worker_metrics
from tests.observe.install import Install
for process in sys.argv[2:]:
    metrics = worker_metrics(Path(sys.argv[1]), process)
    number = int(process[1:])
    for place, metric in enumerate(vars(metrics).values()):
        if not isinstance(metric, MetricWrapperBase):
            continue
        for value, child in enumerate(Install().children(metric)):
            figure = (place * 7 + value * number) % 40 / 8
            match child:
                case Counter():
                    child.inc(figure)
                case Gauge():
                    child.set(figure)
                case _:
                    child.observe(figure)
"""


def test_the_sums_are_prometheus_clients(tmp_path: Path) -> None:
    """Every series that there is, from several processes, also at the second look."""
    subprocess.run([sys.executable, "-c", COUNTING, str(tmp_path), "w1", "w2", "w3"], check=True)
    files = sorted(tmp_path.glob("*.db"))
    theirs = {each.name: each for each in MultiProcessCollector.merge(map(str, files))}
    sums = Sums()
    for _ in range(2):
        ours = {each.name: each for each in sums.of(files)}
        assert ours.keys() == theirs.keys()
        for name, family in ours.items():
            assert (family.type, family.documentation) == (
                theirs[name].type,
                theirs[name].documentation,
            )
            assert told(family.samples) == told(theirs[name].samples)
    assert sum(len(each.samples) for each in theirs.values()) > 800


def test_no_order_of_the_files_makes_a_sum_less(tmp_path: Path) -> None:
    """Nor does it when what some have counted is folded: Prometheus would see a reset."""
    chance = random.Random(7)
    for process in range(8):
        kept = MmapedDict(str(tmp_path / f"histogram_w{process}.db"))
        for number in range(100):
            labels = ["upstream"], [f"{number}"]
            kept.write_value(mmap_key("a", "a_sum", *labels, "Help."), chance.random(), 0.0)
        kept.close()
    files = [*tmp_path.glob("*.db")]
    before = sums_in(files)
    for _ in range(5):
        chance.shuffle(files)
        assert sums_in(files) == before
    for process in range(7):
        fold(tmp_path, [f"w{process}"])
        after = sums_in(tmp_path.glob("*.db"))
        assert [number for number in before if after[number] < before[number]] == []
        assert after == pytest.approx(before)
        before = after


def sums_in(files: Iterable[Path]) -> dict[str, float]:
    """The sums by upstream."""
    (family,) = Sums().of(files)
    return {each.labels["upstream"]: each.value for each in family.samples}


def told(samples: object) -> dict[object, float]:
    """The values by name and labels; each may be there once."""
    assert isinstance(samples, list)
    found: dict[object, float] = {
        (each.name, tuple(sorted(each.labels.items()))): each.value for each in samples
    }
    assert len(found) == len(samples)
    return found


def test_an_unfinished_or_missing_file_has_nothing_in_it(tmp_path: Path) -> None:
    """A process has made it, or it has just been removed."""
    (tmp_path / "counter_w0.db").touch()
    MmapedDict(str(tmp_path / "counter_w1.db")).close()
    written = MmapedDict(str(tmp_path / "counter_w2.db"))
    written.write_value(mmap_key("a_b", "a_b_total", [], [], "Help."), 3.0, 0.0)
    written.close()
    files = [tmp_path / f"counter_w{number}.db" for number in range(4)]
    (family,) = Sums().of(files)
    assert [each.value for each in family.samples] == [3.0]


def test_a_mode_that_is_not_known_is_no_wrong_sum(tmp_path: Path) -> None:
    """Who declares a gauge of another mode learns it from a test."""
    for process in ("w0", "w1"):
        kept = MmapedDict(str(tmp_path / f"gauge_all_{process}.db"))
        kept.write_value(mmap_key("a", "a", [], [], "Help."), 1.0, 0.0)
        kept.close()
    with pytest.raises(KeyError):
        Sums().of(tmp_path.glob("*.db"))


def test_what_a_process_no_longer_knows_hides_nothing(tmp_path: Path) -> None:
    """The one that knows tells it, though it said so before; what nobody knows isn't told."""
    known = mmap_key("up", "up", ["plugin"], ["clamav"], "")
    gone = mmap_key("up", "up", ["plugin"], ["old"], "")
    for process, values, at in (("w0", (UNKNOWN, UNKNOWN), 2.0), ("w1", (1.0,), 1.0)):
        numbers = MmapedDict(str(tmp_path / f"gauge_livemostrecent_{process}.db"))
        for key, value in zip((known, gone), values, strict=False):
            numbers.write_value(key, value, at)
        numbers.close()
    (family,) = Sums().of(tmp_path.glob("*.db"))
    assert told(family.samples) == {("up", (("plugin", "clamav"),)): 1.0}

# mypy: allow-untyped-calls
# (prometheus_client has no types there)
"""Numbers in files, on a disk that fills up: nothing ends, and nothing is counted twice."""

import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from filterrelay.observe import figures
from filterrelay.observe.figures import FIRST, Figure, Figures, KeptFigures, ProcessFigures
from filterrelay.observe.multiprocess import fold

KEYS = [
    f"{'k' * 200}{number}" for number in range(2 * FIRST // 200)
]  # more than a file begins with


def fill(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """From now on no file may have more octets."""
    real = os.posix_fallocate

    def reserve(descriptor: int, octets: int) -> None:
        if octets > most:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, 0, octets)

    monkeypatch.setattr(figures, "_reserve", reserve)


def counted(numbers: Figures) -> dict[str, float]:
    """What is in it."""
    return {key: value for key, value, _ in numbers.read_all_values()}


def in_file(file: Path) -> dict[str, float]:
    """What a scrape would find."""
    return {key: value for key, value, *_ in Figures.read_all_values_from_file(file)}


@pytest.mark.parametrize("kind", [Figures, KeptFigures])
def test_a_file_has_no_holes(tmp_path: Path, kind: type[Figures]) -> None:
    """Whatever is written to it later has its room already, also once it has grown."""
    file = tmp_path / "counter_w0.db"
    numbers = kind(str(file))
    for key in KEYS:
        numbers.write_value(key, 1.0, 0.0)
        assert file.stat().st_blocks * 512 >= file.stat().st_size
    assert in_file(file) == dict.fromkeys(KEYS, 1.0)
    numbers.close()


def test_a_figure_counts_on_where_its_process_stopped(tmp_path: Path) -> None:
    """Under the same name, whatever else has come into the file meanwhile."""
    told = ("counter", "mail", "mail_total", ("listener",), ("office",), "Mail.")
    files = ProcessFigures(tmp_path, "w0")
    figure = Figure(files, *told)
    figure.inc(2)
    for key in KEYS:
        files.of("counter").write_value(key, 1.0, 0.0)
    figure.inc(0.5)
    files.of("counter").close()
    files = ProcessFigures(tmp_path, "w0")
    again = Figure(files, *told)
    again.inc(1)
    assert again.get() == 3.5
    files.of("counter").close()
    told_of = in_file(tmp_path / "counter_w0.db")
    assert [value for key, value in told_of.items() if "mail_total" in key] == [3.5]


def test_gauges_have_a_file_for_each_way_to_sum_them(tmp_path: Path) -> None:
    """By which a scrape knows what to make of them."""
    files = ProcessFigures(tmp_path, "w0")
    for mode in ("livesum", "max"):
        Figure(files, "gauge", "held", "held", (), (), "Held.", multiprocess_mode=mode).set(7)
        assert set(in_file(tmp_path / f"gauge_{mode}_w0.db").values()) == {7.0}
        files.of(f"gauge_{mode}").close()


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Where the relay's own user puts one, root neither writes nor makes what it leads to."""
    (tmp_path / "counter_gone.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Figures(str(tmp_path / "counter_gone.db"))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("room", [0, FIRST])
def test_a_process_counts_on_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """From its start, or from when its file would have to grow; and it says so once."""
    fill(monkeypatch, room)
    with capture_logs() as logs:
        numbers = KeptFigures(str(tmp_path / "counter_w0.db"))
        for key in KEYS:
            numbers.write_value(key, 1.0, 0.0)
    assert counted(numbers) == dict.fromkeys(KEYS, 1.0)
    assert [(line["event"], line["reason"]) for line in logs][:1] == [
        ("figures_not_kept", os.strerror(errno.ENOSPC))
    ]
    assert len({line["event"] for line in logs}) == 1
    numbers.close()


def test_a_full_disk_adds_nothing_up_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended processes have counted waits in their files until there is room for all."""
    for process in ("w0", "w1"):
        numbers = Figures(str(tmp_path / f"counter_{process}.db"))
        for key in KEYS[: len(KEYS) // 3] if process == "w0" else KEYS:
            numbers.write_value(key, 1.0, 0.0)
        numbers.close()
    sums = tmp_path / "counter_gone.db"
    with monkeypatch.context() as full:
        fill(full, 2 * FIRST)
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                fold(tmp_path, ["w0", "w1"])
    assert set(in_file(sums).values()) == {1.0}
    fold(tmp_path, ["w0", "w1"])
    assert sum(in_file(sums).values()) == len(KEYS) + len(KEYS) // 3

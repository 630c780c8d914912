"""Metrics of several processes add up, also when processes are gone."""

import fcntl
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from filterrelay.observe.metrics import no_notes
from filterrelay.observe.multiprocess import empty, fold, forget_gauges
from filterrelay.observe.notes import half_written, notes_file, save
from filterrelay.plugin.testing import SOME_TIME as NOW

ACTING = """
import sys
from pathlib import Path
from filterrelay.observe.multiprocess import worker_metrics
metrics = worker_metrics(Path(sys.argv[1]), sys.argv[2])
exec(sys.argv[3])
"""
SUMMING = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry, generate_latest
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.scrape import Summed
registry = CollectorRegistry()
registry.register(Summed(Path(sys.argv[1]), SystemClock(), 10))
print(generate_latest(registry).decode())
"""
LOOK = "from filterrelay.observe.process import Usage; Usage(metrics, 'worker').look()"
TAKEN = 'filterrelay_messages_total{listener="smtp",verdict="pass"}'


def act(directory: Path, process: str, action: str) -> None:
    """Lets a process do something with its metrics and end."""
    subprocess.run([sys.executable, "-c", ACTING, str(directory), process, action], check=True)


def take(directory: Path, process: str, count: int) -> None:
    """Lets a process take so many messages and end."""
    taking = f"metrics.messages.labels('smtp', 'pass').inc({count})"
    act(directory, process, f"{taking}; metrics.accept_seconds.labels('smtp').observe(9)")


def exposed(directory: Path) -> list[str]:
    """What /metrics would say."""
    return subprocess.run(
        [sys.executable, "-c", SUMMING, str(directory)], check=True, capture_output=True, text=True
    ).stdout.splitlines()


def test_workers_counts_add_up_and_outlive_them(tmp_path: Path) -> None:
    """A worker that was started again goes on counting where it stopped."""
    for worker, count in (("w0", 1), ("w1", 2), ("w0", 3)):
        take(tmp_path, worker, count)
    assert f"{TAKEN} 6.0" in exposed(tmp_path)


def test_what_ended_processes_counted_stays_without_their_files(tmp_path: Path) -> None:
    """However often the relay is reloaded, no counter goes back and the files stay as few."""
    for generation in range(3):
        for worker in range(2):
            take(tmp_path, f"g{generation}w{worker}", 5)
        before = [line for line in exposed(tmp_path) if "_total" in line or "_bucket" in line]
        fold(tmp_path, [f"g{generation}w{worker}" for worker in range(2)])
        after = [line for line in exposed(tmp_path) if "_total" in line or "_bucket" in line]
        assert sorted(after) == sorted(before)
    assert f"{TAKEN} 30.0" in after
    assert {file.name for file in tmp_path.iterdir()} == {"counter_gone.db", "histogram_gone.db"}


def test_nothing_is_folded_while_somebody_reads(tmp_path: Path) -> None:
    """A count that is in two files for a moment must not be seen twice."""
    take(tmp_path, "w0", 1)
    reader = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    with pytest.raises(BlockingIOError):
        fold(tmp_path, ["w0"])
    os.close(reader)
    assert f"{TAKEN} 1.0" in exposed(tmp_path)


def test_who_never_looked_at_the_disk_says_nothing_of_it(tmp_path: Path) -> None:
    """The latest look counts, not the zero of a process that has never looked."""
    act(tmp_path, "w0", "pass")
    act(tmp_path, "g0control", "metrics.spool_free.set(1000); metrics.spool_free.set(700)")
    act(tmp_path, "g1control", "metrics.spool_free.set(800)")
    act(tmp_path, "w1", "pass")
    assert "filterrelay_spool_free_bytes 800.0" in exposed(tmp_path)
    forget_gauges(tmp_path, "g1control")
    assert "filterrelay_spool_free_bytes 700.0" in exposed(tmp_path)


OWN = """
from prometheus_client import Counter, generate_latest
Counter("scans", "Of a plugin.", registry=metrics.registry).inc(2, {"trace_id": "1"})
assert "scans_total 2.0" in generate_latest(metrics.registry).decode()
"""


def test_a_plugin_may_count_and_look_with_prometheus_client(tmp_path: Path) -> None:
    """What a library of its own counts, with exemplars or without, is none of its failures."""
    act(tmp_path, "w0", OWN)
    assert "scans_total 2.0" in exposed(tmp_path)


NOTING = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from filterrelay.observe.multiprocess import worker_metrics
from filterrelay.observe.notes import notes_file, save
directory = Path(sys.argv[1])
for names in (True, True, False):
    notes = worker_metrics(directory, "w0", names=names).notes
    notes.message("ann" if names else "bob", "pass", datetime.now(UTC))
    save(notes_file(directory, "w0"), notes.text())
"""


def test_a_worker_that_starts_again_goes_on_with_its_notes(tmp_path: Path) -> None:
    """And when names are no longer wanted, no more come in."""
    subprocess.run([sys.executable, "-c", NOTING, str(tmp_path)], check=True)
    lines = exposed(tmp_path)
    series = "filterrelay_top_login_messages"
    assert f'{series}{{login="ann",outcome="accepted"}} 2.0' in lines
    assert f'{series}{{login="other",outcome="accepted"}} 1.0' in lines
    assert "bob" not in notes_file(tmp_path, "w0").read_text()


def noted(directory: Path, process: str) -> None:
    """Lets a process note a message of ann's."""
    notes = no_notes()
    notes.message("ann", "pass", NOW)
    notes.accepted.note("smtp", process, 0.1, NOW)
    save(notes_file(directory, process), notes.text())


def test_the_notes_of_ended_processes_stay_for_their_hour(tmp_path: Path) -> None:
    """A reload takes nobody out of the top lists; their files go, half-written ones too."""
    for generation in range(3):
        processes = [f"g{generation}w{worker}" for worker in range(2)]
        for process in processes:
            noted(tmp_path, process)
        half_written(notes_file(tmp_path, processes[0])).touch()
        fold(tmp_path, processes)
    assert {file.name for file in tmp_path.glob("notes_*")} == {"notes_gone.json"}
    sums = no_notes()
    sums.learn_from(notes_file(tmp_path, "gone"))
    assert sums.logins.told(1, "other", NOW) == {"ann": [6, 0], "other": [0, 0]}


def test_a_start_counts_from_nothing_and_deletes_nothing_else(tmp_path: Path) -> None:
    """A directory that the configuration names by mistake loses no file."""
    take(tmp_path, "w0", 1)
    noted(tmp_path, "w0")
    half_written(notes_file(tmp_path, "w1")).touch()
    (tmp_path / "precious.db").touch()
    empty(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious.db"]


def test_a_limit_that_a_process_never_looked_at_is_not_nothing(tmp_path: Path) -> None:
    """The supervisor has the series too, and says nothing of open files."""
    act(tmp_path, "supervisor", "pass")
    act(tmp_path, "w0", LOOK)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert f"filterrelay_open_files_limit {float(limit)}" in exposed(tmp_path)


def test_cpu_time_adds_up_over_workers_that_die(tmp_path: Path) -> None:
    """A worker that is started again in the same place counts on, from its own beginning."""
    sums: list[float] = []
    for _ in range(2):
        act(tmp_path, "w0", LOOK)
        forget_gauges(tmp_path, "w0")
        text = "\n".join(exposed(tmp_path))
        sums += map(float, re.findall(r'cpu_seconds_total\{process="worker"\} (.+)', text))
    assert sums[1] > sums[0] * 1.3 > 0
    assert "filterrelay_resident_bytes{" not in text

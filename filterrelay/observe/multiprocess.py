# mypy: allow-untyped-calls
# (prometheus_client's part for several processes has no types)
"""What several processes count, each in files of its own, so that it can be added up."""

import contextlib
import fcntl
import math
import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

from filterrelay.observe.figures import Figure, Figures, ProcessFigures
from filterrelay.observe.metrics import Metrics, no_notes
from filterrelay.observe.notes import half_written, notes_file, save
from filterrelay.observe.top import ROOM

_COUNTING = ("counter", "histogram")  # what the names of files that stay begin with
_GONE = "gone"  # whom the counts of ended processes belong to
_FILES = ("gauge_*.db", "counter_*.db", "histogram_*.db", "notes_*.json", "notes_*.new")


def worker_metrics(directory: Path, process: str, *, names: bool = True) -> Metrics:
    """The series of one process among several, kept in files below directory.

    process: a name that no other living process has; it goes on where a dead one of that
    name stopped. names: whether its top lists may have any.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)  # as it knows that there are several
    values.ValueClass = partial(Figure, ProcessFigures(directory, process))
    notes = no_notes(ROOM if names else 0)
    notes.learn_from(notes_file(directory, process))
    return Metrics(notes=notes)


@contextlib.contextmanager
def turn(directory: Path, kind: int) -> Iterator[None]:
    """A lock on the directory; free again when its holder dies. Raises BlockingIOError."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, kind)
        yield
    finally:
        os.close(lock)


def forget_gauges(directory: Path, process: str) -> None:
    """Drops what a dead process said of the present; what it counted stays."""
    mark_process_dead(process, str(directory))


def fold(directory: Path, processes: Collection[str]) -> None:
    """Adds what these have counted, who are gone for good, to one file a kind, and removes theirs.

    So reloads leave no files behind, and no counter goes back. The sums' files
    are made also when there is nothing to add. Raises BlockingIOError while
    somebody reads, and OSError when the disk is full: nothing is lost by that, or counted twice.
    """
    with turn(directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for kind in _COUNTING:
            sums = Figures(str(directory / f"{kind}_{_GONE}.db"))
            with contextlib.closing(sums):
                for process in processes:
                    _add(directory / f"{kind}_{process}.db", sums)
        for process in processes:
            forget_gauges(directory, process)
        _fold_notes(directory, processes)


def _add(file: Path, sums: Figures) -> None:
    """Adds what is in the file, and removes it; all of it or nothing."""
    if file.exists():
        sums.make_room(file.stat().st_size)
        for key, value, _, _ in Figures.read_all_values_from_file(file):
            sums.write_value(key, _not_below(sums.read_value(key)[0], value), 0.0)
        file.unlink()


def _not_below(one: float, other: float) -> float:
    """Their sum, rounded up where it has to be rounded: no total may become less by folding."""
    total = one + other
    return math.nextafter(total, math.inf) if math.fsum((one, other, -total)) > 0 else total


def _fold_notes(directory: Path, processes: Collection[str]) -> None:
    """Adds theirs to those of all who are gone; what goes beyond the bounds of one is dropped."""
    files = [notes_file(directory, process) for process in processes]
    if not any(file.exists() for file in files):
        return
    kept = notes_file(directory, _GONE)
    sums = no_notes()
    for file in (kept, *files):
        sums.learn_from(file)
    sums.trim()
    with contextlib.suppress(OSError):  # a full disk: they are of one hour only
        save(kept, sums.text())
    for file in files:
        file.unlink(missing_ok=True)
        half_written(file).unlink(missing_ok=True)


def empty(directory: Path) -> None:
    """Makes the directory, without anything that an earlier start has counted."""
    directory.mkdir(parents=True, exist_ok=True)
    for ours in _FILES:
        for file in directory.glob(ours):
            file.unlink()

# mypy: allow-untyped-calls
# (prometheus_client's part for several processes has no types)
"""One sum of what several processes count, each in files of its own."""

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from filterrelay.observe.metrics import Metrics

_COUNTING = ("counter", "histogram")  # what the names of files that stay begin with
_GONE = "gone"  # whom the counts of ended processes belong to


def worker_metrics(directory: Path, process: str) -> Metrics:
    """The series of one process among several, kept in files below directory.

    process: a name that no other living process has.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: process)
    return Metrics()


def summed_registry(directory: Path) -> CollectorRegistry:
    """A registry that adds up what all processes below directory have counted."""
    registry = CollectorRegistry()
    _Sum(registry, path=str(directory))
    return registry


class _Sum(MultiProcessCollector):
    """Reads no file while it is being folded into another, which would count it twice."""

    def collect(self) -> Iterable[Metric]:
        """The sums, read at once."""
        with _turn(Path(self._path), fcntl.LOCK_SH):
            return super().collect()  # type: ignore[no-any-return]  # untyped there


@contextmanager
def _turn(directory: Path, kind: int) -> Iterator[None]:
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
    somebody reads.
    """
    with _turn(directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for kind in _COUNTING:
            sums = MmapedDict(str(directory / f"{kind}_{_GONE}.db"))
            for process in processes:
                _add(directory / f"{kind}_{process}.db", sums)
            sums.close()
        for process in processes:
            forget_gauges(directory, process)


def _add(file: Path, sums: Any) -> None:
    if file.exists():
        for key, value, _, _ in MmapedDict.read_all_values_from_file(file):
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
        file.unlink()


def empty(directory: Path) -> None:
    """Makes the directory, without anything that an earlier start has counted."""
    directory.mkdir(parents=True, exist_ok=True)
    for kind in ("gauge", *_COUNTING):
        for file in directory.glob(f"{kind}_*.db"):
            file.unlink()

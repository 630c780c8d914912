"""The sums of what several processes have counted in prometheus_client's files.

The same as its own MultiProcessCollector makes (a test compares them), but for three things.
A key, which is JSON, is read once and not in every file at every scrape, which is half of the
time. And the same numbers have the same sum in whatever order their files are found: a
sum of seconds that is less by its last bit is a counter's reset to Prometheus. And a gauge that is
NaN in a file isn't told by that file: a removed plugin's isn't by the processes before a reload.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.samples import Sample

_LENGTH = struct.Struct("i").unpack_from
_NUMBERS = struct.Struct("dd").unpack_from  # the value, and when it was set
_HEAD = 8  # octets; the first four say how many of the file are used
_MOST_KEYS = 20_000  # that are remembered: ten times what a relay has

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True, eq=False)
class Key:
    """A series of the files, one object however many have it.

    name: of the sample. mode: how several numbers become one. child: its labels but for
    `le`. bound: of a bucket, else None.
    """

    family: str
    name: str
    labels: dict[str, str]
    documentation: str
    kind: str
    mode: str
    child: Labels
    bound: float | None


class Sums:
    """Adds up, time and again."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, bytes], Key] = {}

    def of(self, files: Iterable[Path]) -> list[Metric]:
        """The families. A file that is being made or has just gone has nothing in it."""
        if len(self._keys) > _MOST_KEYS:
            self._keys.clear()
        numbers: dict[Key, list[float]] = {}
        times: dict[Key, float] = {}
        for file in files:
            kind, _, rest = file.name.partition("_")
            mode = rest.partition("_")[0] if kind == "gauge" else "livesum"
            for octets, value, at in _entries(file):
                if math.isnan(value):  # metrics.UNKNOWN
                    continue
                key = self._keys.get((kind, octets)) or self._learn(kind, mode, octets)
                if mode != "livemostrecent":
                    numbers.setdefault(key, []).append(value)
                elif at > times.get(key, 0.0):
                    times[key], numbers[key] = at, [value]
        return _families({key: _TOGETHER[key.mode](each) for key, each in numbers.items()})

    def _learn(self, kind: str, mode: str, octets: bytes) -> Key:
        family, name, labels, documentation = json.loads(octets)
        child = tuple(sorted(label for label in labels.items() if label[0] != "le"))
        bound = float(labels["le"]) if kind == "histogram" and "le" in labels else None
        key = Key(family, name, labels, documentation, kind, mode, child, bound)
        self._keys[kind, octets] = key
        return key


_TOGETHER: dict[str, Callable[[list[float]], float]] = {
    "livesum": math.fsum,
    "livemax": max,
    "livemin": min,
    "livemostrecent": max,  # of one
}


def _entries(file: Path) -> Iterator[tuple[bytes, float, float]]:
    """Key, value and time of each; the form is that of prometheus_client's mmap_dict.py."""
    try:
        octets = file.read_bytes()
    except FileNotFoundError:
        return
    if len(octets) < _HEAD:
        return
    (used,) = _LENGTH(octets)
    place = _HEAD
    while place < used:
        (length,) = _LENGTH(octets, place)
        begin, end = place + 4, place + 4 + length
        place = end + 8 - (length + 4) % 8
        value, at = _NUMBERS(octets, place)
        yield octets[begin:end], value, at
        place += 16


def _families(values: dict[Key, float]) -> list[Metric]:
    families: dict[str, Metric] = {}
    children: dict[tuple[str, Labels], list[Key]] = {}
    for key in values:
        if key.family not in families:
            families[key.family] = Metric(key.family, key.documentation, key.kind)
        children.setdefault((key.family, key.child), []).append(key)
    for (family, child), keys in children.items():
        samples = families[family].samples
        samples += [Sample(key.name, key.labels, values[key]) for key in keys if key.bound is None]
        if buckets := [key for key in keys if key.bound is not None]:
            below = 0.0
            for key in sorted(buckets, key=_bound):
                below += values[key]
                samples.append(Sample(key.name, key.labels, below))
            samples.append(Sample(f"{family}_count", dict(child), below))
    return list(families.values())


def _bound(key: Key) -> float:
    assert key.bound is not None
    return key.bound

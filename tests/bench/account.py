"""What a relay costs: CPU seconds and memory of all of its processes.

Where the system lets us, each relay runs in a control group of its own (cgroup v2), whose cpu.stat
counts every process that ever lived in it. Elsewhere the process tree below the relay's first
processes is summed from /proc, together with the children that it has reaped.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Protocol

_TICKS = os.sysconf("SC_CLK_TCK")  # a second, in /proc/PID/stat
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class Account(Protocol):
    """Counts the processes of one relay."""

    kind: str

    def command(self, argv: list[str]) -> list[str]:
        """The same command, so started that its processes are counted."""

    def adopt(self, pid: int) -> None:
        """Count this process, which was started with `command`, and what it starts."""

    def pids(self) -> list[int]:
        """The processes that live now."""

    def cpu_seconds(self) -> float:
        """User and system time since the start, living and ended processes together."""

    def close(self) -> None:
        """Leave nothing behind once all processes have ended."""


class CgroupAccount:
    """Counts by a control group of its own."""

    kind = "cgroup"

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory

    def command(self, argv: list[str]) -> list[str]:
        """Enter the group, then become the program."""
        return ["/bin/sh", "-c", _ENTER, str(self._directory), *argv]

    def adopt(self, pid: int) -> None:
        """Nothing to do: the group knows."""

    def pids(self) -> list[int]:
        """All in the group."""
        return [int(line) for line in (self._directory / "cgroup.procs").read_text().split()]

    def cpu_seconds(self) -> float:
        """usage_usec of cpu.stat."""
        for line in (self._directory / "cpu.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec":
                return int(value) / 1e6
        return 0.0

    def close(self) -> None:
        """Remove the group; one that is still inhabited stays."""
        for _ in range(50):
            with contextlib.suppress(OSError):
                self._directory.rmdir()
                return
            time.sleep(0.1)


class TreeAccount:
    """Counts by walking /proc from the processes that were started."""

    kind = "proc"

    def __init__(self) -> None:
        self._roots: list[int] = []

    def command(self, argv: list[str]) -> list[str]:
        """Nothing to add."""
        return argv

    def adopt(self, pid: int) -> None:
        """Take a root of the tree."""
        self._roots.append(pid)

    def pids(self) -> list[int]:
        """The roots and all below them."""
        return list(self._tree())

    def cpu_seconds(self) -> float:
        """Own time and that of reaped children, over the whole tree."""
        return sum(self._tree().values())

    def close(self) -> None:
        """Nothing was made."""

    def _tree(self) -> dict[int, float]:
        children: dict[int, list[int]] = {}
        seconds: dict[int, float] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                # proc(5): fields after the name, which is in parentheses and may hold anything
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                pid = int(entry.name)
                children.setdefault(int(fields[1]), []).append(pid)
                seconds[pid] = sum(int(ticks) for ticks in fields[11:15]) / _TICKS
        found: dict[int, float] = {}
        waiting = list(self._roots)
        while waiting:
            pid = waiting.pop()
            if pid in seconds and pid not in found:
                found[pid] = seconds[pid]
                waiting += children.get(pid, [])
        return found


def open_account(name: str) -> Account:
    """A control group called name if one can be made, else the process tree."""
    parent = _own_cgroup()
    if parent is not None:
        with contextlib.suppress(OSError):
            account = CgroupAccount(parent / f"filterrelay-bench-{os.getpid()}-{name}")
            if (parent / f"filterrelay-bench-{os.getpid()}-{name}" / "cpu.stat").exists():
                return account
            account.close()
    return TreeAccount()


def proportional_memory(pids: list[int]) -> int:
    """Bytes of memory in use, pages that processes share counted once (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
                    break
    return total


def _own_cgroup() -> Path | None:
    """This process's own directory in the cgroup v2 tree."""
    mount = None
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            mount = Path(where)
    if mount is None:
        return None
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            return mount / path.lstrip("/")
    return None

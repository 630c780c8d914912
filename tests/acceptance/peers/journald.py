"""systemd-journald in a mount namespace of its own, with a journal in memory."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import Process, run, wait_until, workplace

PROGRAM = "/lib/systemd/systemd-journald"
_SETTINGS = "[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitBurst=0\n"
_SOCKET = "run/systemd/journal/socket"
# The namespace has its own /run and /dev/log; the machine's isn't touched.
_START = f"""\
mount -t tmpfs none /run
mkdir -p /run/systemd/journald.conf.d /run/log/journal /run/dev/shm
for device in null urandom; do
    touch /run/dev/$device
    mount --bind /dev/$device /run/dev/$device
done
ln -s /run/systemd/journal/dev-log /run/dev/log
mount --rbind /run/dev /dev
cp "$0" /run/systemd/journald.conf.d/test.conf
exec {PROGRAM}
"""


@dataclass(frozen=True)
class Journald:
    """A running journald."""

    process: Process

    @property
    def root(self) -> Path:
        """Its file system as other processes see it."""
        return Path(f"/proc/{self.process.pid}/root")

    @property
    def socket(self) -> Path:
        """Where entries are sent."""
        return self.root / _SOCKET

    @property
    def inside(self) -> Sequence[str]:
        """What starts a command beside it."""
        return ("nsenter", f"--target={self.process.pid}", "--mount", "--wdns=/")

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """The entries that have all of these fields, as FIELD=value."""
        run([*self.inside, "journalctl", "--sync"])
        done = run([*self.inside, "journalctl", "-o", "json", "--all", "--no-pager", *matches])
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def run_journald() -> Iterator[Journald]:
    """A journald; it ends with the test, and nothing of its journal is left."""
    with workplace("journald") as directory:
        settings = directory / "journald.conf"
        settings.write_text(_SETTINGS)
        unshare = ["unshare", "--mount", "--propagation", "private"]
        command = [*unshare, "sh", "-ec", _START, str(settings)]
        process = Process(command, directory / "log")
        journald = Journald(process)
        try:
            wait_until(journald.socket.exists, f"journald's socket; {process.output()}")
            yield journald
        finally:
            process.kill_group()

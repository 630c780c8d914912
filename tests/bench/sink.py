"""The upstream: Postfix's smtp-sink, whose running counters say what was delivered, and when."""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.bench.errors import MissingProgram, RunFailed

_COUNTERS = re.compile(rb"mesg=(\d+)\s")
_LOOK_EVERY = 0.005  # seconds; how exactly the last delivery is timed
_START_AT_MOST = 5.0  # seconds
_USER = "postfix"  # whom smtp-sink becomes; it refuses to be root
_PIPE_SIZE = 1024 * 1024  # bytes, so that a late look never holds up the sink


class Sink:
    """One smtp-sink that takes everything and counts it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.count = 0
        self._process = process
        self._tail = b""

    @classmethod
    def start(cls, port: int, keep_in: Path | None = None) -> Self:
        """Start a sink on a loopback port. keep_in: a new directory for a file a message."""
        program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise MissingProgram("smtp-sink", "postfix")
        options = ["-c", "-m", "1000"]
        if keep_in is not None:
            keep_in.mkdir()
            options += ["-d", f"{keep_in}/message."]
        if os.geteuid() == 0:
            options += ["-u", _USER]
            if keep_in is not None:
                shutil.chown(keep_in, _USER)
        process = subprocess.Popen(
            [program, *options, f"127.0.0.1:{port}", "1000"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        os.set_blocking(process.stdout.fileno(), False)
        sink = cls(process)
        sink._await_listening(port)
        return sink

    def _await_listening(self, port: int) -> None:
        """Until it takes connections: Postfix would put off for minutes what comes before."""
        deadline = time.monotonic() + _START_AT_MOST
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError as error:
                if time.monotonic() > deadline:
                    self.stop()
                    raise RunFailed(f"smtp-sink did not start: {error}") from error
                time.sleep(_LOOK_EVERY)
            else:
                return

    def look(self) -> int:
        """Read the counters; returns how many messages it has taken since its start."""
        assert self._process.stdout is not None
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._process.stdout.fileno(), _PIPE_SIZE):
                self._tail += chunk
        found = None
        for found in _COUNTERS.finditer(self._tail):  # noqa: B007 - the last one is wanted
            pass
        if found is not None:
            self.count = int(found[1])
            self._tail = self._tail[found.end() :]
        return self.count

    async def reach(self, count: int, quiet_for: float) -> float:
        """Wait for the count-th message; returns the monotonic time of its delivery.

        quiet_for: seconds without any delivery after which the wait fails.
        """
        moved, last = time.monotonic(), self.count
        while self.look() < count:
            now = time.monotonic()
            if self._process.poll() is not None:
                raise RunFailed("smtp-sink ended")
            if self.count != last:
                moved, last = now, self.count
            if now - moved > quiet_for:
                raise RunFailed(f"{count - self.count} messages did not arrive at the sink")
            await asyncio.sleep(_LOOK_EVERY)
        return time.monotonic()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

"""Next hops on loopback addresses, in a process of their own: some take all mail, some hang."""

import asyncio
import mmap
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Self, cast

import uvloop

from tests.bench.errors import RunFailed

_COUNT = struct.Struct("=Q")
_LOOK_EVERY = 0.005  # seconds; how exactly the last delivery is timed


def address(number: int) -> str:
    """Where the destination of that number listens."""
    return f"127.20.{number // 250}.{number % 250 + 1}"


class _Server(asyncio.Protocol):
    """One connection. hangs: it says nothing more after the greeting."""

    def __init__(self, count: mmap.mmap, *, hangs: bool) -> None:
        self._count = count
        self._hangs = hangs
        self._buffer = b""
        self._in_data = False
        self._transport = asyncio.Transport()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.write(b"220 destination\r\n")

    def data_received(self, data: bytes) -> None:
        """Answers each command, and each message with a count of one more."""
        if self._hangs:
            return
        self._buffer += data
        answers = []
        while True:
            end = b"\r\n.\r\n" if self._in_data else b"\r\n"
            line, found, rest = self._buffer.partition(end)
            if not found:
                break
            self._buffer = rest
            answers.append(self._answer(line))
        self._transport.write(b"".join(answers))

    def _answer(self, line: bytes) -> bytes:
        if self._in_data:
            self._in_data = False
            (count,) = _COUNT.unpack_from(self._count)
            _COUNT.pack_into(self._count, 0, count + 1)
            return b"250 2.0.0 Ok\r\n"
        match line[:4].upper():
            case b"EHLO":
                return b"250-destination\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
            case b"DATA":
                self._in_data = True
                return b"354 Go on\r\n"
            case _:
                return b"250 2.0.0 Ok\r\n"


async def _serve(file: Path, port: int, number: int, hanging: int) -> None:
    """Listens on all addresses; the last ones hang. Ends with standard input."""
    loop = asyncio.get_running_loop()
    with file.open("r+b") as shared, mmap.mmap(shared.fileno(), _COUNT.size) as count:
        for each in range(number):
            hangs = each >= number - hanging
            server = partial(_Server, count, hangs=hangs)
            await loop.create_server(server, address(each), port, backlog=512)
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


class Destinations:
    """The process, seen from the benchmark."""

    def __init__(self, process: subprocess.Popen[bytes], count: mmap.mmap) -> None:
        self._process = process
        self._count = count

    @classmethod
    def start(cls, directory: Path, port: int, number: int, hanging: int) -> Self:
        """So many destinations, the last ones of which hang."""
        file = directory / "delivered"
        file.write_bytes(bytes(_COUNT.size))
        with file.open("r+b") as shared:
            count = mmap.mmap(shared.fileno(), _COUNT.size)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.destinations",
             str(file), str(port), str(number), str(hanging)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RunFailed("the destinations didn't start")
        return cls(process, count)

    def look(self) -> int:
        """How many messages they have taken."""
        (count,) = _COUNT.unpack_from(self._count)
        return int(count)

    async def reach(self, count: int, quiet_for: float) -> float:
        """Waits for the count-th message; returns the monotonic time of its delivery.

        quiet_for: seconds without any delivery after which the wait fails.
        """
        moved, last = time.monotonic(), self.look()
        while (seen := self.look()) < count:
            now = time.monotonic()
            if seen != last:
                moved, last = now, seen
            if now - moved > quiet_for:
                raise RunFailed(f"{count - seen} messages did not arrive at the destinations")
            await asyncio.sleep(_LOOK_EVERY)
        return time.monotonic()

    def stop(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(5)
        self._count.close()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), *(int(each) for each in sys.argv[2:])))

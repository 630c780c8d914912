"""The load generator: a process of its own that sends what it is told, a job a line.

It reads a JSON object a line from standard input and answers each with one. `LoadProcess` is the
other end of that.
"""

import asyncio
import json
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import uvloop

from tests.bench import site
from tests.bench.client import Client, Refused
from tests.bench.errors import BenchError
from tests.bench.messages import Sending, build_pool

_RETRY_AFTER = 0.5  # seconds a client waits after a 4xx
_TIME = 150.0  # seconds for one job; several times what the slowest relay needs
_RECIPIENTS = 40


@dataclass(frozen=True, slots=True)
class Job:
    """What to send, and where."""

    port: int
    size: int
    messages: int
    sessions: int
    kept: bool
    submission: bool
    proxied: bool
    seed: int


@dataclass(slots=True)
class Sent:
    """What came of a job. Times are of the monotonic clock, in seconds."""

    started: float = 0.0
    ended: float = 0.0
    replies: list[float] = field(default_factory=list)  # final dot to reply, seconds
    deferrals: int = 0  # times that a 4xx made a client come again
    failures: list[str] = field(default_factory=list)


class _Senders:
    """The sessions of one job, which share its messages."""

    def __init__(self, job: Job, pool: list[Sending], tls: ssl.SSLContext) -> None:
        self._job = job
        self._pool = pool
        self._tls = tls if job.submission else None
        self._left = list(range(job.messages))[::-1]
        self.sent = Sent()

    async def run(self) -> Sent:
        """Send everything, or what can be sent in the time that a job has."""
        self.sent.started = time.monotonic()
        try:
            async with asyncio.timeout(_TIME), asyncio.TaskGroup() as sessions:
                for _ in range(self._job.sessions):
                    sessions.create_task(self._session())
        except TimeoutError:
            missing = self._job.messages - len(self.sent.replies)
            self.sent.failures += [f"not taken within {_TIME:.0f} s"] * missing
        self.sent.ended = time.monotonic()
        return self.sent

    async def _session(self) -> None:
        client: Client | None = None
        while self._left:
            number = self._left.pop()
            client, done = await self._try_once(client, number)
            while not done:
                self.sent.deferrals += 1
                await asyncio.sleep(_RETRY_AFTER)
                client, done = await self._try_once(client, number)
        if client is not None:
            await client.quit()

    async def _try_once(self, client: Client | None, number: int) -> tuple[Client | None, bool]:
        """One attempt. Returns the connection to go on with, and whether the message is done."""
        sending = self._pool[number % len(self._pool)]
        header = sending.with_id(f"{self._job.seed}.{number}.{time.monotonic_ns()}")
        recipient = f"someone{number % _RECIPIENTS}@{site.RECIPIENT_DOMAIN}"
        try:
            if client is None:
                client = await Client.connect(self._job.port, self._tls, proxied=self._job.proxied)
            self.sent.replies.append(await client.send(recipient, header, sending.content))
            if not self._job.kept:
                await client.quit()
                client = None
        except Refused as refused:
            if client is not None:
                client.close()
            if not refused.temporary:
                self.sent.failures.append(str(refused))
            return None, not refused.temporary
        except OSError as error:
            self.sent.failures.append(f"{type(error).__name__}: {error}")
            return None, True
        return client, True


async def _serve(key: bytes) -> None:
    """Answer jobs until standard input ends."""
    loop = asyncio.get_running_loop()
    pools: dict[int, list[Sending]] = {}
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE  # loopback, and a certificate made a minute ago
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        job = Job(**json.loads(line))
        if job.size not in pools:
            count = max(1, min(40, 4_000_000 // job.size))
            pools[job.size] = build_pool(job.size, count, job.size, key)
        if job.messages:
            sent = await _Senders(job, pools[job.size], tls).run()
        else:
            sent = Sent()
        print(json.dumps(asdict(sent)), flush=True)


class LoadProcess:
    """The load generator, seen from the benchmark."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, key: Path) -> Self:
        """Start it. key: the DKIM key that signs the messages beforehand."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.load", str(key),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
        )  # fmt: skip
        return cls(process)

    async def prepare(self, size: int) -> None:
        """Have the messages of a size made now, so that no run waits for it."""
        await self.send(Job(0, size, 0, 0, kept=True, submission=False, proxied=False, seed=0))

    async def send(self, job: Job) -> Sent:
        """Run a job to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line:
            raise BenchError("the load generator ended")
        values: dict[str, Any] = json.loads(line)
        return Sent(**values)

    async def stop(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]).read_bytes()))

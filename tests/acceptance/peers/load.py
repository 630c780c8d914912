"""Clients that send small messages without a pause, and note what was promised to them."""

import asyncio
import contextlib
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .conversation import Closed, Conversation, connect
from .process import wait_until
from .sink import Sink

_TAG = re.compile(rb"X-Load: (\S+)\r\n")
_RUNS = itertools.count()
_PER_CONNECTION = 5  # messages, then a new connection


def arrived(sink: Sink) -> list[str]:
    """The tags of all load that the sink has, in order, duplicates too."""
    return [found[1].decode() for a in list(sink.arrivals) if (found := _TAG.search(a.message))]


class Load:
    """Some clients at work in a thread.

    acknowledged: tags of the messages answered 250. refusals: other replies to
    them. broken: each connection that could not be made or broke off, and the
    last replies on it.
    """

    def __init__(self, port: int, clients: int, octets: int, pause: float) -> None:
        self.acknowledged: list[str] = []
        self.refusals: list[str] = []
        self.broken: list[str] = []
        self._port = port
        self._clients = clients
        self._pause = pause
        self._text = b"x" * 70 + b"\r\n"
        self._lines = max(1, octets // len(self._text))
        self._run = next(_RUNS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="load")

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the messages under way."""
        self._stopping.set()
        self._thread.join(60)

    def wait_for(self, count: int, seconds: float = 30.0) -> None:
        """Returns once so many more messages are acknowledged."""
        goal = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= goal, f"{count} acknowledged", seconds)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._clients):
                group.create_task(self._client(number))

    async def _client(self, number: int) -> None:
        for tag in (f"r{self._run}c{number}m{i}" for i in itertools.count(0, _PER_CONNECTION)):
            if self._stopping.is_set():
                return
            said: list[str] = []
            try:
                async with connect(self._port) as conversation:
                    await self._converse(conversation, tag, said)
            except (Closed, OSError, TimeoutError) as error:
                self.broken.append(f"{error!r} after {said[-3:]}")
                await asyncio.sleep(0.02)  # the door is shut just now
            await asyncio.sleep(self._pause)

    async def _converse(self, conversation: Conversation, tag: str, said: list[str]) -> None:
        greeting = await conversation.read()
        said.append(str(greeting))
        if greeting.code != 220:
            self.refusals.append(str(greeting))
            return
        hello = await conversation.ask(b"EHLO client.office.example")
        said.append(str(hello))
        if hello.code != 250:
            self.refusals.append(str(hello))
            return
        for part in range(_PER_CONNECTION):
            if self._stopping.is_set():
                break
            name = f"{tag}p{part}"
            answer = await conversation.deliver(
                "load@office.example", [f"{name}@partner.example"], self._message(name)
            )
            said.append(str(answer))
            if answer.code == 250:
                self.acknowledged.append(name)
            else:
                self.refusals.append(str(answer))
                return
            await asyncio.sleep(self._pause)
        with contextlib.suppress(Closed):
            await conversation.ask(b"QUIT")

    def _message(self, tag: str) -> bytes:
        header = f"X-Load: {tag}\r\nFrom: <load@office.example>\r\nSubject: load\r\n\r\n"
        return header.encode() + self._text * self._lines


@contextmanager
def under_load(
    port: int, *, clients: int = 4, octets: int = 2000, pause: float = 0.0
) -> Iterator[Load]:
    """Load on a door without a login, ended at the block's end.

    pause: seconds that a client leaves between its messages, and its connections.
    """
    load = Load(port, clients, octets, pause)
    load.start()
    try:
        yield load
    finally:
        load.stop()

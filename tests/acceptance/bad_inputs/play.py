"""Plays cases against a door, many at once, and says what went wrong in each."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from ..peers.conversation import Answer, Closed, Conversation, connect, trusting_context
from ..peers.sink import Sink
from .case import Case, HalfClose, Hear, HearAll, Pause, Say, Send, StartTls, Step

_AT_ONCE = 16
_TELLS_TOO_MUCH = re.compile(
    r"Traceback|\b[A-Z]\w*[a-z]\w*(?:Error|Exception)\b| at 0x[0-9a-f]|File \"|\.py\b"
)
_UNCLEAN = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
_TAG = re.compile(rb"t\d{4}z")
_NORMAL = b"From: <after@office.example>\r\nSubject: after {tag}\r\n\r\nAll is well.\r\n"


class _Done(Exception):
    """The rest of the script is not needed."""


@dataclass
class Result:
    """What became of a case. said: the dialogue in short, for the test's report."""

    faults: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    acknowledged: int = 0
    followed: bool = False


def _allows(expects: str, code: int) -> bool:
    return any(str(code).startswith(one.rstrip("!")) for one in expects.split())


def _ends(expects: str, code: int) -> bool:
    return any(one.endswith("!") and str(code).startswith(one[:-1]) for one in expects.split())


class Player:
    """One case on one connection."""

    def __init__(self, case: Case, tag: str, conversation: Conversation) -> None:
        self.result = Result()
        self._case = case
        self._tag = tag.encode()
        self._conversation = conversation

    async def play(self) -> None:
        """The whole script and its ending; faults go into the result."""
        try:
            await self._play_steps()
            await self._end()
        except Closed:
            if self._case.ending not in {"closed", "either"}:
                self.result.faults.append("the server closed the connection")
        except TimeoutError:
            self.result.faults.append("no reply in time")

    async def _play_steps(self) -> None:
        hello = (Hear("220"), Say(b"EHLO client.office.example", "250")) if self._case.hello else ()
        try:
            for step in (*hello, *self._case.steps):
                await self._take(step)
        except _Done:
            pass  # the script itself said that the rest is not needed

    async def _end(self) -> None:
        match self._case.ending:
            case "quit" | "either":
                await self._take(Say(b"QUIT", "221"))
                if not await self._conversation.is_closed():
                    self.result.faults.append("QUIT did not end the session")
            case "closed":
                await self._wait_for_the_end()
            case "hang up":
                pass

    async def _wait_for_the_end(self) -> None:
        """Reads on; what is no reply, such as a TLS alert, doesn't matter any more."""
        try:
            while True:
                answer = await self._conversation.read()
                self.result.said.append(f"S {str(answer)[:200]!r}")
                if answer.code // 100 in {2, 3} and answer.code not in {220, 221}:
                    self.result.faults.append(f"{answer} where only the end is due")
        except TimeoutError:
            self.result.faults.append("the server left the connection open")

    async def _take(self, step: Step) -> None:
        match step:
            case Say(line, expects):
                await self._send(line + b"\r\n")
                to_hello = line[:4].upper() in {b"EHLO", b"HELO"}
                if _ends(expects, (await self._hear(expects, to_hello)).code):
                    raise _Done
            case Send(octets, times):
                for _ in range(times):
                    await self._send(octets)
            case Hear(expects, accepts):
                answer = await self._hear(expects)
                self.result.acknowledged += accepts and answer.code == 250
                if _ends(expects, answer.code):
                    raise _Done
            case HearAll():
                await self._hear_all(step)
            case StartTls():
                await self._conversation.start_tls(trusting_context())
            case HalfClose():
                self._conversation.half_close()
            case Pause(seconds):
                await asyncio.sleep(seconds)  # what is tested is time itself
            case _:
                assert_never(step)

    async def _send(self, octets: bytes) -> None:
        filled = octets.replace(b"{tag}", self._tag)
        self.result.said.append(f"C {filled[:120]!r}")
        await self._conversation.send(filled)

    async def _hear(self, expects: str, to_hello: bool = False) -> Answer:
        answer = await self._conversation.read()
        self.result.said.append(f"S {str(answer)[:200]!r}")
        self.result.faults += faults_of(answer, to_hello=to_hello)
        if not _allows(expects, answer.code):
            self.result.faults.append(f"{str(answer)!r} where {expects!r} is due")
        return answer

    async def _hear_all(self, step: HearAll) -> None:
        for _ in range(step.most):
            answer = await self._hear(step.expects, step.to_hello)
            if answer.code in {221, 421}:
                if not await self._conversation.is_closed():
                    self.result.faults.append(f"still open after {answer}")
                raise Closed
        self.result.faults.append(f"more than {step.most} replies")


def faults_of(answer: Answer, *, to_hello: bool = False) -> list[str]:
    """What is wrong with the form of a reply, whatever it says."""
    faults = list(answer.faults)
    coded = answer.code >= 400 and not to_hello
    if coded and not answer.enhanced.startswith(str(answer.code)[0]):
        faults.append(f"no enhanced code of its class in {str(answer)!r}")
    if found := _TELLS_TOO_MUCH.search(answer.text):
        faults.append(f"{found[0]!r} is not for the client, in {str(answer)!r}")
    return faults


async def _follow_up(port: int, client: str, tag: str) -> list[str]:
    """A normal message on a new connection from the same client: it must be taken."""
    try:
        async with connect(port, client=client) as conversation:
            await conversation.read()
            await conversation.ask(b"EHLO client.office.example")
            answer = await conversation.deliver(
                "after@office.example",
                ["after@partner.example"],
                _NORMAL.replace(b"{tag}", tag.encode()),
            )
    except (Closed, TimeoutError, OSError) as error:
        return [f"a normal message afterwards found no door: {error!r}"]
    return [] if answer.code == 250 else [f"a normal message afterwards got {answer}"]


async def _play_one(case: Case, number: int, ports: Mapping[str, int]) -> Result:
    """The case and its follow-up, both from a client address of their own."""
    client = f"127.1.{number // 250}.{number % 250 + 1}"
    tag = f"t{number:04}z"
    listener, _, plain = case.door.partition(" in ")
    tls = trusting_context() if listener == "smtps" and not plain else None
    try:
        async with connect(ports[listener], client=client, tls=tls) as conversation:
            player = Player(case, tag, conversation)
            await player.play()
        result = player.result
    except (Closed, OSError) as error:
        result = Result([f"no connection: {error!r}"])
    problems = await _follow_up(ports["open"], client, f"t{number + 5000:04}z")
    result.faults += problems
    result.followed = not problems
    return result


async def play_all(cases: Sequence[Case], ports: Mapping[str, int]) -> list[Result]:
    """All cases, in the order given, a bounded number at once."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def guarded(case: Case, number: int) -> Result:
        async with gate:
            return await _play_one(case, number, ports)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(guarded(case, n)) for n, case in enumerate(cases)]
    return [task.result() for task in tasks]


def check_arrivals(cases: Sequence[Case], results: Sequence[Result], sink: Sink) -> None:
    """Adds to the results what is wrong with the mail that came out upstream."""
    counts: dict[str, int] = {}
    smuggled: set[str] = set()
    unclean: set[str] = set()
    for arrival in sink.arrivals:
        envelope = f"{arrival.sender} {' '.join(arrival.recipients)}".encode()
        found = {match.decode() for match in _TAG.findall(envelope + b" " + arrival.message)}
        for tag in found:
            counts[tag] = counts.get(tag, 0) + 1
        if b"evil-" in envelope:
            smuggled |= found
        if _UNCLEAN.search(arrival.message):
            unclean |= found
    for number, (case, result) in enumerate(zip(cases, results, strict=True)):
        tag, after = f"t{number:04}z", f"t{number + 5000:04}z"
        arrived = counts.get(tag, 0)
        if tag in smuggled:
            result.faults.append("a smuggled mail reached the upstream")
        if tag in unclean:
            result.faults.append("a bare line end or NUL went upstream")
        if arrived not in case.arrives:
            result.faults.append(f"{arrived} messages arrived where {case.arrives} may")
        if arrived < result.acknowledged:
            result.faults.append(f"{result.acknowledged} acknowledged, {arrived} arrived")
        if result.followed and counts.get(after, 0) != 1:
            result.faults.append(f"the message after it arrived {counts.get(after, 0)} times")

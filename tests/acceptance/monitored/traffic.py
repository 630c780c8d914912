"""Mail of every outcome, sent as clients send it, and counted by what must become of it."""

import asyncio
import contextlib
import itertools
import math
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..peers.clamd import EICAR
from ..peers.conversation import (
    Answer,
    Closed,
    Conversation,
    connect,
    greeted,
    trusting_context,
)
from ..peers.process import children, wait_until
from ..peers.program import USERS
from .office import DESTINATIONS, Office

ANN, BOB = USERS
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
GONE, BUSY, LATER = (f"{name}@partner.example" for name in ("gone", "busy", "later"))
CLIENT = "127.0.0.9"  # a stranger, whom no network of ours trusts
CROWD = "127.0.0.10"  # one who comes too often; not to a door that takes XCLIENT from it
OVERSIZED = (b"x" * 70 + b"\r\n") * 20_000  # octets, more than the office takes
AT_REST = (
    'sum(increase(filterrelay_deliveries_total{result!="deferred"}[5s]))'
    " + sum(increase(filterrelay_reports_total[5s])) == 0"
)
SHADY = b"MAKE MONEY FAST!!! You have WON 1,000,000 dollars, act now, click here\r\n"  # scores some


@dataclass
class Tally:
    """What was sent. messages: by verdict; refusals: by hook; logins: by result.

    recipients: of the mail that waits for delivery by us. bounced: those among them who never
    get it.
    """

    messages: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    logins: Counter[str] = field(default_factory=Counter)
    recipients: int = 0
    bounced: int = 0


class Traffic:
    """Sends mail through the office's doors. tally: all that was sent so far."""

    def __init__(self, office: Office) -> None:
        self.tally = Tally()
        self._office = office
        self._ports = office.program.ports
        self._numbers = itertools.count(1)

    def prepare(self) -> None:
        """Has next hops refuse one mailbox, and the smart host put off the mail for two others."""
        self._office.behind.answers[GONE.encode()] = b"550 5.1.1 No such mailbox"
        self._office.home.answers.update(
            {
                GONE.encode(): b"550 5.1.1 No such mailbox",
                BUSY.encode(): b"452 4.2.2 Mailbox full",
                LATER.encode(): b"450 4.2.0 Greylisted",
            }
        )

    def let_in(self) -> None:
        """From now on the greylisted mailbox takes mail."""
        del self._office.home.answers[LATER.encode()]

    async def every_outcome(self) -> None:
        """A few of everything. It takes some seconds."""
        for each in (self.ordinary, *self._rarer()):
            await each()

    async def mixed(self, seconds: float) -> None:
        """Ordinary mail, and all else now and then, at a pace that changes."""
        loop, chance = asyncio.get_running_loop(), random.Random(1)
        end = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            while (left := end - loop.time()) > 0:
                await self.ordinary()
                if chance.random() < 0.2:
                    group.create_task(chance.choice(self._rarer())())
                await asyncio.sleep(0.1 + 0.4 * abs(math.sin(left / 20)))

    def _rarer(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        return self.judged, self.refused_early, self.abused, self.delivered_with_care

    async def ordinary(self) -> None:
        """Mail that nobody minds, through every door, and straight to several destinations."""
        for login, door in ((ANN, "submission"), (BOB, "smtps")):
            async with self._logged_in(door, login) as client:
                for _ in range(random.randint(1, 3)):
                    await self._send(client, login, ["user@partner.example"])
        async with greeted(self._ports["open"]) as client:
            await self._send(client, ANN, [f"user@{name}" for name in DESTINATIONS])
            await self._send(client, ANN, ["user@guarded.example"])
            await self._send(client, ANN, ["eve@partner.example"], body=SHADY)
            await client.ask(b"QUIT")
        async with greeted(self._ports["proxy"]) as client:
            await self._send(client, "eve@partner.example", [ANN])
        async with greeted(self._office.milter.ports["smtp"]) as client:
            await self._send(client, "eve@partner.example", [ANN], ours=False)

    async def judged(self) -> None:
        """A message for each verdict of a filter, and one that nobody would read."""
        orders = (("defer", 450), ("quarantine", 250), ("discard", 250))
        async with self._logged_in("submission", ANN) as client:
            for verdict, code in orders:
                await self._send(client, ANN, verdict=verdict, code=code, order=verdict)
            await self._send(client, ANN, verdict="reject", code=550, body=GTUBE)
            await self._send(client, ANN, verdict="reject", code=550, body=EICAR + b"\r\n")
            await self._send(client, ANN, verdict="reject", code=552, body=OVERSIZED)
            announced = await client.ask(f"MAIL FROM:<{ANN}> SIZE={len(OVERSIZED)}".encode())
            assert announced.code == 552, announced

    async def refused_early(self) -> None:
        """A refusal at each stage before the message, by a filter and by the relay's own rules."""
        port = self._ports["open"]
        async with greeted(port) as client:
            await self._refused(client, b"MAIL FROM:<refused@office.example>", "on_sender")
            await client.ask(f"MAIL FROM:<{ANN}>".encode())
            await self._refused(client, b"RCPT TO:<refused@partner.example>", "on_recipient")
            await self._refused(client, b"EHLO refused.example", "on_helo")
        async with greeted(port) as client:
            await self._refused(client, b"XCLIENT NAME=refused.example", "on_connect")
        async with greeted(self._ports["guarded"], client=CLIENT) as client:
            await client.ask(b"MAIL FROM:<eve@elsewhere.example>")
            await self._refused(client, b"RCPT TO:<user@partner.example>", "on_recipient")
        async with greeted(self._ports["proxy"]) as client:  # by the next hop behind it
            await client.ask(b"MAIL FROM:<eve@elsewhere.example>")
            await self._refused(client, f"RCPT TO:<{GONE}>".encode(), "on_recipient")

    async def abused(self) -> None:
        """Wrong passwords until the door locks, too many connections, nonsense, and hanging up."""
        async with greeted(self._ports["guarded"], client=CLIENT) as client:
            await client.ask(b"STARTTLS")
            await client.start_tls(trusting_context())
            await client.ask(b"EHLO guess.example")
            guessed = f"root{next(self._numbers)}@office.example"
            for result in ("bad", "bad", "locked"):
                answer = await client.log_in(guessed, "guess")
                assert answer.code in (454, 535), answer
                self.tally.logins[result] += 1
        async with AsyncExitStack() as stack:
            for _ in range(21):
                one_more = connect(self._ports["submission"], client=CROWD)
                with contextlib.suppress(Closed):
                    await (await stack.enter_async_context(one_more)).read()
        async with greeted(self._ports["open"]) as client:
            assert (await client.ask(b"WHAT?")).code == 500

    async def delivered_with_care(self) -> None:
        """Mail that bounces, that waits and comes, that waits on, and that meets a silent hop."""
        async with greeted(self._ports["open"]) as client:
            for recipient in (GONE, BUSY, LATER, "user@silent.example"):
                await self._send(client, ANN, [recipient])
            await client.ask(f"MAIL FROM:<{ANN}>".encode())
            await client.ask(b"RCPT TO:<user@guarded.example> NOTIFY=SUCCESS")
            await client.ask(b"DATA")
            answer = await client.ask(b"Subject: receipt\r\n\r\nText.\r\n.")
            self._note(answer, "pass", 250, 1)
            self.tally.bounced += 1

    async def come_to_rest(self) -> None:
        """Waits until nothing is delivered any longer.

        What a dying process had in hand may be delivered twice, and counted once.
        """
        await asyncio.to_thread(self._office.prometheus.wait_for, AT_REST, 60)

    async def kill_a_worker(self) -> None:
        """Kills one, and waits until another has taken its place."""
        program = self._office.program
        worker = children(program.process.pid)[0]  # the last one is the control process
        os.kill(worker, signal.SIGKILL)
        restarted = "filterrelay_worker_restarts_total"
        await asyncio.to_thread(self._office.prometheus.wait_for, f"{restarted} > 0")
        await asyncio.to_thread(wait_until, lambda: program.http("/readyz")[0] == 200, "ready")

    async def reload_twice(self) -> None:
        """Once with a file that can't be served, and once with a good one."""
        program = self._office.program
        good = program.file.read_text()
        for text, event in ((good + "\n[nonsense]\n", "reload_refused"), (good, "reloaded")):
            program.file.write_text(text)
            program.reload()
            await asyncio.to_thread(wait_until, partial(self._has_logged, event), event)

    def _has_logged(self, event: str) -> bool:
        return f'"event": "{event}"' in self._office.program.log_text()

    @asynccontextmanager
    async def _logged_in(self, door: str, login: str) -> AsyncIterator[Conversation]:
        """A client with TLS and a login."""
        tls = trusting_context()
        implicit = door == "smtps"
        async with connect(self._ports[door], tls=tls if implicit else None) as client:
            await client.read()
            await client.ask(b"EHLO client.office.example")
            if not implicit:
                await client.ask(b"STARTTLS")
                await client.start_tls(tls)
                await client.ask(b"EHLO client.office.example")
            answer = await client.log_in(login, USERS[login])
            assert answer.code == 235, answer
            self.tally.logins["ok"] += 1
            yield client

    async def _send(
        self,
        client: Conversation,
        sender: str,
        recipients: Sequence[str] = ("user@partner.example",),
        *,
        body: bytes = b"Hello.\r\n",
        order: str = "",
        verdict: str = "pass",
        code: int = 250,
        ours: bool = True,
    ) -> None:
        """One message. order: the plugin's; ours: we have to deliver it if it passes."""
        number = next(self._numbers)
        header = (
            f"From: <{sender}>\r\nTo: <{recipients[0]}>\r\nSubject: letter {number}\r\n"
            f"Date: Thu, 26 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{number}@office.example>\r\n"
        )
        if order:
            header += f"X-Do: {order}\r\n"
        answer = await client.deliver(sender, recipients, header.encode() + b"\r\n" + body)
        self._note(answer, verdict, code, len(recipients) if ours else 0)

    def _note(self, answer: Answer, verdict: str, code: int, recipients: int) -> None:
        assert answer.code == code, answer
        self.tally.messages[verdict] += 1
        if verdict == "pass":
            self.tally.recipients += recipients

    async def _refused(self, client: Conversation, line: bytes, hook: str) -> None:
        answer = await client.ask(line)
        assert answer.code >= 500, (line, answer)
        self.tally.refusals[hook] += 1

"""An intake on the bench: its parts real but for delivery, its plugins as a test wants them."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from filterrelay.chain.chain import Chain
from filterrelay.chain.loader import PluginSet
from filterrelay.chain.run import Judgement
from filterrelay.chain.step import Policy, Step
from filterrelay.intake.relaying import IntakeRules, RelayRules
from filterrelay.intake.transaction import Intake, Onward
from filterrelay.mail.edits import AddHeader
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.mail.verdict import Discard, Pass, Reject, Verdict
from filterrelay.observe.budget import MemoryBudget, Reservation
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin import Options, hook
from filterrelay.plugin.discovery import check
from filterrelay.plugin.testing import FakeClock, a_message, a_session, an_envelope
from filterrelay.settings import Listener
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.selection import Selection
from filterrelay.spool.store import Deposit, State

RAW = a_message("Hello.\n").raw
PASSED_ON = Reply(250, "2.0.0", "taken by the next hop as 4711")
USER = a_session(login="alice@office.example")


class Bench:
    """An intake over a spool in memory, with plugins that do as they are told."""

    def __init__(
        self, *filters: type[Any], signers: tuple[type[Any], ...] = (), **listener: Any
    ) -> None:
        self.clock, self.metrics = FakeClock(), Metrics(CollectorRegistry())
        self.spool = MemorySpool(self.clock)
        self.delivered: list[Deposit] = []
        self.budget = MemoryBudget(10**6)
        self.work: list[Coroutine[Any, Any, None]] = []
        plugins = PluginSet(
            filters=tuple(self._step(f) for f in filters),
            signers=tuple(self._step(s) for s in signers),
        )
        said = {"kind": "smtp", "address": "127.0.0.1:25", "from_header": "own", **listener}
        rules = {"smtp": RelayRules(Listener(name="smtp", **said), "relay.office.example")}
        self.intake = Intake(
            IntakeRules("relay.office.example", rules, received_headers=10),
            Chain(plugins, 10),
            self.spool,
            "owner",
            self._deliver,
            self.clock,
            self.metrics,
            self.work.append,
        )

    def _step(self, cls: type[Any], name: str = "") -> Step:
        plugin = check(name or cls.__name__, name or cls.__name__, cls, {})
        return Step(plugin, Policy(), self.clock, self.metrics)

    def _deliver(self, deposit: Deposit, reservation: Reservation) -> None:
        self.delivered.append(deposit)
        reservation.release()

    async def send(
        self,
        raw: bytes = RAW,
        session: Session = USER,
        envelope: Envelope | None = None,
        onward: Onward | None = None,
    ) -> Reply:
        """One message in, and what nobody waits for done."""
        reservation = self.budget.reservation()
        await reservation.grow(len(raw), timeout=0)
        reply = await self.intake.receive(
            session, envelope or an_envelope(), raw, reservation, onward
        )
        for work in self.work:
            await work
        self.work.clear()
        assert self.budget.used == 0
        return reply

    async def stored(self, state: State) -> list[Any]:
        """What lies in the spool."""
        return await self.spool.select(Selection(states=(state,)), self.clock.now())


def says(verdict: Any, hook_name: str = "on_message") -> type[Any]:
    """A plugin that answers one hook with that verdict."""

    class Says:
        def __init__(self, options: Options) -> None: ...

    async def answer(self: Any) -> Any:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    setattr(Says, hook_name, hook(answer))
    return Says


class DiscardsFor:
    """Throws away what is for one recipient, and finds something of each."""

    def __init__(self, options: Options) -> None: ...

    @hook
    async def on_recipient(self, recipient: Recipient) -> Verdict:
        if recipient.address.local == "trap":
            return Discard("a trap")
        return Pass(Finding("known", auth=(AuthResult("x-list", "pass"),)))


class Signs:
    """Signs with a header that tells what it saw."""

    def __init__(self, options: Options) -> None: ...

    @hook
    async def sign(self, message: Message) -> tuple[AddHeader, ...]:
        return (AddHeader("X-Signature", message.headers[0].name),)


class Hands:
    """A door that passes mail on itself, and says that it has."""

    def __init__(
        self,
        *,
        holds: bool = False,
        reply: Reply = PASSED_ON,
    ) -> None:
        self.holds = holds
        self.reply = reply
        self.passed: list[Judgement] = []

    async def pass_on(self, judged: Judgement) -> Reply:
        """Notes it."""
        self.passed.append(judged)
        return self.reply


async def accepted(bench: Bench, *recipients: str) -> Reply:
    """One message of a session, with the commands before it."""
    to = an_envelope("alice@office.example", *recipients)
    assert await bench.intake.on_sender(USER, replace(to, recipients=())) is None
    for recipient in to.recipients:
        assert await bench.intake.on_recipient(USER, to, recipient) is None
    return await bench.send(envelope=to)


REJECTS = says(Reject(Reply(550, "5.7.1", "We do not like it")))

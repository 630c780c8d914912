"""A spool that forgets everything when the process ends: for tests, of users' plugins too."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from filterrelay.mail.envelope import Envelope
from filterrelay.observe.clock import Clock
from filterrelay.spool.selection import Place, Search, Selection
from filterrelay.spool.store import (
    Backlog,
    Deposit,
    Depth,
    Event,
    Lease,
    NoSuchMessage,
    NotQueued,
    RecipientState,
    Settlement,
    SpoolUnavailable,
    State,
    StoredMessage,
    StoredRecipient,
    hop_of,
    recipients_due,
)

_AT_ONCE = datetime.min.replace(tzinfo=UTC)


class MemorySpool:
    """The whole Spool protocol over dictionaries; nothing is durable, nothing waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._messages: dict[str, StoredMessage] = {}
        self._bodies: dict[str, bytes] = {}
        self._events: list[Event] = []
        self._acts: list[str] = []  # messages that operators held, redirected or deleted
        self._last_turn = ""  # the hop whose mail was leased last

    async def open(self) -> None:
        """Is ready at once."""

    async def close(self) -> None:
        """Keeps its mail, so that a test may open it again."""

    async def commit(self, deposit: Deposit) -> None:
        """Takes the message."""
        message = deposit.message
        if len(message.recipients) != len(message.envelope.recipients):
            raise ValueError("each recipient of the envelope needs its delivery state")
        if message.id in self._messages:
            raise SpoolUnavailable(f"{message.id} is there already")
        self._messages[message.id] = message
        self._bodies[message.id] = deposit.body
        self._events += deposit.events

    async def lease(
        self,
        owner: str,
        now: datetime,
        until: datetime,
        limit: int,
        rooms: Mapping[str, int] | None = None,
    ) -> list[StoredMessage]:
        """Takes due messages, earliest first, so many of each next hop's."""
        waiting: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
        for message in self._messages.values():
            wake = _wake(message)
            if message.state is State.QUEUED and wake is not None and wake <= now:
                waiting[_hop(message)].append((wake, message.id))
        due: list[tuple[datetime, str]] = []
        for hop in sorted(waiting, key=lambda hop: (hop <= self._last_turn, hop)):
            room = min((rooms or {}).get(hop, limit), limit - len(due))
            due += sorted(waiting[hop])[: max(0, room)]
            if room > 0:
                self._last_turn = hop
        leased = [replace(self._messages[id_], lease=Lease(owner, until)) for _, id_ in sorted(due)]
        self._messages.update((message.id, message) for message in leased)
        return leased

    async def lease_unreached(
        self,
        owner: str,
        now: datetime,
        until: datetime,
        rooms: Mapping[str, int],
        others: int = 0,
    ) -> list[StoredMessage]:
        """Takes messages before their time that wait for a hop which couldn't be reached."""
        left: defaultdict[str, int] = defaultdict(lambda: others, rooms)
        leased = []
        for id_ in sorted(self._messages):
            message = self._messages[id_]
            hop = next((r.upstream for r in message.pending() if r.unreached), "")
            free = message.lease is None or message.lease.until <= now
            if message.state is State.QUEUED and free and hop and left[hop] > 0:
                left[hop] -= 1
                leased.append(replace(message, lease=Lease(owner, until)))
        self._messages.update((message.id, message) for message in leased)
        return leased

    async def renew(self, owner: str, ids: Sequence[str], until: datetime) -> None:
        """Prolongs leases that owner still holds."""
        for message in self._those(ids, *State):
            if message.owner == owner:
                self._messages[message.id] = replace(message, lease=Lease(owner, until))

    async def recover(self, now: datetime, alive: Sequence[str]) -> int:
        """Ends the leases of all owners but those alive; returns how many."""

        def hastened(stored: StoredRecipient) -> StoredRecipient:
            return stored if stored.attempts else replace(stored, next_attempt=now)

        orphaned = [
            message
            for message in self._messages.values()
            if message.lease and message.owner not in alive
        ]
        for message in orphaned:
            self._messages[message.id] = replace(_each_pending(message, hastened), lease=None)
        return len(orphaned)

    async def body(self, message_id: str) -> bytes:
        """The message's bytes. Raises NoSuchMessage."""
        await self.get(message_id)
        return self._bodies[message_id]

    async def bodies(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of those of the messages that are here, by ID."""
        return {message.id: self._bodies[message.id] for message in self._those(ids, *State)}

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the messages that are here, or were and weren't deleted."""
        told = [event for event in self._events if event.kind in ("received", "deleted")]
        last = {e.message_id: e.kind for e in sorted(told, key=lambda event: event.at)}
        return {id_ for id_ in ids if id_ in self._messages or last.get(id_) == "received"}

    async def begin_attempt(
        self, message_id: str, recipients: Sequence[StoredRecipient], next_attempt: datetime
    ) -> frozenset[int]:
        """Counts an attempt for these recipients and records when the next would be."""

        def begun(stored: StoredRecipient) -> StoredRecipient:
            if stored.index not in indexes:
                return stored
            return replace(
                stored,
                attempts=stored.attempts + 1,
                next_attempt=next_attempt,
                unreached=False,
            )

        indexes = await self.as_leased(message_id, recipients)
        self._messages[message_id] = _each_pending(self._messages[message_id], begun)
        return indexes

    async def as_leased(
        self, message_id: str, recipients: Sequence[StoredRecipient]
    ) -> frozenset[int]:
        """For whom begin_attempt would begin one."""
        message = await self.get(message_id)
        if message.state is not State.QUEUED:
            raise NotQueued(message_id)
        waiting = {(stored.index, stored.redirect) for stored in message.pending()}
        return frozenset(r.index for r in recipients if (r.index, r.redirect) in waiting)

    async def acts(self, after: int | None) -> tuple[Sequence[str], int]:
        """The messages held, redirected or deleted since that act, and the number of the last."""
        return [] if after is None else self._acts[after:], len(self._acts)

    async def settle(self, settlement: Settlement) -> None:
        """Records an attempt's result; the message goes when no recipient is left."""
        self._events += settlement.events
        message = self._messages.get(settlement.message_id)
        if message is None:
            return
        results = {stored.index: stored for stored in settlement.recipients}
        was = {stored.index: stored.redirect for stored in settlement.recipients}

        def settled(stored: StoredRecipient) -> StoredRecipient:
            result = results.get(stored.index)
            if result is None:
                return stored
            result = replace(result, recipient=stored.recipient, redirect=stored.redirect)
            if stored.redirect != was[stored.index]:  # during the attempt
                return replace(result, next_attempt=None, upstream=stored.upstream, unreached=False)
            return result

        message = _each_pending(message, settled)
        if settlement.release and settlement.owner in ("", message.owner):
            message = replace(message, lease=None)
        if message.pending():
            self._messages[message.id] = message
        else:
            self._drop(message.id)

    async def select(self, selection: Selection, now: datetime) -> list[StoredMessage]:
        """The messages meant, oldest first."""
        meant = [m for m in self._messages.values() if selection.means(m, now)]
        return sorted(meant, key=lambda m: (m.received, m.id))[: selection.limit]

    async def places(self, selection: Selection, now: datetime) -> list[Place]:
        """Where the messages meant stand, oldest first."""
        return [Place(m.received, m.id) for m in await self.select(selection, now)]

    async def get(self, message_id: str) -> StoredMessage:
        """One message. Raises NoSuchMessage."""
        try:
            return self._messages[message_id]
        except KeyError:
            raise NoSuchMessage(message_id) from None

    async def hold(self, ids: Sequence[str], reason: str, at: datetime) -> int:
        """Sets queued messages aside until released; returns how many."""
        messages = self._those(ids, State.QUEUED)
        for message in messages:
            held = replace(message, state=State.HELD, reason=reason, by="")
            self._messages[message.id] = held
            self._act(Event(message.id, at, "held", {"reason": reason}))
        return len(messages)

    async def release(self, ids: Sequence[str], at: datetime, *, passed: str = "") -> int:
        """Makes held or quarantined messages due now; returns how many."""
        messages = self._those(ids, State.HELD, State.QUARANTINED)
        overruled = (passed,) if passed else ()
        data = {"passed": passed} if passed else {}
        for message in messages:
            freed = replace(message, state=State.QUEUED, reason="", by="", released=at)
            freed = replace(freed, passed=(*message.passed, *overruled))
            self._messages[message.id] = _due_at(freed, at)
            self._events.append(Event(message.id, at, "released", data))
        return len(messages)

    async def release_as(
        self,
        message_id: str,
        envelope: Envelope,
        body: bytes,
        at: datetime,
        *,
        passed: str = "",
        redirect: str = "",
    ) -> None:
        """Makes a quarantined message due now, to leave with this envelope and these bytes."""
        if not self._those([message_id], State.QUARANTINED):
            raise NoSuchMessage(message_id)
        await self.release([message_id], at, passed=passed)
        self._messages[message_id] = replace(
            self._messages[message_id],
            envelope=envelope,
            recipients=recipients_due(envelope, at, redirect),
            size=len(body),
        )
        self._bodies[message_id] = body

    async def retry(self, ids: Sequence[str], at: datetime) -> int:
        """Makes queued messages due now; returns how many."""
        messages = self._those(ids, State.QUEUED)
        for message in messages:
            self._messages[message.id] = _due_at(message, at)
            self._events.append(Event(message.id, at, "retried", {}))
        return len(messages)

    async def redirect(self, ids: Sequence[str], upstream: str, at: datetime) -> int:
        """Has queued and held messages go elsewhere; returns how many."""
        messages = self._those(ids, State.QUEUED, State.HELD)

        def redirected(stored: StoredRecipient) -> StoredRecipient:
            hop = hop_of(upstream)
            return replace(
                stored, redirect=upstream, upstream=hop, next_attempt=at, unreached=False
            )

        for message in messages:
            self._messages[message.id] = _each_pending(message, redirected)
            self._act(Event(message.id, at, "redirected", {"upstream": upstream}))
        return len(messages)

    async def delete(self, ids: Sequence[str], at: datetime) -> int:
        """Removes messages without telling anybody; returns how many."""
        messages = self._those(ids, *State)
        for message in messages:
            self._drop(message.id)
            self._act(Event(message.id, at, "deleted", {}))
        return len(messages)

    async def record(self, events: Sequence[Event]) -> None:
        """Adds events to the trace."""
        self._events += events

    async def events(self, message_id: str) -> list[Event]:
        """The message's events, oldest first; of messages that are gone, too."""
        found = [event for event in self._events if event.message_id == message_id]
        return sorted(found, key=lambda event: event.at)

    async def probe(self) -> None:
        """Nothing keeps it from taking mail."""

    async def search(self, search: Search) -> list[Event]:
        """The `received` events of the messages meant, newest first."""
        meant = [event for event in reversed(self._events) if search.means(event)]
        return sorted(meant, key=lambda event: event.at, reverse=True)[: search.limit]

    async def depth(self) -> Depth:
        """How much lies here, and how old it is."""
        times = {
            state: [m.received for m in self._messages.values() if m.state is state]
            for state in State
        }
        return Depth(
            messages={state: len(received) for state, received in times.items()},
            oldest={state: min(received, default=None) for state, received in times.items()},
        )

    async def backlogs(self, *, words: bool = False) -> list[Backlog]:
        """What is queued and held by next hop, the most messages first."""
        groups: defaultdict[tuple[str, State], list[StoredMessage]] = defaultdict(list)
        for message in self._messages.values():
            if message.state is not State.QUARANTINED:
                groups[_hop(message), message.state].append(message)
        found = [
            Backlog(
                *(hop, state, len(each), min(m.received for m in each)),
                _usual_words(each) if words else "",
            )
            for (hop, state), each in groups.items()
        ]
        return sorted(found, key=lambda backlog: -backlog.messages)

    async def expire(self, quarantined_before: datetime, events_before: datetime) -> int:
        """Drops old quarantined messages and old events of messages that are gone."""
        overdue = [
            message.id
            for message in self._messages.values()
            if message.state is State.QUARANTINED and message.received < quarantined_before
        ]
        for message_id in overdue:
            self._drop(message_id)
            self._act(Event(message_id, self._clock.now(), "deleted", {"reason": "expired"}))
        self._events = [
            event
            for event in self._events
            if event.at >= events_before or event.message_id in self._messages
        ]
        return len(overdue)

    def _those(self, ids: Sequence[str], *states: State) -> list[StoredMessage]:
        found = (self._messages.get(message_id) for message_id in dict.fromkeys(ids))
        return [message for message in found if message and message.state in states]

    def _act(self, event: Event) -> None:
        self._events.append(event)
        self._acts.append(event.message_id)

    def _drop(self, message_id: str) -> None:
        del self._messages[message_id], self._bodies[message_id]


def _each_pending(
    message: StoredMessage, change: Callable[[StoredRecipient], StoredRecipient]
) -> StoredMessage:
    return replace(
        message,
        recipients=tuple(
            change(stored) if stored.state is RecipientState.QUEUED else stored
            for stored in message.recipients
        ),
    )


def _due_at(message: StoredMessage, at: datetime) -> StoredMessage:
    return _each_pending(message, lambda stored: replace(stored, next_attempt=at))


def _usual_words(messages: Sequence[StoredMessage]) -> str:
    """The most frequent reason, or last reply."""
    said = Counter(m.reason or r.last_reply for m in messages for r in m.pending())
    del said[""]
    return said.most_common(1)[0][0] if said else ""


def _hop(message: StoredMessage) -> str:
    """The one that it waits for, if it is only one."""
    hops = message.hops()
    return next(iter(hops)) if len(hops) == 1 else ""


def _wake(message: StoredMessage) -> datetime | None:
    """When the next one may take it: not before a recipient is due, nor before the lease ends."""
    due = min((r.next_attempt or _AT_ONCE for r in message.pending()), default=None)
    if due is None or message.lease is None:
        return due
    return max(due, message.lease.until)

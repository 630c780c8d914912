"""The spool in an SQLite file, shared by all processes of one machine."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from filterrelay.errors import FilterRelayError
from filterrelay.mail.envelope import Envelope
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool import codec, database, operations, questions
from filterrelay.spool.bodies import BodyFiles
from filterrelay.spool.changes import Change, Insertion, Recording, Settling
from filterrelay.spool.checkpoint import shorten
from filterrelay.spool.database import STEPS, translated
from filterrelay.spool.free_space import FreeSpace
from filterrelay.spool.housekeeping import (
    KEEP_FREE,
    EventExpiry,
    QuarantineExpiry,
    Shrinking,
    T,
    compact,
    work_off,
)
from filterrelay.spool.reader import Reader
from filterrelay.spool.selection import Place, Search, Selection
from filterrelay.spool.statements import Row
from filterrelay.spool.store import (
    Backlog,
    Deposit,
    Depth,
    Event,
    NoSuchMessage,
    Settlement,
    SpoolUnavailable,
    State,
    StoredMessage,
    StoredRecipient,
    recipients_due,
)
from filterrelay.spool.threads import Threads
from filterrelay.spool.writer import PATIENCE, TRACE_PATIENCE, Writer

_log: Any = structlog.get_logger("filterrelay.spool")

LARGE = 256 * 1024  # octets from which a file costs less CPU than pages of the database

_FILE_THREADS = 4
_LEFT_OVER = timedelta(hours=1)  # a file that no row names by then never gets one
_SHORTENINGS = 30  # tries: another copy may be under way, and gigabytes take it a second
_SHORTEN_AGAIN = 0.1  # seconds between two of them


class SqliteSpool:
    """Mail in one database file; large bodies in files beside it.

    Constructing it touches nothing, so a supervisor may do so before it forks.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        free_space: int = 0,
        metrics: Metrics | None = None,
        large: int = LARGE,
        steps: Sequence[str] = STEPS,
    ) -> None:
        """free_space: octets that must stay free. large: bodies from there on become files."""
        self._path = path
        self._clock = clock
        self._large = large
        self._steps = steps
        self._space = FreeSpace(path.parent, free_space, clock, metrics)
        self._bodies = BodyFiles(path.with_suffix(".bodies"))
        self._files = Threads(_FILE_THREADS, "spool-files", path)
        self._lookups = Reader(path, "spool-lookups")
        self._listings = Reader(path, "spool-listings")
        self._writer = Writer(path, clock, metrics, self._forget_files)
        self._last_turn = ""  # the hop whose mail was leased last

    async def open(self) -> None:
        """Makes file and schema ready and starts the writer."""
        for threads in (self._files, self._lookups, self._listings):
            threads.open()
        try:
            await self._files.run(database.create, self._path, self._steps)
            await self._files.run(self._bodies.open)
            with translated(self._path):
                self._writer.start()
        except FilterRelayError:
            await self.close()
            raise

    async def close(self) -> None:
        """Writes what waits and closes."""
        await self._writer.close()
        await self._lookups.close()
        await self._listings.close()
        await self._files.close()

    async def commit(self, deposit: Deposit) -> None:
        """Makes the message durable; large bodies first and on their own."""
        if not deposit.own:
            self._space.require()
        if len(deposit.body) < self._large:
            await self._writer.submit(Insertion.of(deposit, None))
            return
        file = await self._files.run(self._bodies.write, deposit.message.id, deposit.body)
        await self._naming(file, Insertion.of(deposit, file))

    async def _naming(self, file: str, change: Change) -> None:
        """Makes a change that names a new file; without it nobody needs the file."""
        try:
            await asyncio.shield(self._writer.submit(change))
        except FilterRelayError:
            await self._files.run(self._bodies.remove, [file])
            raise

    async def lease(
        self,
        owner: str,
        now: datetime,
        until: datetime,
        limit: int,
        rooms: Mapping[str, int] | None = None,
    ) -> list[StoredMessage]:
        """Takes due messages, earliest first, so many of each next hop's."""
        due, rooms = codec.microseconds(now), rooms or {}
        # With many hops the look takes long, so it is the readers' work.
        hops = await self._lookups.ask(
            partial(questions.due_hops, due, self._last_turn, limit, rooms)
        )
        leasing = operations.Leasing(owner, due, codec.microseconds(until), limit, hops, rooms)
        messages, recipients, last = await self._writer.submit(leasing)
        if hops:
            self._last_turn = last
        return await self._readable((messages, recipients), now)

    async def lease_unreached(
        self,
        owner: str,
        now: datetime,
        until: datetime,
        rooms: Mapping[str, int],
        others: int = 0,
    ) -> list[StoredMessage]:
        """Takes messages before their time that wait for a hop which couldn't be reached."""
        leasing = operations.EarlyLeasing(
            owner, codec.microseconds(now), codec.microseconds(until), rooms, others
        )
        return await self._readable(await self._writer.submit(leasing), now)

    async def _readable(
        self, rows: tuple[list[Row], list[Row]], now: datetime
    ) -> list[StoredMessage]:
        """The messages just leased; what can't be read is set aside."""
        taken = codec.stored_messages(*rows)
        unreadable = [message for message in taken if message.state is not State.QUEUED]
        if unreadable:
            await self._set_aside(unreadable, now)
        return [message for message in taken if message.state is State.QUEUED]

    async def _set_aside(self, unreadable: Sequence[StoredMessage], now: datetime) -> None:
        """Holds what can't be read: it would come again and again, and stop all other mail."""
        for message in unreadable:
            _log.error("message_unreadable", message_id=message.id, reason=message.reason)
            try:
                await self.hold([message.id], message.reason, now)
            except SpoolUnavailable as unavailable:  # it comes again when its lease has run out
                _log.error("message_not_held", message_id=message.id, reason=str(unavailable))

    async def renew(self, owner: str, ids: Sequence[str], until: datetime) -> None:
        """Prolongs leases that owner still holds."""
        renewal = operations.Renewal(owner, codec.json_list(ids), codec.microseconds(until))
        await self._writer.submit(renewal, patience=PATIENCE)

    async def recover(self, now: datetime, alive: Sequence[str]) -> int:
        """Ends the leases of all owners but those alive; returns how many."""
        owners = codec.json_list(alive)
        # The look takes long when much is queued, so it is the readers' work.
        orphaned = await self._lookups.ask(partial(questions.orphaned, owners))
        when = codec.microseconds(now)
        return await self._in_steps(orphaned, lambda some: operations.Recovery(when, some, owners))

    async def body(self, message_id: str) -> bytes:
        """The message's bytes. Raises NoSuchMessage."""
        while True:
            body, file = await self._lookups.ask(partial(questions.body, message_id))
            if file is None:
                return body or b""
            try:
                return await self._files.run(self._bodies.read, file)
            except SpoolUnavailable:
                if await self._lookups.ask(partial(questions.names_file, message_id, file)):
                    raise

    async def bodies(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of those of the messages that are here, by ID."""
        bodies = {}
        for id_, body, file in await self._lookups.ask(partial(questions.bodies, ids)):
            with suppress(NoSuchMessage):
                bodies[id_] = await self.body(id_) if file is not None else body or b""
        return bodies

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the messages that are here, or were and weren't deleted."""
        return await self._lookups.ask(partial(questions.known, ids))

    async def begin_attempt(
        self, message_id: str, recipients: Sequence[StoredRecipient], next_attempt: datetime
    ) -> frozenset[int]:
        """Counts an attempt for these recipients and records when the next would be."""
        beginning = operations.Beginning(message_id, recipients, codec.microseconds(next_attempt))
        begun: frozenset[int] = await self._writer.submit(beginning)
        return begun

    async def as_leased(
        self, message_id: str, recipients: Sequence[StoredRecipient]
    ) -> frozenset[int]:
        """For whom begin_attempt would begin one."""
        return await self._lookups.ask(partial(operations.as_leased, message_id, recipients))

    async def acts(self, after: int | None) -> tuple[Sequence[str], int]:
        """The messages held, redirected or deleted since that act, and the number of the last."""
        return await self._lookups.ask(partial(questions.acts, after))

    async def settle(self, settlement: Settlement) -> None:
        """Records an attempt's result; rides along with the next commit."""
        await self._writer.submit(Settling.of(settlement), patience=PATIENCE)

    async def select(self, selection: Selection, now: datetime) -> list[StoredMessage]:
        """The messages meant, oldest first."""
        return await self._listings.ask(partial(questions.select, selection, now))

    async def places(self, selection: Selection, now: datetime) -> list[Place]:
        """Where the messages meant stand, oldest first."""
        return await self._listings.ask(partial(questions.places, selection, now))

    async def get(self, message_id: str) -> StoredMessage:
        """One message. Raises NoSuchMessage."""
        return await self._lookups.ask(partial(questions.get, message_id))

    async def hold(self, ids: Sequence[str], reason: str, at: datetime) -> int:
        """Sets queued messages aside until released; returns how many."""
        when = codec.microseconds(at)
        return await self._in_steps(ids, lambda some: operations.Holding(some, reason, when))

    async def release(self, ids: Sequence[str], at: datetime, *, passed: str = "") -> int:
        """Makes held or quarantined messages due now; returns how many."""
        when = codec.microseconds(at)
        return await self._in_steps(ids, lambda some: operations.Releasing(some, when, passed))

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
        small = len(body) < self._large
        file = None if small else await self._files.run(self._bodies.write, message_id, body)
        change = operations.ReleasingAs(
            release=operations.Releasing([message_id], codec.microseconds(at), passed),
            sender=codec.sender_text(envelope),
            envelope=codec.envelope_text(envelope),
            recipients=codec.recipient_rows(message_id, recipients_due(envelope, at, redirect)),
            size=len(body),
            body=body if small else None,
            file=file,
        )
        if file is None:
            await self._writer.submit(change)
        else:
            await self._naming(file, change)

    async def retry(self, ids: Sequence[str], at: datetime) -> int:
        """Makes queued messages due now; returns how many."""
        when = codec.microseconds(at)
        return await self._in_steps(ids, lambda some: operations.Hastening(some, when))

    async def redirect(self, ids: Sequence[str], upstream: str, at: datetime) -> int:
        """Has queued and held messages go elsewhere; returns how many."""
        when = codec.microseconds(at)
        return await self._in_steps(ids, lambda some: operations.Redirection(some, upstream, when))

    async def delete(self, ids: Sequence[str], at: datetime) -> int:
        """Removes messages without telling anybody; returns how many."""
        when = codec.microseconds(at)
        return await self._in_steps(ids, lambda some: operations.Deletion(some, when))

    async def _in_steps(self, ids: Sequence[str], change: Callable[[Sequence[str]], Change]) -> int:
        """Makes it for some messages a transaction, so that commits get between."""
        step = operations.STEP
        changed = 0
        for start in range(0, len(ids), step):
            changed += await self._writer.submit(change(ids[start : start + step]))
        return changed

    async def record(self, events: Sequence[Event]) -> None:
        """Adds events to the trace."""
        recording = Recording(codec.event_rows(events))
        await self._writer.submit(recording, patience=TRACE_PATIENCE)

    async def events(self, message_id: str) -> list[Event]:
        """The message's events, oldest first; of messages that are gone, too."""
        return await self._lookups.ask(partial(questions.events, message_id))

    async def probe(self) -> None:
        """Writes something and takes it back, with a commit as mail has it."""
        self._space.require()
        await self._writer.submit(operations.Probe())

    async def search(self, search: Search) -> list[Event]:
        """The `received` events of the messages meant, newest first."""
        return await self._listings.ask(partial(questions.search, search))

    async def depth(self) -> Depth:
        """How much lies here, and how old it is."""
        return await self._lookups.ask(questions.depth)

    async def backlogs(self, *, words: bool = False) -> list[Backlog]:
        """What is queued and held by next hop, the most messages first."""
        return await self._listings.ask(partial(questions.backlogs, words))

    async def expire(self, quarantined_before: datetime, events_before: datetime) -> int:
        """Drops what is old, gives free pages back to the disk and removes left-over bodies."""
        now = codec.microseconds(self._clock.now())
        overdue = QuarantineExpiry(codec.microseconds(quarantined_before), now)
        dropped = (await self._work_off(overdue)).dropped
        await self._work_off(EventExpiry(codec.microseconds(events_before)))
        await self._files.run(compact, self._path)
        await self._work_off(Shrinking(KEEP_FREE))
        await self._shorten()
        await self._sweep()
        return dropped

    async def _work_off(self, task: T) -> T:
        copy = partial(self._files.run, shorten, self._path)
        return await work_off(task, self._writer.submit, copy, self._clock)

    async def _shorten(self) -> None:
        """Lets the disk have what the file doesn't need; while mail flows, the next copy does."""
        for _ in range(_SHORTENINGS):
            pages, copied = await self._files.run(shorten, self._path)
            if pages and pages == copied:
                return
            await asyncio.sleep(_SHORTEN_AGAIN)

    async def _sweep(self) -> None:
        """Removes body files that a crash left behind before their row was committed."""
        before = (self._clock.now() - _LEFT_OVER).timestamp()
        for name, message_id in await self._files.run(
            lambda: list(self._bodies.older_than(before))
        ):
            if not await self._lookups.ask(partial(questions.names_file, message_id, name)):
                await self._files.run(self._bodies.remove, [name])

    def _forget_files(self, names: Sequence[str]) -> None:
        self._files.leave(self._bodies.remove, names)

"""What the readers look up: listings, bodies, traces and the depth."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice, takewhile
from operator import attrgetter
from sqlite3 import Connection

from filterrelay.spool import codec
from filterrelay.spool.operations import read_messages
from filterrelay.spool.selection import Place, Search, Selection
from filterrelay.spool.statements import SQL, Row
from filterrelay.spool.store import Backlog, Depth, Event, NoSuchMessage, State, StoredMessage

_LAST = 2**63 - 1  # beyond every time and number
_SAMPLE = 500  # messages whose last replies are counted
_PAGE = 500  # messages a query, so that no snapshot keeps the log from starting over
_in_order = attrgetter("received", "id")


def get(message_id: str, connection: Connection) -> StoredMessage:
    """One message. Raises NoSuchMessage."""
    for message in _read(connection, [message_id]):
        return message
    raise NoSuchMessage(message_id)


def _read(connection: Connection, ids: Sequence[str]) -> list[StoredMessage]:
    """These messages, each with the recipients that it had at one moment."""
    connection.execute("BEGIN")
    try:
        return codec.stored_messages(*read_messages(connection, ids))
    finally:
        connection.execute("COMMIT")


def acts(after: int | None, connection: Connection) -> tuple[list[str], int]:
    """The messages of some acts of operators that follow, and the number of the last one seen."""
    (last,) = connection.execute(SQL["last_event"]).fetchone()
    if after is None:
        return [], last
    rows = connection.execute(SQL["acts"], (after, last, _PAGE)).fetchall()
    return [id_ for _, id_ in rows], rows[-1][0] if len(rows) == _PAGE else last


def orphaned(alive: str, connection: Connection) -> list[str]:
    """The messages leased by others than the owners alive; looks at all queued and held ones."""
    return [id_ for (id_,) in connection.execute(SQL["orphaned"], {"alive": alive})]


def due_hops(
    now: int, after: str, limit: int, rooms: Mapping[str, int], connection: Connection
) -> list[str]:
    """Hops whose mail is due and has room, so many at most.

    First those that follow the one called after in their order, then from the beginning.
    """
    following = _due_hops(connection, now, after)
    from_the_start = takewhile(after.__ge__, _due_hops(connection, now, ""))
    turns = chain((hop for hop in following if hop != after), from_the_start)
    return list(islice((hop for hop in turns if rooms.get(hop, limit) > 0), limit))


def _due_hops(connection: Connection, now: int, first: str) -> Iterator[str]:
    with closing(connection.execute(SQL["due_hops"], {"first": first, "now": now})) as rows:
        for (hop,) in rows:
            yield hop


def body(message_id: str, connection: Connection) -> tuple[bytes | None, str | None]:
    """The message's bytes, or the name of the file that holds them. Raises NoSuchMessage."""
    row = connection.execute(SQL["body"], (message_id,)).fetchone()
    if row is None:
        raise NoSuchMessage(message_id)
    return row[0], row[1]


def bodies(ids: Sequence[str], connection: Connection) -> list[Row]:
    """The ID and what `body` says, of each of the messages that is here."""
    return connection.execute(SQL["bodies"], (codec.json_list(ids),)).fetchall()


def known(ids: Sequence[str], connection: Connection) -> set[str]:
    """Those of the messages that are here, or were and weren't deleted."""
    return {id_ for (id_,) in connection.execute(SQL["known"], (codec.json_list(ids),))}


def names_file(message_id: str, name: str, connection: Connection) -> bool:
    """Whether the message's body is in this file."""
    return connection.execute(SQL["file"], (message_id, name)).fetchone() is not None


def events(message_id: str, connection: Connection) -> list[Event]:
    """The message's events, oldest first."""
    rows = connection.execute(SQL["events"], (message_id,))
    return [codec.stored_event(message_id, row) for row in rows]


def depth(connection: Connection) -> Depth:
    """How much lies here, and since when."""
    rows = connection.execute(SQL["depth"]).fetchall()
    return Depth(
        messages={State(state): messages for state, messages, _ in rows},
        oldest={
            State(state): None if since is None else codec.moment(since) for state, _, since in rows
        },
    )


def select(selection: Selection, now: datetime, connection: Connection) -> list[StoredMessage]:
    """The messages meant, oldest first."""
    if selection.ids:
        named = _read(connection, list(set(selection.ids)))
        candidates: Iterator[StoredMessage] = iter(sorted(named, key=_in_order))
    else:
        scan = partial(_scan, connection, selection, now)
        candidates = heapq.merge(*map(scan, set(selection.states)), key=_in_order)
    meant = (message for message in candidates if selection.means(message, now))
    return list(islice(meant, selection.limit))


def places(selection: Selection, now: datetime, connection: Connection) -> list[Place]:
    """Where the messages meant stand; the messages are read only if SQL can't tell who is meant."""
    if selection.ids or selection.sender or selection.recipient:
        return [Place(m.received, m.id) for m in select(selection, now, connection)]
    pages = partial(_pages, connection, selection, now)
    rows = heapq.merge(*(chain.from_iterable(pages(s)) for s in set(selection.states)))
    return [Place(codec.moment(at), id_) for at, id_ in islice(rows, selection.limit)]


def backlogs(words: bool, connection: Connection) -> list[Backlog]:
    """What is queued and held by next hop, the most messages first."""
    found = [
        Backlog(hop, State(state), messages, codec.moment(oldest))
        for hop, state, messages, oldest in connection.execute(SQL["backlogs"]).fetchall()
    ]
    if words:
        reasons = {hop: reason for hop, reason, _ in connection.execute(SQL["usual_reasons"])}
        found = [
            replace(
                each,
                words=reasons.get(each.hop, "")
                if each.state is State.HELD
                else _usual_reply(each.hop, connection),
            )
            for each in found
        ]
    return sorted(found, key=lambda backlog: -backlog.messages)


def _usual_reply(hop: str, connection: Connection) -> str:
    parameters = {"hop": hop, "sample": _SAMPLE}
    row = connection.execute(SQL["usual_reply"], parameters).fetchone()
    return row[0] if row else ""


def _scan(
    connection: Connection, selection: Selection, now: datetime, state: State
) -> Iterator[StoredMessage]:
    """One state's messages by age, narrowed by what SQL can tell."""
    for page in _pages(connection, selection, now, state):
        yield from _read(connection, [id_ for _, id_ in page])


def _pages(
    connection: Connection, selection: Selection, now: datetime, state: State
) -> Iterator[list[tuple[int, str]]]:
    """When they were received and their IDs, a page at a time."""
    after = selection.after
    until = now - (selection.older_than or timedelta())
    parameters = {
        "state": state.value,
        "after": codec.microseconds(after.received) if after else -1,
        "after_id": after.id if after else "",
        "until": codec.microseconds(until) if selection.older_than else _LAST,
        "sender": _like(selection.sender),
        "recipient": _like(selection.recipient),
        "upstream": selection.upstream,
        "limit": _PAGE,
    }
    while True:
        page = connection.execute(SQL["scan"], parameters).fetchall()
        yield page
        if len(page) < _PAGE:
            return
        parameters["after"], parameters["after_id"] = page[-1]


def search(search: Search, connection: Connection) -> list[Event]:
    """The `received` events of the messages meant, newest first."""
    meant = (event for event in _received(connection, search) if search.means(event))
    return list(islice(meant, search.limit))


def _received(connection: Connection, search: Search) -> Iterator[Event]:
    """Received events from the newest on, narrowed by what SQL can tell, a page at a time."""
    parameters = {
        "since": codec.microseconds(search.since) if search.since else -1,
        "before": codec.microseconds(search.until) if search.until else _LAST,
        "before_seq": _LAST,
        "sender": _like_quoted(search.sender),
        "recipient": _like_quoted(search.recipient),
        "queue_id": search.queue_id,
        "limit": _PAGE,
    }
    while True:
        page = connection.execute(SQL["received"], parameters).fetchall()
        for _, message_id, *row in page:
            yield codec.stored_event(message_id, tuple(row))
        if len(page) < _PAGE:
            return
        parameters["before_seq"], _, parameters["before"], *_ = page[-1]


def _like_quoted(pattern: str) -> str:
    """As _like, for an address that is a JSON string."""
    narrowed = _like(pattern)
    return f'%{narrowed.lstrip("%")}"%' if narrowed and narrowed.isprintable() else ""


def _like(pattern: str) -> str:
    """A LIKE pattern that lets through at least what the address pattern means.

    SQLite ignores the case of ASCII letters only, so that others narrow nothing; and quoted
    local parts, which have many spellings, all pass.
    """
    if not pattern or pattern == "*" or not pattern.isascii():
        return ""
    if pattern.startswith("*"):
        return f"%{pattern[1:]}"
    return pattern if "@" in pattern else f"%@{pattern}"

"""The changes beside deposits and settlements: leases, attempts, and what operators do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection

from filterrelay.spool import statements
from filterrelay.spool.codec import json_list, json_object
from filterrelay.spool.statements import SQL, Row
from filterrelay.spool.store import NoSuchMessage, NotQueued, StoredRecipient, hop_of

STEP = 500  # messages a transaction, so that commits get between


def _ids(connection: Connection, ids: Iterable[str], *states: str) -> list[str]:
    """Those of the messages that are in one of the states."""
    parameters = {"ids": json_list(ids), "states": json_list(states)}
    return [id_ for (id_,) in connection.execute(SQL["in_states"], parameters)]


def _note(connection: Connection, ids: Sequence[str], at: int, kind: str, data: str) -> None:
    statements.INSERT_EVENT.all(connection, [(id_, at, kind, data) for id_ in ids])


def drop_expired(connection: Connection, ids: Sequence[str], at: int) -> None:
    """Removes messages that have been here for too long."""
    connection.execute(SQL["delete"], {"ids": json_list(ids)})
    _note(connection, ids, at, "deleted", json_object({"reason": "expired"}))


def read_messages(connection: Connection, ids: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """The rows of these messages, in this order, and of their recipients."""
    wanted = (json_list(ids),)
    by_id = {row[0]: row for row in connection.execute(SQL["messages"], wanted)}
    recipients = connection.execute(SQL["recipients"], wanted).fetchall()
    return [by_id[id_] for id_ in ids if id_ in by_id], recipients


@dataclass(frozen=True, slots=True)
class Leasing:
    """Takes due messages, limit in all: of each of the hops in turn as many as rooms says."""

    owner: str
    now: int
    until: int
    limit: int
    hops: Sequence[str]
    rooms: Mapping[str, int] = field(default_factory=dict)

    def make(self, connection: Connection) -> tuple[list[Row], list[Row], str]:
        """Returns the messages' and the recipients' rows, and whose turn was the last."""
        due: list[Row] = []
        last = ""
        for last in self.hops:
            room = min(self.rooms.get(last, self.limit), self.limit - len(due))
            due += connection.execute(SQL["due"], (last, self.now, room))
            if len(due) >= self.limit:
                break
        ids = [id_ for _, id_ in sorted(due)]
        if not ids:
            return [], [], last
        connection.execute(SQL["lease"], (self.owner, self.until, json_list(ids)))
        return *read_messages(connection, ids), last


@dataclass(frozen=True, slots=True)
class EarlyLeasing:
    """Takes messages that wait for a hop which couldn't be reached: as many as rooms says.

    others: as many of each hop that rooms doesn't name.
    """

    owner: str
    now: int
    until: int
    rooms: Mapping[str, int]
    others: int

    def make(self, connection: Connection) -> tuple[list[Row], list[Row]]:
        """Returns the messages' and the recipients' rows."""
        ids: list[str] = []
        for (hop,) in connection.execute(SQL["unreached_hops"]).fetchall():
            if room := self.rooms.get(hop, self.others):
                found = connection.execute(SQL["unreached"], (hop, self.now, room))
                ids += [id_ for (id_,) in found]
        if not ids:
            return [], []
        connection.execute(SQL["lease"], (self.owner, self.until, json_list(ids)))
        return read_messages(connection, ids)


@dataclass(frozen=True, slots=True)
class Renewal:
    """Prolongs leases."""

    owner: str
    ids: str
    until: int

    def make(self, connection: Connection) -> None:
        """Those that are still held."""
        connection.execute(SQL["renew"], (self.until, self.owner, self.ids))


@dataclass(frozen=True, slots=True)
class Recovery:
    """Ends those of some messages' leases that none of the owners alive holds."""

    now: int
    ids: Sequence[str]
    alive: str

    def make(self, connection: Connection) -> int:
        """Returns how many."""
        candidates = {"ids": json_list(self.ids), "alive": self.alive}
        ids = [id_ for (id_,) in connection.execute(SQL["still_orphaned"], candidates)]
        if ids:
            parameters = {"ids": json_list(ids), "now": self.now}
            connection.execute(SQL["hasten_untried"], parameters)
            connection.execute(SQL["end_leases"], parameters)
        return len(ids)


def as_leased(
    message_id: str, recipients: Sequence[StoredRecipient], connection: Connection
) -> frozenset[int]:
    """The indexes of those who wait as these do. Raises NoSuchMessage or NotQueued."""
    state = connection.execute(SQL["state"], (message_id,)).fetchone()
    if state is None:
        raise NoSuchMessage(message_id)
    if state != ("queued",):
        raise NotQueued(message_id)
    waiting = {*connection.execute(SQL["waiting"], (message_id,))}
    return frozenset(r.index for r in recipients if (r.index, r.redirect) in waiting)


@dataclass(frozen=True, slots=True)
class Beginning:
    """An attempt begins. recipients: as they were leased."""

    message_id: str
    recipients: Sequence[StoredRecipient]
    next_attempt: int

    def make(self, connection: Connection) -> frozenset[int]:
        """Returns for whom. Raises NoSuchMessage or NotQueued when an operator came in between."""
        begun = as_leased(self.message_id, self.recipients, connection)
        parameters = {
            "id": self.message_id,
            "indexes": json_list(begun),
            "next": self.next_attempt,
            "release": False,
            "owner": "",
        }
        connection.execute(SQL["begin_attempt"], parameters)
        connection.execute(SQL["settle_message"], parameters)
        return begun


@dataclass(frozen=True, slots=True)
class Holding:
    """An operator sets queued messages aside."""

    ids: Sequence[str]
    reason: str
    at: int

    def make(self, connection: Connection) -> int:
        """Returns how many."""
        ids = _ids(connection, self.ids, "queued")
        parameters = {"ids": json_list(ids), "reason": self.reason}
        connection.execute(SQL["hold"], parameters)
        _note(connection, ids, self.at, "held", json_object({"reason": self.reason}))
        return len(ids)


@dataclass(frozen=True, slots=True)
class Releasing:
    """An operator lets held or quarantined messages go."""

    ids: Sequence[str]
    at: int
    passed: str

    def make(self, connection: Connection) -> int:
        """Returns how many."""
        ids = _ids(connection, self.ids, "held", "quarantined")
        parameters = {"ids": json_list(ids), "at": self.at, "passed": self.passed}
        connection.execute(SQL["release"], parameters)
        connection.execute(SQL["hasten_recipients"], parameters)
        data = json_object({"passed": self.passed} if self.passed else {})
        _note(connection, ids, self.at, "released", data)
        return len(ids)


@dataclass(frozen=True, slots=True)
class ReleasingAs:
    """A quarantined message is let go, with another envelope and other bytes."""

    release: Releasing
    sender: str | None
    envelope: str
    recipients: Sequence[Row]
    size: int
    body: bytes | None = field(repr=False)
    file: str | None

    def make(self, connection: Connection) -> None:
        """Raises NoSuchMessage when it isn't in quarantine any more."""
        (message_id,) = self.release.ids
        if not _ids(connection, [message_id], "quarantined"):
            raise NoSuchMessage(message_id)
        parameters = {
            "id": message_id,
            "sender": self.sender,
            "envelope": self.envelope,
            "size": self.size,
            "body": self.body,
            "file": self.file,
        }
        connection.execute(SQL["replace_message"], parameters)
        connection.execute(SQL["replace_content"], parameters)
        connection.execute(SQL["delete_recipients"], parameters)
        statements.INSERT_RECIPIENT.all(connection, self.recipients)
        self.release.make(connection)


@dataclass(frozen=True, slots=True)
class Hastening:
    """An operator wants queued messages tried now."""

    ids: Sequence[str]
    at: int

    def make(self, connection: Connection) -> int:
        """Returns how many."""
        ids = _ids(connection, self.ids, "queued")
        parameters = {"ids": json_list(ids), "at": self.at}
        connection.execute(SQL["hasten"], parameters)
        connection.execute(SQL["hasten_recipients"], parameters)
        _note(connection, ids, self.at, "retried", "{}")
        return len(ids)


@dataclass(frozen=True, slots=True)
class Redirection:
    """An operator has queued and held messages go elsewhere."""

    ids: Sequence[str]
    upstream: str
    at: int

    def make(self, connection: Connection) -> int:
        """Returns how many."""
        ids = _ids(connection, self.ids, "queued", "held")
        hop = hop_of(self.upstream)
        parameters = {
            "ids": json_list(ids),
            "upstream": self.upstream,
            "hop": hop,
            "at": self.at,
        }
        connection.execute(SQL["redirect"], parameters)
        connection.execute(SQL["redirect_recipients"], parameters)
        _note(connection, ids, self.at, "redirected", json_object({"upstream": self.upstream}))
        return len(ids)


@dataclass(frozen=True, slots=True)
class Deletion:
    """An operator throws messages away."""

    ids: Sequence[str]
    at: int

    def make(self, connection: Connection) -> int:
        """Returns how many."""
        ids = _ids(connection, self.ids, "queued", "held", "quarantined")
        connection.execute(SQL["delete"], {"ids": json_list(ids)})
        _note(connection, ids, self.at, "deleted", "{}")
        return len(ids)


@dataclass(frozen=True, slots=True)
class Probe:
    """A row written and taken back, which costs the disk a page: can it be done?"""

    def make(self, connection: Connection) -> None:
        """Leaves all as it was."""
        written = connection.execute(SQL["insert_content"], ("", "", None))
        connection.execute(SQL["delete_content"], (written.lastrowid,))

"""Who may come in: connections and failed logins counted over all workers, in shared memory.

The supervisor makes one table before it forks. Each worker writes a column of its own and
reads all of them, so nothing is locked; two workers that admit at the same moment may
exceed a limit by one each, which is harmless. Clients and logins are known by a keyed hash
only: nobody can choose addresses that share a place, and the table names nobody.

Three counts lock guessers out, each until nothing has failed for limits.lockout: what one
client fails with one login, what all clients fail with one login, and with how many
different logins one client fails. The latter two don't concern a login from where it has
come in lately, so that neither strangers nor the neighbour's phone lock out an office.
"""

import mmap
import os
from enum import Enum
from hashlib import blake2b
from ipaddress import IPv6Address
from itertools import accumulate

from filterrelay.settings import Limits

PLACES = 1 << 16
ALL_CLIENTS = 10  # times limits.login_failures, for one login from everywhere
OTHER_LOGINS = 4  # times limits.login_failures, for different logins from one client
KNOWN = 86_400  # seconds for which a client stays known that a login has come in from
_MOST = 0xFFFF  # what an unsigned short holds
_V6_SITE = 8  # octets: a client with IPv6 usually has a whole /64


class Refusal(Enum):
    """Why a connection is not taken."""

    TOO_MANY = "too many connections"
    TOO_MANY_FROM_CLIENT = "too many connections from this client"


class Admission:
    """The table of all workers, made before they are forked.

    bands: how often that many workers may live at once, as they do while some
    that were replaced finish their sessions. For each worker: connections in
    all, connections by client, failed logins (their number, and when the last
    one was), and when a pair of client and login was good.
    """

    def __init__(self, workers: int, bands: int = 1) -> None:
        self.workers = workers
        self.bands = bands
        self.key = os.urandom(16)
        self.columns = columns = workers * bands
        lengths = [4, PLACES * 4, PLACES * 4, PLACES * 2, PLACES * 2]
        whole = memoryview(mmap.mmap(-1, columns * sum(lengths)))
        cut = [0, *accumulate(columns * length for length in lengths)]
        self.totals = whole[cut[0] : cut[1]].cast("I")
        self.failed_at = whole[cut[1] : cut[2]].cast("I")
        self.known_at = whole[cut[2] : cut[3]].cast("I")
        self.failures = whole[cut[3] : cut[4]].cast("H")
        self.connections = whole[cut[4] : cut[5]].cast("H")

    def for_worker(self, index: int, band: int = 0) -> "WorkerAdmission":
        """The worker's view; its number counts from 0."""
        return WorkerAdmission(self, index, band)

    def clear_worker(self, index: int, band: int = 0) -> None:
        """Forgets the connections of a worker that is gone; failed logins stay known."""
        column = band * self.workers + index
        self.totals[column] = 0
        places = slice(column * PLACES, (column + 1) * PLACES)
        self.connections[places] = memoryview(bytes(PLACES * 2)).cast("H")

    def place(self, kind: bytes, name: str) -> int:
        """Where a client or a login is counted."""
        digest = blake2b(name.encode(), digest_size=2, key=self.key, person=kind).digest()
        return int.from_bytes(digest, "big")


class WorkerAdmission:
    """One worker's way to the table."""

    def __init__(self, table: Admission, index: int, band: int) -> None:
        self._table = table
        first = band * table.workers
        self._peers = table.totals[first : first + table.workers]
        self._index = first + index
        self._start = self._index * PLACES

    def enter(self, client_ip: str, limits: Limits) -> Refusal | None:
        """Counts a connection, or says why there may not be another one.

        client_ip: empty for a local client, which is counted in all only.
        """
        table = self._table
        if sum(table.totals) >= limits.connections:
            return Refusal.TOO_MANY
        if (refusal := self.take_place(client_ip, limits)) is not None:
            return refusal
        table.totals[self._index] += 1
        return None

    def take_place(self, client_ip: str, limits: Limits) -> Refusal | None:
        """Counts a connection that has entered already as this client's, too, or says why not."""
        if client_ip:
            table, place = self._table, self._table.place(b"client", _site(client_ip))
            if sum(table.connections[place::PLACES]) >= limits.connections_per_client:
                return Refusal.TOO_MANY_FROM_CLIENT
            here = self._start + place
            table.connections[here] = min(_MOST, table.connections[here] + 1)
        return None

    def give_place(self, client_ip: str) -> None:
        """The connection is no longer this client's."""
        if client_ip:
            here = self._start + self._table.place(b"client", _site(client_ip))
            self._table.connections[here] = max(0, self._table.connections[here] - 1)

    def is_ahead(self) -> bool:
        """Whether another worker of the same band has fewer connections than this one."""
        return self._table.totals[self._index] > min(self._peers)

    def leave(self, client_ip: str) -> None:
        """The connection that entered is gone."""
        table = self._table
        table.totals[self._index] = max(0, table.totals[self._index] - 1)
        self.give_place(client_ip)

    def login_failed(self, client_ip: str, login: str, limits: Limits, now: float) -> int:
        """Counts a failed login; returns how many there were lately that make this one worse.

        now: the machine's monotonic time, which all workers share.
        """
        pair, name, client = self._places(client_ip, login)
        is_another = not self._recent(pair, limits, now)
        for place in (pair, name, client) if client_ip and is_another else (pair, name):
            here, lockout = self._start + place, limits.lockout.total_seconds()
            if now - self._table.failed_at[here] >= lockout:
                self._table.failures[here] = 0
            self._table.failures[here] = min(_MOST, self._table.failures[here] + 1)
            self._table.failed_at[here] = int(now)
        return max(self._recent(pair, limits, now), self._recent(client, limits, now))

    def login_succeeded(self, client_ip: str, login: str, limits: Limits, now: float) -> None:
        """Forgets what failed for this login from this client; from there it is known now.

        The client's other failures stay, lest a good login cover bad ones.
        """
        table = self._table
        pair, _, client = self._places(client_ip, login)
        failed_here = self._recent(pair, limits, now)
        for worker in range(table.columns):
            table.failures[worker * PLACES + pair] = 0
            here = worker * PLACES + client
            if failed_here and table.failures[here]:
                table.failures[here] -= 1
                failed_here = 0
        table.known_at[self._start + pair] = max(1, int(now))

    def locked(self, client_ip: str, login: str, limits: Limits, now: float) -> bool:
        """Whether there were too many failures to try this login from this client now."""
        pair, name, client = self._places(client_ip, login)
        most = limits.login_failures
        if self._recent(pair, limits, now) >= most:
            return True
        if self._is_known(pair, now):
            return False
        return (
            self._recent(name, limits, now) >= most * ALL_CLIENTS
            or self._recent(client, limits, now) >= most * OTHER_LOGINS
        )

    def _places(self, client_ip: str, login: str) -> tuple[int, int, int]:
        """Where the pair, the login and the client are counted."""
        table, login, site = self._table, login.lower(), _site(client_ip)
        return (
            table.place(b"pair", f"{site} {login}"),
            table.place(b"login", login),
            table.place(b"guesser", site),
        )

    def _recent(self, place: int, limits: Limits, now: float) -> int:
        """Failures counted at a place by workers that saw one within the lock-out's time."""
        lockout = limits.lockout.total_seconds()
        counts = self._table.failures[place::PLACES]
        times = self._table.failed_at[place::PLACES]
        return sum(
            count for count, at in zip(counts, times, strict=True) if count and now - at < lockout
        )

    def _is_known(self, pair: int, now: float) -> bool:
        """Whether the login has come in from this client within a day."""
        times = self._table.known_at[pair::PLACES]
        return any(at and now - at < KNOWN for at in times)


def _site(client_ip: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in client_ip:
        return client_ip
    return IPv6Address(client_ip).packed[:_V6_SITE].hex()

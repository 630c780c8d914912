"""The works: what is sent in one run."""

from dataclasses import dataclass, replace

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of load. size: bytes a message; messages: how many in one run."""

    name: str
    title: str
    size: int
    messages: int
    sessions: int = 20
    kept: bool = True  # False: a new connection for each message
    submission: bool = False  # STARTTLS and AUTH
    memory_only: bool = False  # its throughput is no target
    strangers: bool = False  # for filterrelay with filters: from clients that it must judge

    def scaled(self, factor: float) -> "Work":
        """The same work with fewer or more messages, at least two a session."""
        if self.memory_only:
            return self
        return replace(self, messages=max(2 * self.sessions, round(self.messages * factor)))


NEW = Work("10k-new", "10 KB, new connection each", 10 * KIB, 700, kept=False)
KEPT = Work("10k-kept", "10 KB, kept connection", 10 * KIB, 900)
BIG = Work("100k-kept", "100 KB, kept connection", 100 * KIB, 400)
AUTH = Work("10k-auth", "10 KB, STARTTLS + AUTH", 10 * KIB, 500, kept=False, submission=True)
STRANGERS = Work(
    "10k-strangers", "10 KB from strangers, SPF asked", 10 * KIB, 700, kept=False, strangers=True
)
HUGE = Work("25m-memory", "25 MB from 50 clients", 25_000_000, 50, sessions=50, memory_only=True)

WORKS = {work.name: work for work in (NEW, KEPT, BIG, AUTH, STRANGERS, HUGE)}

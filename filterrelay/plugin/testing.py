"""The test kit for plugins: a clock and a DNS to set, values to build, a plugin at work.

    async with running("spf", resolver=FakeResolver({...})) as plugin:
        verdict = await plugin.on_message(a_session(), an_envelope(), a_message("Hello"))

The same things come as the pytest fixtures `fake_clock`, `fake_resolver` and
`running_plugin` once filterrelay is installed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time
from typing import Any, TypeVar

import structlog

from filterrelay.mail.address import parse_mailbox
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.message import Message
from filterrelay.mail.session import Identity, Session
from filterrelay.observe.clock import Clock
from filterrelay.plugin.discovery import Plugin, check, options_type, plugin_class
from filterrelay.plugin.options import with_secrets
from filterrelay.plugin.services import DnsAnswer, DnsError, Resolver, Services

T = TypeVar("T")
Record = str | bytes | tuple[int, str]

SOME_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TICK = 0.005  # seconds between two looks at whether the event loop still turns


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: datetime = SOME_TIME) -> None:
        """Starts at that time."""
        self._now = now
        self._elapsed = 0.0

    def now(self) -> datetime:
        """The time it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self._elapsed

    def advance(self, by: timedelta) -> None:
        """Goes on."""
        self._now += by
        self._elapsed += by.total_seconds()


class FakeResolver:
    """A DNS of what it was given: records by (name, kind), and names that fail.

    Every look-up is noted in `asked`.
    """

    def __init__(
        self,
        records: Mapping[tuple[str, str], Sequence[Record]] | None = None,
        failing: Collection[str] = (),
        *,
        insecure: Collection[str] | None = None,
    ) -> None:
        """Takes the records; names in `failing` raise DnsError.

        insecure: names that DNSSEC says nothing of; when not said, that is all.
        """
        self._records = {(n.lower(), k): v for (n, k), v in (records or {}).items()}
        self._failing = {name.lower() for name in failing}
        self._insecure = None if insecure is None else {name.lower() for name in insecure}
        self.asked: list[tuple[str, str]] = []

    async def lookup(self, name: str, kind: str) -> Sequence[Record]:
        """What was given for the name, else nothing."""
        name = name.rstrip(".").lower()
        self.asked.append((name, kind))
        if name in self._failing:
            raise DnsError(f"{name} {kind}: set to fail")
        return self._records.get((name, kind), ())

    async def lookup_secure(self, name: str, kind: str) -> DnsAnswer:
        """The same along CNAMEs, and whether DNSSEC would prove it."""
        secure = self._insecure is not None and name.lower() not in self._insecure
        records = await self.lookup(name, kind)
        alias = self._records.get((name.lower(), "CNAME"))
        if alias and kind != "CNAME":
            end = await self.lookup_secure(str(alias[0]), kind)
            return replace(end, secure=end.secure and secure)
        return DnsAnswer(records, secure, name)


def a_session(**changes: Any) -> Session:
    """A client on the internet that said EHLO without TLS or login; `login=` logs it in."""
    login = changes.pop("login", "")
    if login:
        changes.setdefault("identity", Identity(login))
    values: dict[str, Any] = {
        "id": "SESSION",
        "listener": "smtp",
        "door": "smtp",
        "client_ip": "192.0.2.1",
        "client_port": 49152,
        "helo": "client.example",
        "esmtp": True,
    }
    return Session(**(values | changes))


def an_envelope(sender: str = "alice@office.example", *recipients: str, **changes: Any) -> Envelope:
    """An envelope; an empty sender is the null sender, bob@partner.example the usual recipient."""
    to = tuple(
        Recipient(parse_mailbox(r, utf8=True)) for r in recipients or ("bob@partner.example",)
    )
    return Envelope(parse_mailbox(sender, utf8=True) if sender else None, to, **changes)


def a_message(content: str | bytes = "Hello.\n", **headers: str) -> Message:
    """A message: whole when it is bytes or has a header, else a usual header around the text.

    Line ends become CRLF. `subject="Hi"` sets a header, underscores standing for hyphens.
    """
    if isinstance(content, str):
        fields = {
            "from": "Alice <alice@office.example>",
            "to": "Bob <bob@partner.example>",
            "subject": "Lunch",
            "date": "Fri, 02 Jan 2026 03:04:05 +0000",
            "message-id": "<1@office.example>",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name.title()}: {value}\n" for name, value in fields.items() if value)
        content = f"{head}\n{content}".encode()
    return Message("MESSAGE", content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


async def in_thread(work: Callable[..., T], /, *args: Any) -> T:
    """Runs work in a thread of asyncio's own."""
    return await asyncio.to_thread(work, *args)


def some_services(
    name: str = "plugin",
    *,
    state_dir: Path,
    base_dir: Path | None = None,
    clock: Clock | None = None,
    resolver: Resolver | None = None,
    hostname: str = "relay.office.example",
) -> Services:
    """Services with a clock that stands still and an empty DNS where nothing else is given."""
    return Services(
        hostname=hostname,
        clock=clock or FakeClock(),
        resolver=resolver or FakeResolver(),
        in_thread=in_thread,
        state_dir=state_dir / name,
        base_dir=base_dir or state_dir,
        log=structlog.get_logger("filterrelay.plugin").bind(plugin=name),
    )


@asynccontextmanager
async def running(
    plugin: str | type[Any],
    *,
    clock: Clock | None = None,
    resolver: Resolver | None = None,
    state_dir: Path | None = None,
    base_dir: Path | None = None,
    options: Mapping[str, Any] | None = None,
    **more_options: Any,
) -> AsyncIterator[Any]:
    """The plugin, checked as at start, inside its lifespan; gives the instance.

    plugin: an entry point's name or a class. Its options are given by name, and
    in `options` those called as a parameter here is; `NAME_file` reads a secret
    below base_dir, the state directory if not said. Fails when the plugin leaves
    tasks behind. Raises BadPlugin, BadOptions and UnreadableSecret as the real
    start would.
    """
    async with AsyncExitStack() as stack:
        if state_dir is None:
            state_dir = Path(stack.enter_context(TemporaryDirectory()))
        base_dir = base_dir or state_dir
        loaded = _loaded(plugin, {**(options or {}), **more_options}, base_dir)
        services = some_services(
            loaded.name, state_dir=state_dir, base_dir=base_dir, clock=clock, resolver=resolver
        )
        stack.enter_context(_no_leaked_tasks(loaded.name))
        lifespan = loaded.hooks.get("lifespan")
        if lifespan is not None:
            given = {"services": services} if lifespan.parameters else {}
            await stack.enter_async_context(lifespan.call(**given))
        yield loaded.instance


def _loaded(plugin: str | type[Any], options: Mapping[str, Any], base_dir: Path) -> Plugin:
    name, cls = (
        (plugin, plugin_class(plugin)) if isinstance(plugin, str) else (plugin.__name__, plugin)
    )
    return check(name, name, cls, with_secrets(options, options_type(cls), base_dir))


@contextmanager
def _no_leaked_tasks(name: str) -> Iterator[None]:
    before = asyncio.all_tasks()
    yield
    leaked = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not leaked, f"plugin {name} left tasks behind: {leaked}"


@contextmanager
def within_cpu_budget(milliseconds: float) -> Iterator[None]:
    """Fails when the block takes more CPU time of this process than that."""
    began = process_time()
    yield
    took = (process_time() - began) * 1000
    assert took <= milliseconds, f"took {took:.1f} ms of CPU, allowed were {milliseconds:g}"


@asynccontextmanager
async def without_blocking(milliseconds: float) -> AsyncIterator[None]:
    """Fails when the block keeps the event loop from turning for longer than that.

    Waiting costs no CPU time, but while a hook waits without `await`, all
    sessions of the process stand still.
    """
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        before = monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = monotonic()
            longest = max(longest, now - before - TICK)
            before = now

    watching = asyncio.create_task(watch())
    try:
        await asyncio.sleep(0)  # so that it looks at its clock before the block begins
        yield
        await asyncio.sleep(2 * TICK)  # and once more when the block is over
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    blocked = longest * 1000
    assert blocked <= milliseconds, (
        f"the event loop stood still for {blocked:.1f} ms, allowed were {milliseconds:g}"
    )

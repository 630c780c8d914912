"""MTA-STS: policies by which domains say how their mail servers are known (RFC 8461)."""

import asyncio
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

import structlog

from filterrelay.delivery.https import Https, HttpsFailed, Page
from filterrelay.errors import FilterRelayError
from filterrelay.observe.clock import Clock
from filterrelay.plugin.services import DnsError, Resolver

Mode = Literal["enforce", "testing", "none"]
Fault = Literal["sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid", ""]

MOST_AGE = 31_557_600  # seconds; section 3.2
LEAST_AGE = 300  # seconds; with less each message would mean a fetch
MOST_KNOWN = 10_000  # policies and faults kept in memory
MOST_MX = 100  # of one policy
MOST_AT_ONCE = 64  # fetches under way
MOST_WAIT = 30.0  # seconds until one may begin; with its own time the minute of section 3.3
REFRESH = timedelta(days=1)  # after so long a policy is fetched anew; section 3.3
AFTER_FAULT = timedelta(minutes=5)  # until a fetch that failed is tried again; section 3.3

_RECORD = re.compile(rb"v=STSv1[ \t]*;[ \t]*id=([A-Za-z0-9]{1,32})[ \t]*(?:;.*)?", re.DOTALL)
_MX = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass
class BadPolicy(FilterRelayError):
    """What a domain has published is no policy."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A domain's policy.

    id: what its DNS record calls it. mx: names of mail servers, in lower case, `*.` standing
    for one label. max_age: seconds for which it holds after it was fetched.
    """

    id: str
    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    fetched: datetime

    def allows(self, host: str) -> bool:
        """Whether this mail server is one of the domain's (section 4.1)."""
        name = host.lower().rstrip(".")
        parent = "*." + name.partition(".")[2]
        return name in self.mx or parent in self.mx

    def holds_at(self, now: datetime) -> bool:
        """Whether its time isn't over."""
        return now < self.fetched + timedelta(seconds=self.max_age)

    def is_fresh_at(self, now: datetime) -> bool:
        """Whether it holds and isn't to be fetched anew yet."""
        return self.holds_at(now) and now < self.fetched + REFRESH

    @property
    def lines(self) -> tuple[str, ...]:
        """It as it is written."""
        return (
            "version: STSv1",
            f"mode: {self.mode}",
            *(f"mx: {name}" for name in self.mx),
            f"max_age: {self.max_age}",
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a domain: its policy, if there is one, and why a new one can't be had."""

    policy: StsPolicy | None = None
    fault: Fault = ""
    reason: str = ""


NOTHING = Told()


def record_id(records: Sequence[bytes]) -> str:
    """The policy's id by the TXT records, empty unless exactly one is about MTA-STS (3.1)."""
    ours = [record for record in records if record.replace(b" ", b"").startswith(b"v=STSv1;")]
    found = _RECORD.fullmatch(ours[0]) if len(ours) == 1 else None
    return found[1].decode() if found else ""


def _text(page: Page) -> bytes:
    """The page, if it is text: who may upload pictures must not thereby set policies."""
    if page.kind != "text/plain":
        raise BadPolicy(f"its media type is {page.kind!r}")
    return page.content


def parse_policy(content: bytes, id_: str, now: datetime) -> StsPolicy:
    """The policy of a file (section 3.2); unknown fields are passed over. Raises BadPolicy."""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise BadPolicy("it isn't UTF-8") from None
    fields: dict[str, str] = {}
    servers: list[str] = []
    for line in lines:
        key, colon, value = (part.strip() for part in line.partition(":"))
        if line.strip() and not colon:
            raise BadPolicy(f"no field: {line[:80]!r}")
        if key == "mx":
            servers.append(value.lower())
        else:
            fields.setdefault(key, value)
    mode, age = fields.get("mode", ""), fields.get("max_age", "")
    if fields.get("version") != "STSv1":
        raise BadPolicy("its version isn't STSv1")
    if mode not in ("enforce", "testing", "none"):
        raise BadPolicy(f"its mode is {mode[:80]!r}")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise BadPolicy(f"its max_age is {age[:80]!r}")
    if not all(_MX.fullmatch(name) for name in servers) or len(servers) > MOST_MX:
        raise BadPolicy("it names what is no mail server, or too many")
    if mode != "none" and not servers:
        raise BadPolicy("it names no mail server")
    return StsPolicy(
        id_, cast("Mode", mode), tuple(servers), max(LEAST_AGE, min(int(age), MOST_AGE)), now
    )


class PolicyFiles:
    """Policies on disk, one file a domain, shared by all workers and kept over restarts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, domain: str) -> StsPolicy | None:
        """The domain's, if there is one that can be read."""
        try:
            stored = json.loads(self._file(domain).read_text())
            fetched = datetime.fromisoformat(stored.pop("fetched"))
            return StsPolicy(mx=tuple(stored.pop("mx")), fetched=fetched, **stored)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as bad:
            _log.warning("sts_policy_unreadable", domain=domain, reason=str(bad))
            return None

    def save(self, domain: str, policy: StsPolicy) -> None:
        """Keeps it; whoever reads meanwhile has the old or the new one, and never a half."""
        stored = asdict(policy) | {"fetched": policy.fetched.isoformat()}
        file = self._file(domain)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            draft.write_text(json.dumps(stored))
            draft.replace(file)
        except OSError as bad:
            _log.warning("sts_policy_not_kept", domain=domain, reason=str(bad))

    def sweep(self, now: datetime) -> None:
        """Removes what holds no longer."""
        for file in self._directory.glob("*.json"):
            policy = self.load(file.stem)
            if policy is None or not policy.holds_at(now):
                file.unlink(missing_ok=True)

    def _file(self, domain: str) -> Path:
        return self._directory / f"{domain}.json"


class MtaSts:
    """The domains' policies: by DNS record and HTTPS, from memory or disk when they hold."""

    def __init__(self, resolver: Resolver, https: Https, files: PolicyFiles, clock: Clock) -> None:
        self._resolver = resolver
        self._https = https
        self._files = files
        self._clock = clock
        self._known: dict[str, tuple[Told, datetime]] = {}  # and when it is time to fetch again
        self._under_way: dict[str, asyncio.Task[Told]] = {}
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def policy(self, domain: str) -> Told:
        """What the domain demands. domain: ASCII, lower case.

        Where DNS or the file can't be had, what was known stays true (section 5.1), and without
        that there is no policy. What is known is fetched anew beside the mail.
        """
        now = self._clock.now()
        id_ = await self._id(domain)
        told, again = self._kept(domain, now)
        if not id_ and told.policy is None:
            return NOTHING
        is_same = told.policy is not None and told.policy.id == id_
        if now < again and (is_same or not id_ or told.fault):
            return told
        fetching = self._fetching(domain, id_ or (told.policy.id if told.policy else ""))
        if is_same or not id_ or told.fault:
            return told
        return await asyncio.shield(fetching)

    async def close(self) -> None:
        """Gives up every fetch under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _id(self, domain: str) -> str:
        try:
            records = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        except DnsError:
            return ""
        return record_id([record for record in records if isinstance(record, bytes)])

    def _kept(self, domain: str, now: datetime) -> tuple[Told, datetime]:
        """What is known and still holds, and when to fetch again."""
        known = self._known.get(domain)
        if known is None:
            policy = self._files.load(domain)
            known = (Told(policy), policy.fetched + REFRESH) if policy else (NOTHING, now)
        told, again = known
        if told.policy is not None and not told.policy.holds_at(now):
            return replace(told, policy=None), again
        return told, again

    def _fetching(self, domain: str, id_: str) -> asyncio.Task[Told]:
        """The fetch of that domain's policy; there is one at a time."""
        task = self._under_way.get(domain)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(domain, id_))
            self._under_way[domain] = task
            task.add_done_callback(lambda _: self._under_way.pop(domain, None))
        return task

    async def _fetch(self, domain: str, id_: str) -> Told:
        now = self._clock.now()
        other = self._files.load(domain)  # another worker's
        if other is not None and other.id == id_ and other.is_fresh_at(now):
            return self._keep(domain, Told(other), other.fetched + REFRESH)
        try:
            page = await self._page(f"https://mta-sts.{domain}/.well-known/mta-sts.txt")
            policy = parse_policy(_text(page), id_, now)
        except (HttpsFailed, BadPolicy) as bad:
            return self._without(domain, now, bad)
        self._files.save(domain, policy)
        _log.info("sts_policy_fetched", domain=domain, mode=policy.mode)
        return self._keep(domain, Told(policy), now + REFRESH)

    async def _page(self, url: str) -> Page:
        """What stands there; many servers that hang mustn't keep all others' mail waiting."""
        try:
            async with asyncio.timeout(MOST_WAIT):
                await self._slots.acquire()
        except TimeoutError:
            raise HttpsFailed(f"{url}: too many other policies are being fetched") from None
        try:
            return await self._https.get(url)
        finally:
            self._slots.release()

    def _without(self, domain: str, now: datetime, bad: HttpsFailed | BadPolicy) -> Told:
        """What is known goes on while it holds."""
        fault: Fault = "sts-policy-invalid"
        if isinstance(bad, HttpsFailed):
            fault = "sts-webpki-invalid" if bad.certificate else "sts-policy-fetch-error"
        _log.warning("sts_policy_not_fetched", domain=domain, reason=str(bad))
        told, _ = self._kept(domain, now)
        return self._keep(domain, Told(told.policy, fault, str(bad)), now + AFTER_FAULT)

    def _keep(self, domain: str, told: Told, again: datetime) -> Told:
        self._known.pop(domain, None)
        self._known[domain] = told, again
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return told

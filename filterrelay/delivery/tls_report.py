"""Daily reports on TLS to the domains that ask for them (RFC 8460)."""

import asyncio
import base64
import contextlib
import email.utils
import fcntl
import gzip
import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import structlog

from filterrelay.delivery.https import Https, HttpsFailed
from filterrelay.delivery.tls_tally import Result, TlsTally, results_of
from filterrelay.mail.address import BadAddress, parse_mailbox
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import derived_id, new_id
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.services import DnsError, Resolver

PAUSE = 600.0  # seconds between two flushes; with fewer a busy day would not fit its file
BETWEEN = timedelta(hours=1)  # between two rounds of sending
AFTER = timedelta(minutes=30)  # of a day until all processes have written what they counted on it
SPREAD = timedelta(hours=4)  # in which relays choose their time, lest all come at once; section 4.1
GIVE_UP = timedelta(days=2)  # after a day's end; section 3 asks for a day at least
MOST_PLACES = 4  # of one domain that a report is sent to
MOST_FAILURES = 1000  # kinds of failure in one report
_KIND = "application/tlsrpt+gzip"
_SENT = "sent"  # the domains whose reports have gone out, a line each

_log: Any = structlog.get_logger("filterrelay.delivery")

Send = Callable[[Envelope, bytes, str], Awaitable[None]]  # and the ID that it is to have


@dataclass(frozen=True, slots=True)
class Sender:
    """Who reports. contact: a mail address that people can ask."""

    hostname: str
    contact: str


class TlsReports:
    """Sends each finished day's reports, from one process at a time.

    submit: signs and spools a report by mail, unless the spool knows one of that ID: a crash
    before it was noted here doesn't repeat it.
    """

    def __init__(
        self,
        directory: Path,
        sender: Sender,
        resolver: Resolver,
        https: Https,
        submit: Send,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._directory = directory
        self._sender = sender
        self._resolver = resolver
        self._https = https
        self._submit = submit
        self._clock = clock
        self._written = metrics.reports.labels("tls")
        self._after = AFTER + SPREAD * random.Random(sender.hostname).random()  # noqa: S311  # no secret

    async def run(self, tally: TlsTally) -> None:
        """Writes down what this process counts, and sends what is due, until it is cancelled."""
        due = self._clock.now()
        try:
            while True:
                await asyncio.sleep(PAUSE)
                tally.flush()
                if self._clock.now() >= due:
                    due = self._clock.now() + BETWEEN
                    await self._send_or_log()
        finally:
            tally.flush()

    async def _send_or_log(self) -> None:
        try:
            await self.send_due()
        except Exception:  # noqa: BLE001  # a seam: mail must not stop because a report can't be made
            _log.exception("tls_reports_failed")

    async def send_due(self) -> None:
        """Sends what is due, unless another process is about it."""
        with _alone(self._directory) as alone:
            if alone:
                for folder, day in _days(self._directory):
                    await self._day(folder, day)

    async def _day(self, folder: Path, day: date) -> None:
        """The day's reports that haven't gone out; the folder goes when all have, or in the end."""
        end = datetime.combine(day, time(), UTC) + timedelta(days=1)
        if self._clock.now() < end + self._after:
            return
        results = await asyncio.to_thread(_summed, folder)
        done = _sent(folder)
        waiting = False
        for domain, counts in sorted(results.items()):
            if domain in done:
                continue
            if await self._report_or_log(domain, day, counts):
                with (folder / _SENT).open("a") as out:
                    out.write(f"{domain}\n")
            else:
                waiting = True
        if not waiting or self._clock.now() > end + GIVE_UP:
            await asyncio.to_thread(shutil.rmtree, folder)

    async def _report_or_log(self, domain: str, day: date, counts: Counter[Result]) -> bool:
        try:
            return await self._report(domain, day, counts)
        except Exception:  # noqa: BLE001  # a seam: what fails for one domain must not for all others
            _log.exception("tls_report_not_made", domain=domain, day=day.isoformat())
            return False

    async def _report(self, domain: str, day: date, counts: Counter[Result]) -> bool:
        """Sends the report where the domain wants it; whether there is nothing more to do."""
        try:
            records = await self._resolver.lookup(f"_smtp._tls.{domain}", "TXT")
        except DnsError:
            return False
        places = places_of([record for record in records if isinstance(record, bytes)])
        if not places:
            return True
        report = _Report(self._sender, domain, day, counts)
        content = await asyncio.to_thread(gzip.compress, report.encode(), mtime=0)
        sent = [await self._hand_over(place, report, content) for place in places]
        if any(sent):
            self._written.inc()
            _log.info("tls_report_sent", domain=domain, day=day.isoformat())
        return any(sent)

    async def _hand_over(self, place: str, report: "_Report", content: bytes) -> bool:
        try:
            if place.startswith("https:"):
                await self._https.post(place, _KIND, content)
                return True
            recipient = Recipient(
                parse_mailbox(unquote(place.removeprefix("mailto:").partition("?")[0]), utf8=False),
                notify=("NEVER",),
            )
        except (HttpsFailed, BadAddress) as bad:
            _log.warning("tls_report_not_sent", domain=report.domain, uri=place, reason=str(bad))
            return False
        now = self._clock.now()
        await self._submit(
            Envelope(None, (recipient,)),
            report.mail(str(recipient.address), content, now),
            derived_id(b"tls-report", report.id.encode(), place.encode()),
        )
        return True


@dataclass(frozen=True, slots=True)
class _Report:
    """One domain's report on one day."""

    sender: Sender
    domain: str
    day: date
    counts: Counter[Result]

    @property
    def id(self) -> str:
        """The same whenever it is made, so that who gets it twice can tell."""
        return f"{self.day.isoformat()}.{self.domain}@{self.sender.hostname}"

    def encode(self) -> bytes:
        """As JSON (section 4.4)."""
        policies: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[tuple[Result, int]]] = {}
        for result, count in self.counts.most_common():
            key = (result.kind, result.strings, result.mx)
            policies.setdefault(key, []).append((result, count))
        return json.dumps(
            {
                "organization-name": self.sender.hostname,
                "date-range": {
                    "start-datetime": f"{self.day.isoformat()}T00:00:00Z",
                    "end-datetime": f"{self.day.isoformat()}T23:59:59Z",
                },
                "contact-info": self.sender.contact,
                "report-id": self.id,
                "policies": [self._policy(*key, results) for key, results in policies.items()],
            }
        ).encode()

    def _policy(
        self,
        kind: str,
        strings: Sequence[str],
        mx: Sequence[str],
        results: Sequence[tuple[Result, int]],
    ) -> dict[str, Any]:
        policy: dict[str, Any] = {"policy-type": kind, "policy-domain": self.domain}
        if strings:
            policy["policy-string"] = strings
        if mx:
            policy["mx-host"] = mx
        failures = [(result, count) for result, count in results if result.failure]
        details = [
            {
                "result-type": result.failure,
                "receiving-mx-hostname": result.host,
                "failed-session-count": count,
                **({"failure-reason-code": result.reason} if result.reason else {}),
            }
            for result, count in failures[:MOST_FAILURES]
        ]
        summary = {
            "total-successful-session-count": sum(n for r, n in results if not r.failure),
            "total-failure-session-count": sum(count for _, count in failures),
        }
        told = {"policy": policy, "summary": summary}
        return told | ({"failure-details": details} if details else {})

    def mail(self, to: str, content: bytes, now: datetime) -> bytes:
        """As a message (section 5.3). content: the JSON, compressed."""
        host, boundary = self.sender.hostname, f"=_{new_id(now)}"
        begin = int(datetime.combine(self.day, time(), UTC).timestamp())
        file = f"{host}!{self.domain}!{begin}!{begin + 86_399}.json.gz"
        text = (
            f"This is a report on the TLS of connections from {host}\n"
            f"to the mail servers of {self.domain} on {self.day.isoformat()} (UTC).\n"
            f"Questions go to {self.sender.contact}.\n"
        ).replace("\n", "\r\n")
        head = (
            f"From: TLS reports <{self.sender.contact}>\r\n"
            f"To: <{to}>\r\n"
            f"Subject: Report Domain: {self.domain}\r\n"
            f" Submitter: {host}\r\n"
            f" Report-ID: <{self.id}>\r\n"
            f"Date: {email.utils.format_datetime(now)}\r\n"
            f"Message-ID: <{new_id(now)}@{host}>\r\n"
            f"TLS-Report-Domain: {self.domain}\r\n"
            f"TLS-Report-Submitter: {host}\r\n"
            "TLS-Required: No\r\n"  # RFC 8689 section 5; what is wrong must not stop the report
            "Auto-Submitted: auto-generated\r\n"
            "MIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type="tlsrpt";\r\n'
            f' boundary="{boundary}"\r\n'
            "\r\n"
            f"--{boundary}\r\n"
            "Content-Type: text/plain; charset=us-ascii\r\n"
            "\r\n"
            f"{text}"
            f"--{boundary}\r\n"
            f"Content-Type: {_KIND}\r\n"
            "Content-Transfer-Encoding: base64\r\n"
            f'Content-Disposition: attachment;\r\n filename="{file}"\r\n'
            "\r\n"
        )
        encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
        return head.encode() + encoded + f"--{boundary}--\r\n".encode()


def places_of(records: Sequence[bytes]) -> list[str]:
    """Where a domain wants its reports, by its TXT records (section 3); empty for nowhere."""
    ours = [record for record in records if re.match(rb"v=TLSRPTv1[ \t]*;", record)]
    if len(ours) != 1:
        return []
    for field in ours[0].decode("ascii", "replace").split(";")[1:]:
        name, _, value = field.partition("=")
        if name.strip() == "rua":
            places = [place.strip() for place in value.split(",")]
            return [p for p in places if p.startswith(("mailto:", "https:"))][:MOST_PLACES]
    return []


def _days(directory: Path) -> Iterator[tuple[Path, date]]:
    """The folders of days, the oldest first."""
    for folder in sorted(directory.iterdir()):
        with contextlib.suppress(ValueError):
            yield folder, date.fromisoformat(folder.name)


def _summed(folder: Path) -> dict[str, Counter[Result]]:
    """What all processes have counted on a day, by domain."""
    results: dict[str, Counter[Result]] = {}
    for result, count in results_of(folder):
        results.setdefault(result.domain, Counter())[result] += count
    return results


def _sent(folder: Path) -> frozenset[str]:
    file = folder / _SENT
    return frozenset(file.read_text().split()) if file.exists() else frozenset()


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Whether no other process is at it; none begins until this one is done."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)

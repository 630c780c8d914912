"""The plugin `spf`: whether the sender's domain lets this client send its mail."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Literal, assert_never

import spf

from filterrelay.plugin import (
    Address,
    AuthResult,
    Defer,
    Duration,
    Envelope,
    Finding,
    Options,
    Pass,
    Quarantine,
    Reads,
    Reject,
    Reply,
    Services,
    Session,
    Verdict,
    hook,
)
from filterrelay.plugin.services import DnsError

MAX_RECORD = 4096  # octets; RFC 7208 section 3.4 asks publishers to stay near 512
MAX_TERM = 500  # octets of one mechanism; pyspf's patterns grow with its square
MAX_EXPLANATION = 500  # octets, RFC 7208 section 6.2
MAX_NAME = 253  # octets of a domain name
MAX_ROUNDS = 64  # the limits of RFC 7208 section 4.6.4 end every check well before
MAX_MX = 10  # RFC 7208 section 4.6.4; also of PTR names

NOT_ALLOWED = "5.7.23"  # RFC 7372 section 3.2
CANT_EVALUATE = "7.24"  # RFC 7372 section 3.2, after the class

Action = Literal["reject", "quarantine", "tag"]
Question = tuple[str, str]


class SpfOptions(Options):
    """The options of `spf`."""

    on_fail: Action = "reject"
    """What to do when the domain says that this client must not send its mail."""
    on_softfail: Action = "tag"
    """What to do when the domain says that it probably must not."""
    on_permerror: Action = "tag"
    """What to do when the domain's record can't be understood."""
    on_temperror: Literal["defer", "tag"] = "tag"
    """What to do when DNS doesn't answer."""
    timeout: Duration = timedelta(seconds=20)
    """How long one check may take in all (RFC 7208 section 4.6.4)."""


@dataclass(frozen=True, slots=True)
class Check:
    """How a check ended. result: as RFC 7208 section 2.6 has it.

    problem: what is wrong with the record or DNS. explanation: the domain's own
    words about a failure (section 6.2); nothing in them is to be trusted.
    """

    result: str
    problem: str = ""
    explanation: str = ""


class Spf:
    """Checks SPF (RFC 7208) of the envelope sender, or of the HELO name for bounces.

    Clients that may relay are not checked: they speak for nobody's servers. By
    default mail is refused when the domain forbids it (`-all`), and passes with a
    finding and a line in Authentication-Results in every other case.
    """

    options_type = SpfOptions
    reads: Reads = "envelope"

    def __init__(self, options: SpfOptions) -> None:
        """Takes the validated options."""
        self._options = options

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Keeps what the core lends."""
        self._services = services
        yield

    @hook
    async def on_message(self, session: Session, envelope: Envelope) -> Verdict | None:
        """Judges the client by the record of the sender's domain."""
        if session.may_relay or not session.client_ip or _is_loopback(session.client_ip):
            return None
        sender = envelope.return_path
        domain = (envelope.sender.domain if envelope.sender else session.helo).lower()
        try:
            async with asyncio.timeout(self._options.timeout.total_seconds()):
                check = await self._check(session, envelope.sender)
        except TimeoutError:
            check = Check("temperror", "the check took too long")
        return self._verdict(check, _finding(check, session, sender, domain), session, domain)

    async def _check(self, session: Session, sender: Address | None) -> Check:
        """Evaluates the record, again after each answer of DNS, until none is missing.

        pyspf blocks where it asks DNS. Evaluated afresh with all answers known so
        far it needs neither a thread nor a second stack, and a record takes it a
        tenth of a millisecond.
        """
        answers: dict[Question, Sequence[Any] | DnsError] = {}
        helo = session.helo if len(session.helo) <= MAX_NAME else ""
        began = str(int(self._services.clock.now().timestamp()))
        for _ in range(MAX_ROUNDS):
            query = _Query(session.client_ip, sender, helo, self._services.hostname, answers)
            query.t = began  # the macro %{t}, RFC 7208 section 7.2
            check = query.evaluate()
            if not query.missing:
                return check
            await self._find(query.missing, answers)
        return Check("permerror", "the record needs too many look-ups")

    async def _find(
        self, questions: Sequence[Question], answers: dict[Question, Sequence[Any] | DnsError]
    ) -> None:
        """Adds the answers; a lone question, the usual case, without a task of its own."""
        if len(questions) == 1:
            answers[questions[0]] = await self._ask(*questions[0])
            return
        found = await asyncio.gather(*(self._ask(*question) for question in questions))
        answers.update(zip(questions, found, strict=True))

    async def _ask(self, name: str, kind: str) -> Sequence[Any] | DnsError:
        try:
            return await self._services.resolver.lookup(name, kind)
        except DnsError as error:
            return error

    def _verdict(self, check: Check, finding: Finding, session: Session, domain: str) -> Verdict:
        options = self._options
        match check.result:
            case "fail":
                return _carried_out(options.on_fail, _forbidden(check, session, domain), finding)
            case "softfail":
                reply = _forbidden(check, session, domain)
                return _carried_out(options.on_softfail, reply, finding)
            case "permerror":
                reply = Reply(550, f"5.{CANT_EVALUATE}", f"The SPF record of {domain} is broken")
                return _carried_out(options.on_permerror, reply, finding)
            case "temperror" if options.on_temperror == "defer":
                text = f"The SPF record of {domain} can't be read now"
                return Defer(Reply(451, f"4.{CANT_EVALUATE}", text), finding)
            case _:
                return Pass(finding)


def _carried_out(action: Action, reply: Reply, finding: Finding) -> Verdict:
    match action:
        case "reject":
            return Reject(reply, finding)
        case "quarantine":
            return Quarantine(reply.text, finding)
        case "tag":
            return Pass(finding)
        case _:
            assert_never(action)


def _forbidden(check: Check, session: Session, domain: str) -> Reply:
    text = f"{domain} doesn't allow {session.client_ip} to send its mail (SPF)"
    if check.explanation:
        # RFC 7208 section 6.2: it must be clear whose words these are.
        text = f"{text}; {domain} says: {check.explanation}"
    return Reply(550, NOT_ALLOWED, text)


def _finding(check: Check, session: Session, sender: str, domain: str) -> Finding:
    identity = ("smtp.mailfrom", sender) if sender else ("smtp.helo", session.helo)
    details = [("domain", domain), ("client", session.client_ip)]
    if check.explanation:
        details.append(("explanation", check.explanation))
    reason = check.problem or f"{session.client_ip} {_MEANING[check.result]} {domain}"
    auth = AuthResult("spf", check.result, reason, (identity,))
    return Finding(check.result, reason, None, tuple(details), (auth,))


_MEANING = {
    "pass": "is a permitted sender of",
    "fail": "is not a permitted sender of",
    "softfail": "is probably not a permitted sender of",
    "neutral": "is neither permitted nor denied by",
    "none": "can't be judged: there is no record of",
    "permerror": "can't be judged by the record of",
    "temperror": "can't be judged now by the record of",
}


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return True  # a name or nothing that SPF could judge


class _NotYetKnown(Exception):
    """The evaluation needs an answer that is still to be asked for."""


class _Query(spf.query):  # type: ignore[misc]  # pyspf has no types
    """One evaluation by pyspf, out of the answers at hand.

    missing: what DNS has to be asked before the result counts.
    """

    def __init__(
        self,
        client: str,
        sender: Address | None,
        helo: str,
        receiver: str,
        answers: dict[Question, Sequence[Any] | DnsError],
    ) -> None:
        super().__init__(client, str(sender or ""), helo, receiver=receiver)
        if sender is not None:  # pyspf would end a quoted local part at its first @
            self.l = sender.local or "postmaster"  # RFC 7208 section 4.3
            self.o = self.d = sender.domain
        self.set_default_explanation("")
        self._answers = answers
        self.missing: list[Question] = []

    def evaluate(self) -> Check:
        """The check's end, which counts when nothing is missing."""
        try:
            result, _, text = self.check()
        except _NotYetKnown:
            return Check("temperror")
        match result:
            case "permerror" | "temperror":
                return Check(result, text)
            case "fail" | "softfail":
                return Check(result, explanation=_printable(text))
            case _:
                return Check(result)

    def dns(
        self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False
    ) -> list[Any]:
        """pyspf's look-up (RFC 7208 section 5), with its count of those without an answer."""
        name = name.removesuffix(".").lower()
        records = self._known(name, qtype) if _is_name(name) else []
        if qtype in ("MX", "PTR") and len(records) <= MAX_MX:
            self._ask_ahead(records)
        if not records and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} look-ups without an answer")
        return [(record,) for record in records] if qtype == "TXT" else records

    def _known(self, name: str, kind: str) -> list[Any]:
        question = (name, kind)
        if question not in self._answers:
            if question not in self.missing:
                self.missing.append(question)
            raise _NotYetKnown
        answer = self._answers[question]
        if isinstance(answer, DnsError):
            raise spf.TempError(f"DNS doesn't answer for {name}")
        return list(answer)

    def _ask_ahead(self, records: Sequence[Any]) -> None:
        """Wants the addresses of all these hosts at once: pyspf is about to ask for each."""
        for host in _hosts(records):
            question = (host, self.A)
            if _is_name(host) and question not in self._answers and question not in self.missing:
                self.missing.append(question)

    def cidrmatch(self, ipaddrs: Sequence[str], n: int) -> bool:
        """Whether the client is in one of these networks of n bits, as pyspf tells, but quicker."""
        family = socket.AF_INET6 if self.v == "ip6" else socket.AF_INET
        shift = self.cidrmax - n
        prefix = int(self.ipaddr) >> shift
        try:
            packed = [socket.inet_pton(family, address) for address in ipaddrs]
        except OSError:
            raise spf.PermError("an address in the record is none") from None
        return any(int.from_bytes(address) >> shift == prefix for address in packed)

    def dns_spf(self, domain: str) -> str | None:
        """The domain's record, unless it is long enough to keep pyspf's patterns busy."""
        record: str | None = super().dns_spf(domain)
        if record and (
            len(record) > MAX_RECORD or max(len(term) for term in record.split(" ")) > MAX_TERM
        ):
            raise spf.PermError("the record is too long", domain)
        return record

    def validated_ptrs(self) -> list[str]:
        """The client's names that lead back to it; errors skip a name (RFC 7208 section 5.5)."""
        try:
            names = self.dns_ptr(self.i)[:MAX_MX]
        except spf.TempError:
            return []
        return [name for name in names if self._leads_back(name)]

    def _leads_back(self, name: str) -> bool:
        try:
            addresses = self.dns_a(name, self.A)
        except spf.TempError:
            return False
        return bool(self.cidrmatch(addresses, self.cidrmax))

    def expand(self, s: str, stripdot: bool = True) -> str:
        """Macros expanded; too long a name loses labels on its left (RFC 7208 section 7.3)."""
        text: str = super().expand(s, stripdot)
        while stripdot and len(text) > MAX_NAME and "." in text:
            text = text.partition(".")[2]
        return text

    def get_explanation(self, spec: str) -> str | None:
        """The domain's words about a failure, unless they are too many."""
        if any(len(text) > MAX_EXPLANATION for text in self.dns_txt(spec, ignore_void=True)):
            return None
        explanation: str | None = super().get_explanation(spec)
        return explanation


def _hosts(records: Sequence[Any]) -> Iterator[str]:
    for record in records:
        host = record[1] if isinstance(record, tuple) else record
        yield host.removesuffix(".").lower()


def _is_name(name: str) -> bool:
    """Whether a look-up of it makes sense (RFC 7208 section 4.3)."""
    return len(name) <= MAX_NAME and all(0 < len(label) <= 63 for label in name.split("."))


def _printable(text: str) -> str:
    """Foreign words for a reply: printable ASCII only, on one line."""
    kept = "".join(c if " " <= c <= "~" else " " for c in text)
    return kept.strip()[:MAX_EXPLANATION]

"""The plugin `dkim`: verifies DKIM signatures."""

from asyncio import gather
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from pydantic import Field

from filterrelay.plugin import AuthResult, Finding, Message, Options, Pass, Services, hook
from filterrelay.plugin.services import DnsError
from filterrelay.wire.dkim_key import BadKeyRecord, PublicKey, parse_key_record
from filterrelay.wire.dkim_verifying import (
    Judgement,
    Result,
    Signature,
    Unacceptable,
    Verification,
    parse_signature,
)

BIG = 256 * 1024  # octets from which hashing would hold up other sessions

# What the whole message is said to be: the word that comes first wins.
_ORDER: tuple[Result, ...] = ("pass", "temperror", "fail", "policy", "permerror", "neutral")
_UNSIGNED = Pass(Finding("none", "no signature", auth=(AuthResult("dkim", "none"),)))

KeyAnswer = PublicKey | BadKeyRecord | DnsError


class DkimOptions(Options):
    """The options of `dkim`."""

    max_signatures: int = Field(8, ge=1, le=50)
    """How many signatures are verified, from the top; what lies below is left out."""


class Dkim:
    """Verifies every DKIM signature (RFC 6376) and says so in Authentication-Results.

    RSA and Ed25519 with SHA-256. rsa-sha1, l= and RSA keys below 1024 bits are
    answered `policy`; a DNS that doesn't answer is `temperror`. Refuses nothing
    itself: a broken signature means no more than none (RFC 6376 section 6.3).
    """

    options_type = DkimOptions

    def __init__(self, options: DkimOptions) -> None:
        """Takes the validated options."""
        self._most = options.max_signatures

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Keeps what the core lends."""
        self._services = services
        yield

    @hook
    async def on_message(self, message: Message) -> Pass:
        """Passes every message, with a finding of one result a signature."""
        fields = message.all("dkim-signature")
        if not fields:
            return _UNSIGNED
        parsed = [_parsed(field.raw) for field in fields[: self._most]]
        keys = await self._keys({s.key_name for s in parsed if isinstance(s, Signature)})
        now = int(self._services.clock.now().timestamp())
        if len(message) > BIG:
            judged = await self._services.in_thread(_judge_all, message, parsed, keys, now)
        else:
            judged = _judge_all(message, parsed, keys, now)
        return Pass(_finding(judged, len(fields)))

    async def _keys(self, names: set[str]) -> dict[str, KeyAnswer]:
        """The keys under those names, looked up at once."""
        if len(names) == 1:
            (name,) = names
            return {name: await self._key(name)}
        ordered = sorted(names)
        return dict(zip(ordered, await gather(*map(self._key, ordered)), strict=True))

    async def _key(self, name: str) -> KeyAnswer:
        try:
            records = await self._services.resolver.lookup(name, "TXT")
        except DnsError as error:
            return error
        answer: KeyAnswer = BadKeyRecord("DNS has no key for it")
        for record in records:
            assert isinstance(record, bytes)
            try:
                return parse_key_record(record)
            except BadKeyRecord as error:
                answer = error
        return answer


def _parsed(raw: bytes) -> Signature | Judgement:
    try:
        return parse_signature(raw)
    except Unacceptable as error:
        return error.judgement


def _judge_all(
    message: Message,
    parsed: Iterable[Signature | Judgement],
    keys: dict[str, KeyAnswer],
    now: int,
) -> list[Judgement]:
    verification = Verification(message, now)
    judged = []
    for signature in parsed:
        if isinstance(signature, Judgement):
            judged.append(signature)
            continue
        match keys[signature.key_name]:
            case DnsError():
                judged.append(signature.judged("temperror", "DNS doesn't tell its key now"))
            case BadKeyRecord(reason):
                judged.append(signature.judged("permerror", reason))
            case PublicKey() as key:
                judged.append(verification.judge(signature, key))
    return judged


def _finding(judged: Sequence[Judgement], present: int) -> Finding:
    result = min((j.result for j in judged), key=_ORDER.index)
    told = [f"{j.domain or 'unreadable'}: {_told(j)}" for j in judged]
    if present > len(judged):
        told.append(f"{present - len(judged)} more left out")
    details = tuple((f"{j.domain}/{j.selector}", _told(j)) for j in judged)
    return Finding(result, ", ".join(told), None, details, tuple(_auth(j) for j in judged))


def _told(judgement: Judgement) -> str:
    return f"{judgement.result} ({judgement.reason})" if judgement.reason else judgement.result


def _auth(judgement: Judgement) -> AuthResult:
    """The judgement for Authentication-Results (RFC 8601 section 2.7.1, RFC 6008)."""
    reason = judgement.reason
    if judgement.testing:
        reason = f"{reason}; test key" if reason else "test key"
    properties = (
        ("header.d", judgement.domain),
        ("header.i", judgement.identity),
        ("header.s", judgement.selector),
        ("header.a", judgement.algorithm),
        ("header.b", judgement.digits),
    )
    said = tuple((name, value) for name, value in properties if value)
    return AuthResult("dkim", judgement.result, reason, said)

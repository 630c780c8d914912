"""What became of a message: in the chain, and at each delivery attempt."""

from dataclasses import dataclass, field
from datetime import datetime

from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.finding import Finding
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.mail.verdict import Verdict


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One plugin's turn, for the trace.

    plugin: the instance's name. hook: as `on_message`. seconds: how long it
    took. verdict: its name, `pass` included, or `error`, `timeout`, `skipped`.
    shadow: the verdict was only noted. error: the reason for the operator.
    began: when it was asked, in seconds of the clock that never goes back.
    """

    plugin: str
    hook: str
    seconds: float
    verdict: str
    text: str = ""
    finding: Finding | None = None
    edits: tuple[str, ...] = ()
    shadow: bool = False
    error: str = ""
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a message left the chain.

    id: the message's. by: the name of the plugin that decided, empty when all
    passed or the core itself refused. reply: what the client was told.
    size: octets of the message as received.
    """

    id: str
    at: datetime
    session: Session
    envelope: Envelope
    verdict: Verdict
    by: str
    reply: Reply
    size: int
    steps: tuple[StepRecord, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Route:
    """Where a recipient's mail goes: an upstream's name, or `mx`; reason for the trace."""

    upstream: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery attempt for one recipient.

    result: `delivered`, `deferred` or `bounced`. reply: the far side's words, or
    ours when it never spoke. host: `name:port`. seconds: connect to last reply.
    address: the `IP:port` that was spoken to. tls: the version, or `none`; cipher, verified:
    with what, and whether the certificate proved the host's name. stage: where the
    transaction failed, as `rcpt`; empty when all of it was accepted. next_attempt: when a
    deferred recipient is tried again. reason: why the mail goes to this upstream.
    """

    message_id: str
    at: datetime
    recipient: Recipient
    upstream: str
    host: str
    result: str
    reply: Reply
    seconds: float
    number: int
    address: str = ""
    tls: str = "none"
    cipher: str = ""
    verified: bool = False
    stage: str = ""
    next_attempt: datetime | None = None
    reason: str = ""

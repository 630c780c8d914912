"""A message as `queue export` writes it: its bytes, and beside them its envelope as JSON."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from filterrelay.cli.mail_files import BadFile
from filterrelay.intake.record import received_event
from filterrelay.mail.address import Address, BadAddress, parse_mailbox
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import derived_id, new_id
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Outcome
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.mail.verdict import Pass
from filterrelay.spool.store import Deposit, State, StoredMessage, recipients_due

# It becomes part of SMTP commands: nothing that could end one, or begin another parameter.
Parameter = Annotated[str, Field(pattern=r"^[^\x00-\x20\x7f]*$", max_length=500)]

_json = json.JSONEncoder().encode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IMPORTED = Reply(250, "2.0.0", "Imported")


class ExportedRecipient(BaseModel):
    """One recipient who hasn't got the message yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    notify: tuple[Literal["NEVER", "SUCCESS", "FAILURE", "DELAY"], ...] = ()
    orcpt: Parameter = ""


class Exported(BaseModel):
    """What stands in ID.json: the envelope as it shall leave, and where the message stood."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{17}$")
    received: AwareDatetime = Field(ge=_EPOCH)
    state: Literal["queued", "held"] = "queued"
    reason: str = Field("", max_length=1000)
    sender: str
    recipients: tuple[ExportedRecipient, ...] = Field(min_length=1)
    body: Literal["7BIT", "8BITMIME", "BINARYMIME"] = "7BIT"
    smtputf8: bool = False
    requiretls: bool = False
    ret: Literal["", "FULL", "HDRS"] = ""
    envid: Parameter = ""
    auth: Parameter = ""
    session: Session


def exported(message: StoredMessage) -> bytes:
    """The JSON to write beside the message's bytes, a document that Exported describes."""
    envelope = message.envelope
    document = {
        "id": message.id,
        "received": message.received.isoformat(),
        "state": message.state,
        "reason": message.reason,
        "sender": envelope.return_path,
        "recipients": [
            {"address": str(r.recipient), "notify": r.recipient.notify, "orcpt": r.recipient.orcpt}
            for r in message.pending()
        ],
        "body": envelope.body,
        "smtputf8": envelope.smtputf8,
        "requiretls": envelope.requiretls,
        "ret": envelope.ret,
        "envid": envelope.envid,
        "auth": envelope.auth,
        "session": message.session,
    }
    # A line each: json's own indentation takes three times as long.
    lines = ",\n".join([f'  "{key}": {_json(value)}' for key, value in document.items()])
    return f"{{\n{lines}\n}}\n".encode()


def imported(text: bytes, content: bytes, file: str, now: datetime) -> Deposit:
    """The message of an export, due now. text: the JSON; file: where the content was.

    Patience with its next hop counts from now. Raises BadFile.
    """
    raw = _mail(content)
    try:
        document = Exported.model_validate_json(text)
        recipients = tuple(
            Recipient(parse_mailbox(each.address, utf8=True), each.notify, each.orcpt)
            for each in document.recipients
        )
        sender = parse_mailbox(document.sender, utf8=True) if document.sender else None
    except ValidationError as error:
        (first, *_) = error.errors()
        raise BadFile(f"its .json: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except BadAddress as error:
        raise BadFile(f"its .json: {error.text}: {error}") from None
    envelope = Envelope(
        sender,
        recipients,
        document.body,
        document.smtputf8,
        document.requiretls,
        document.ret,
        document.envid,
        document.auth,
    )
    message = StoredMessage(
        id=document.id,
        received=min(document.received, now),
        envelope=envelope,
        session=document.session.facts(),
        size=len(raw),
        recipients=recipients_due(envelope, now),
        state=State(document.state),
        reason=document.reason,
        released=now,
    )
    return _deposit(message, document.session, raw, file, now)


def plain_import(
    content: bytes,
    sender: Address | None,
    recipients: tuple[Address, ...],
    file: str,
    now: datetime,
) -> Deposit:
    """A message without an envelope of its own, due now; the same one always gets the same ID.

    Raises BadFile.
    """
    raw = _mail(content)
    parts = (str(sender or ""), *map(str, recipients))
    session = Session(new_id(now), "", "import", "", trusted=True)
    utf8 = any(each.needs_smtputf8 for each in (*recipients, *([sender] if sender else [])))
    envelope = Envelope(
        sender,
        tuple(map(Recipient, recipients)),
        body="7BIT" if content.isascii() else "8BITMIME",
        smtputf8=utf8,
    )
    message = StoredMessage(
        id=derived_id(content, *(part.encode() for part in parts)),
        received=now,
        envelope=envelope,
        session=session.facts(),
        size=len(raw),
        recipients=recipients_due(envelope, now),
    )
    return _deposit(message, session, raw, file, now)


def _mail(content: bytes) -> bytes:
    """The message with CRLF line ends. Raises BadFile."""
    raw = Message.stored("", content).raw
    if not raw.strip():
        raise BadFile("it is empty")
    if b"\0" in raw:
        raise BadFile("it has a NUL in it")
    return raw


def _deposit(
    message: StoredMessage, session: Session, raw: bytes, file: str, now: datetime
) -> Deposit:
    """The message with its bytes and its trace's first event."""
    outcome = Outcome(
        id=message.id,
        at=now,
        session=session,
        envelope=message.envelope,
        verdict=Pass(),
        by="",
        reply=_IMPORTED,
        size=len(raw),
    )
    event = received_event(outcome)
    event = replace(event, data={**event.data, "imported": file})
    return Deposit(message, raw, (event,))

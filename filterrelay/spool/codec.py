"""The spool's values as database rows and back.

Times become whole microseconds since 1970, lists of words text with a
separator, and only what has no fixed form becomes JSON.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.spool.statements import Row
from filterrelay.spool.store import (
    Event,
    Lease,
    RecipientState,
    State,
    StoredMessage,
    StoredRecipient,
    address_of,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_json = json.JSONEncoder(separators=(",", ":")).encode


def microseconds(at: datetime) -> int:
    """The moment as the database has it."""
    return round(at.timestamp() * 1_000_000)


def moment(value: int) -> datetime:
    """The moment that the database means."""
    return _EPOCH + timedelta(microseconds=value)


def json_list(values: Iterable[str | int]) -> str:
    """A list as json_each takes it."""
    return _json(list(values))


def json_object(values: Mapping[str, Any]) -> str:
    """A mapping of JSON values as text."""
    return _json(values if type(values) is dict else dict(values)) if values else "{}"


def storable(text: str) -> str:
    """The text without lone surrogates: far sides send bytes that are no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def message_row(message: StoredMessage, file: str | None) -> Row:
    """The columns of insert_message but the last, which is known only when it is inserted."""
    lease = message.lease
    return (
        message.id,
        message.state.value,
        microseconds(message.received),
        sender_text(message.envelope),
        message.size,
        storable(message.reason),
        message.by,
        "\n".join(message.passed),
        None if message.released is None else microseconds(message.released),
        due(message.recipients),
        lease.owner if lease else None,
        microseconds(lease.until) if lease else 0,
        file,
    )


def sender_text(envelope: Envelope) -> str | None:
    """The sender's column; NULL is the null sender."""
    return None if envelope.sender is None else str(envelope.sender)


def due(recipients: Iterable[StoredRecipient]) -> int | None:
    """When the first of them is to be tried; None when all have ended."""
    return min(
        (
            0 if r.next_attempt is None else microseconds(r.next_attempt)
            for r in recipients
            if r.state is RecipientState.QUEUED
        ),
        default=None,
    )


def recipient_rows(message_id: str, recipients: Iterable[StoredRecipient]) -> list[Row]:
    """The rows of insert_recipient."""
    return [
        (
            message_id,
            stored.index,
            str(stored.recipient.address),
            " ".join(stored.recipient.notify),
            storable(stored.recipient.orcpt),
            *_standing(stored),
        )
        for stored in recipients
    ]


def settled_row(message_id: str, stored: StoredRecipient) -> Row:
    """The row of settle_recipient."""
    state, attempts, following, last_reply, upstream, warned, redirect, unreached = _standing(
        stored
    )
    return (
        *(state, attempts, redirect, following, last_reply),
        *(redirect, upstream, warned, redirect, unreached),
        *(message_id, stored.index),
    )


def _standing(stored: StoredRecipient) -> Row:
    following = stored.next_attempt
    return (
        stored.state.value,
        stored.attempts,
        None if following is None else microseconds(following),
        storable(stored.last_reply),
        stored.upstream,
        int(stored.warned),
        stored.redirect,
        int(stored.unreached),
    )


def event_rows(events: Iterable[Event]) -> list[Row]:
    """The rows of insert_event."""
    return [(e.message_id, microseconds(e.at), e.kind, json_object(e.data)) for e in events]


_PLAIN = Envelope(None)
_PARAMETERS = ("body", "smtputf8", "requiretls", "ret", "envid", "auth", "size")


def envelope_text(envelope: Envelope) -> str:
    """The MAIL parameters that were given, as JSON; sender and recipients have columns."""
    given = {
        name: value
        for name in _PARAMETERS
        if (value := getattr(envelope, name)) != getattr(_PLAIN, name)
    }
    return _json(given) if given else "{}"


def stored_messages(messages: Sequence[Row], recipients: Iterable[Row]) -> list[StoredMessage]:
    """The values of `messages` rows, in their order, with their `recipients` rows.

    A message that can't be read, of a damaged file or another version's, is shown as
    held, with the reason and without recipients; the others are none the worse for it.
    """
    by_message: dict[str, list[Sequence[Any]]] = {}
    for message_id, *row in recipients:
        by_message.setdefault(message_id, []).append(row)
    return [_readable(row, by_message.get(row[0], ())) for row in messages]


def _readable(row: Row, recipients: Iterable[Sequence[Any]]) -> StoredMessage:
    try:
        return _stored_message(row, tuple([_stored_recipient(each) for each in recipients]))
    except (TypeError, ValueError, KeyError) as error:
        id_, _, received, _, size, *_ = row
        return StoredMessage(
            id=id_,
            received=moment(received),
            envelope=_PLAIN,
            session={},
            size=size,
            recipients=(),
            state=State.HELD,
            reason=f"it can't be read: {type(error).__name__}: {error}",
        )


def _stored_recipient(row: Sequence[Any]) -> StoredRecipient:
    idx, address, notify, orcpt, state, attempts, following, last_reply, *rest = row
    upstream, warned, redirect, unreached = rest
    return StoredRecipient(
        index=idx,
        recipient=Recipient(address_of(address), tuple(notify.split()), orcpt),
        state=RecipientState(state),
        attempts=attempts,
        next_attempt=None if following is None else moment(following),
        last_reply=last_reply,
        upstream=upstream,
        warned=bool(warned),
        redirect=redirect,
        unreached=bool(unreached),
    )


def _stored_message(row: Row, recipients: tuple[StoredRecipient, ...]) -> StoredMessage:
    id_, state, received, sender, size, reason, by, passed, released, *rest = row
    owner, until, envelope, session = rest
    return StoredMessage(
        id=id_,
        received=moment(received),
        envelope=Envelope(
            sender=None if sender is None else address_of(sender),
            recipients=tuple(stored.recipient for stored in recipients),
            **json.loads(envelope),
        ),
        session=json.loads(session),
        size=size,
        recipients=recipients,
        state=State(state),
        reason=reason,
        by=by,
        lease=None if owner is None else Lease(owner, moment(until)),
        passed=tuple(passed.split("\n")) if passed else (),
        released=None if released is None else moment(released),
    )


def stored_event(message_id: str, row: Row) -> Event:
    """The value of an `events` row."""
    at, kind, data = row
    return Event(message_id, moment(at), kind, json.loads(data))

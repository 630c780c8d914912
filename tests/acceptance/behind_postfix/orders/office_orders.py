"""A third party's plugin that does with a message what its X-Order field says."""

from collections.abc import Callable

from filterrelay.plugin import (
    AddHeader,
    AddRecipient,
    Address,
    ChangeHeader,
    ChangeSender,
    Defer,
    Discard,
    Edit,
    Envelope,
    Message,
    Options,
    Pass,
    Quarantine,
    Recipient,
    Reject,
    RemoveHeader,
    RemoveRecipient,
    ReplaceBody,
    Reply,
    Session,
    Verdict,
    hook,
)

NEW_BODY = b"100 % another body.\r\n.\r\n..and dots\r\nGr\xc3\xbc\xc3\x9fe\r\n"

VERDICTS: dict[str, Verdict] = {
    "reject": Reject(Reply(550, "5.7.1", "100% unwanted, as ordered")),
    "defer": Defer(Reply(451, "4.7.1", "Come again, as ordered")),
    "quarantine": Quarantine("as ordered"),
    "discard": Discard("as ordered"),
}


def _headers(_: Envelope) -> tuple[Edit, ...]:
    return (
        AddHeader("X-Top", "on top,\r\n\tfolded"),
        AddHeader("X-End", "at the end", at_top=False),
        ChangeHeader("Subject", "changed: Grüße"),
        ChangeHeader("X-Twice", "the second, changed", index=1),
        RemoveHeader("X-Secret"),
        AddHeader("X-Empty", ""),
    )


def _recipients(envelope: Envelope) -> tuple[Edit, ...]:
    dropped = [r.address for r in envelope.recipients if r.address.local == "user"]
    added = Recipient(Address("added", "partner.example"))
    return (*map(RemoveRecipient, dropped), AddRecipient(added))


EDITS: dict[str, Callable[[Envelope], tuple[Edit, ...]]] = {
    "headers": _headers,
    "body": lambda _: (ReplaceBody(NEW_BODY),),
    "recipients": _recipients,
    "sender": lambda _: (ChangeSender(Address("changed", "office.example")),),
    "nobody": lambda envelope: tuple(RemoveRecipient(r.address) for r in envelope.recipients),
}


class OfficeOrders:
    """Obeys X-Order, which may ask what it was told of client and envelope."""

    edits = True

    def __init__(self, _: Options) -> None:
        pass

    @hook
    async def on_sender(self, envelope: Envelope) -> Verdict | None:
        if str(envelope.sender).startswith("refused-"):
            return Reject(Reply(553, "5.1.8", "Refused sender, as ordered"))
        return None

    @hook
    async def on_recipient(self, recipient: Recipient) -> Verdict | None:
        if str(recipient).startswith("refused-"):
            return Reject(Reply(550, "5.1.1", "Refused recipient, as ordered"))
        return None

    @hook
    async def on_message(
        self, session: Session, envelope: Envelope, message: Message
    ) -> Verdict | None:
        edits: list[Edit] = []
        for order in message.get("x-order").split():
            if order in VERDICTS:
                return VERDICTS[order]
            if order == "tell":
                client = (session.client_ip, session.client_name, session.helo, session.login)
                told = [str(envelope.sender), *sorted(map(str, envelope.recipients))]
                edits.append(AddHeader("X-Client", " ".join(word or "-" for word in client)))
                edits.append(AddHeader("X-Envelope", "\r\n\t".join(told)))
            else:
                edits += EDITS[order](envelope)
        return Pass(edits=tuple(edits))

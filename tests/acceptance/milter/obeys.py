"""A plugin that does what it is told by name, so that each verdict and edit can be had."""

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

REFUSED = Reject(Reply(550, "5.7.1", "We do not like it, 100%"))
VERDICTS: dict[str, Verdict] = {
    "reject": REFUSED,
    "defer": Defer(Reply(450, "4.7.1", "Later")),
    "discard": Discard("nobody wants it"),
    "quarantine": Quarantine("looks odd"),
}
EDITS: dict[str, Edit] = {
    "add-top": AddHeader("X-Top", "folded\r\n\there"),
    "add-bottom": AddHeader("X-Bottom", "yes", at_top=False),
    "change": ChangeHeader("X-Old", "new"),
    "remove": RemoveHeader("X-Gone"),
    "body": ReplaceBody(b"another body\r\n"),
    "add-recipient": AddRecipient(Recipient(Address("carl", "partner.example"))),
    "remove-recipient": RemoveRecipient(Address("bert", "partner.example")),
    "sender": ChangeSender(Address("list", "office.example")),
}


class Obeys:
    """Refuses who is called `refused`; else obeys the words of the field X-Do."""

    edits = True

    def __init__(self, options: Options) -> None:
        """Has no options."""

    @hook
    async def on_connect(self, session: Session) -> Verdict | None:
        return REFUSED if session.client_name == "refused.example" else None

    @hook
    async def on_helo(self, session: Session) -> Verdict | None:
        return REFUSED if session.helo == "refused.example" else None

    @hook
    async def on_sender(self, envelope: Envelope) -> Verdict | None:
        return REFUSED if envelope.return_path.startswith("refused@") else None

    @hook
    async def on_recipient(self, recipient: Recipient) -> Verdict | None:
        return REFUSED if recipient.address.local == "refused" else None

    @hook
    async def on_message(self, message: Message) -> Verdict | None:
        words = message.get("x-do").split()
        for word in words:
            if word in VERDICTS:
                return VERDICTS[word]
        return Pass(edits=tuple(EDITS[word] for word in words))

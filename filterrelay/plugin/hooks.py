"""Every hook there is. A plugin implements those it needs, with those parameters it needs.

All but `lifespan` are coroutines. A plugin is a class registered as an entry
point in the group `filterrelay.plugins`; its constructor takes its validated
options, and it may say:

    needs: tuple[str, ...] = ()    names of the plugins, or of their instances, whose
                                   findings it reads
    edits: bool = False            whether its verdicts may carry edits; an instance
                                   may set it as its options have it
    reads: Reads = "body"           how much of a message on_message looks at: "envelope",
                                   "header" or "body"; a mail server that we are the
                                   milter of sends no more than its plugins read

Three more members serve the command line and the metrics, where they make sense:

    user_file_option: str          the option with the path of accounts that
                                   `filterrelay user` keeps (mail/user_file.py)
    async def probe(self) -> str   asks what the plugin depends on, inside its
                                   lifespan, for `filterrelay check`, and every minute
                                   for the metrics: a few words about it, or an
                                   exception that says what is wrong; a Warning where
                                   mail flows nevertheless
    @classmethod
    def found_here(cls) -> dict[str, Any] | None
                                   the options to use when what it depends on runs
                                   on this machine, for `filterrelay init`
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

import pluggy

from filterrelay.mail.edits import Edit
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.finding import Finding
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Attempt, Outcome, Route
from filterrelay.mail.session import Credentials, Identity, Session
from filterrelay.mail.verdict import Verdict
from filterrelay.plugin.services import Services

PROJECT = "filterrelay"
Reads = Literal["envelope", "header", "body"]  # each with those before it
spec = pluggy.HookspecMarker(PROJECT)
hook = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hook specifications, in the order in which a message meets them."""

    @spec
    def lifespan(self, services: Services) -> AbstractAsyncContextManager[None]:
        """Opens at start what the plugin holds, and closes it at stop."""
        raise NotImplementedError  # a specification is never called

    @spec
    async def authenticate(self, session: Session, credentials: Credentials) -> Identity | None:
        """Says who this is, or None when it doesn't know; the first to answer decides."""

    @spec
    async def reconfirm(self, identity: Identity) -> Identity | None:
        """Says before each message who somebody it let in is by now; None for nobody any more."""

    @spec
    async def on_connect(self, session: Session) -> Verdict | None:
        """Judges a client before it has spoken."""

    @spec
    async def on_helo(self, session: Session) -> Verdict | None:
        """Judges the name that the client gave itself, in session.helo."""

    @spec
    async def on_sender(self, session: Session, envelope: Envelope) -> Verdict | None:
        """Judges the sender and the MAIL parameters, before any recipient."""

    @spec
    async def on_recipient(
        self, session: Session, envelope: Envelope, recipient: Recipient
    ) -> Verdict | None:
        """Judges one recipient; the envelope holds those accepted before."""

    @spec
    async def on_message(
        self,
        session: Session,
        envelope: Envelope,
        message: Message,
        findings: Mapping[str, Finding],
    ) -> Verdict | None:
        """Judges the whole message; findings holds, read-only, those of the plugins in `needs`."""

    @spec
    async def sign(
        self, session: Session, envelope: Envelope, message: Message
    ) -> tuple[Edit, ...] | None:
        """Signs the message as it will leave: header edits only, after all other edits."""

    @spec
    async def route(self, envelope: Envelope, recipient: Recipient) -> Route | None:
        """Says where a recipient's mail goes, before the file's routes; the first decides."""

    @spec
    async def on_outcome(self, outcome: Outcome) -> None:
        """Is told what became of a message at the door."""

    @spec
    async def on_attempt(self, attempt: Attempt) -> None:
        """Is told of a delivery attempt's result, one recipient at a time."""

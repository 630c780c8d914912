"""XCLIENT and XFORWARD: a mail server in front of us says who its client is.

XCLIENT has us treat the connection as if it were the client's own; XFORWARD only tells of the
next message (Postfix's XCLIENT_README and XFORWARD_README).
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from aiosmtpd.smtp import syntax

from filterrelay.doors import replies
from filterrelay.doors.connection import HangUp
from filterrelay.doors.login import Login
from filterrelay.doors.policy import Reception
from filterrelay.mail.identifier import new_id
from filterrelay.mail.reply import OK, Reply
from filterrelay.mail.session import Identity, Session
from filterrelay.wire.client_attributes import XCLIENT, XFORWARD, BadAttribute, parse_attributes


class Forwarding(Login):
    """A conversation whose client may speak for others, if the listener lists it."""

    command_size_limits = Login.command_size_limits | dict.fromkeys(("XCLIENT", "XFORWARD"), 2048)
    # Postfix's line_length_limit: it keeps neither to the 512 octets of a command

    def __init__(self, reception: Reception, client: Session) -> None:
        super().__init__(reception, client)
        self._posed: dict[str, str] = {}  # by XCLIENT
        self._forwarded: dict[str, str] = {}  # by XFORWARD
        self._origin: Session | None = None  # whom that makes the next message's client
        self._counted = ""  # the address that the connection counts for since XCLIENT

    @property
    def origin(self) -> Session:
        """Whose message it is."""
        return self._origin or self.client

    async def converse(self) -> None:
        """The whole conversation, until the stream is closed."""
        try:
            await super().converse()
        finally:
            self.reception.admission.give_place(self._counted)

    def end_transaction(self) -> None:
        """Forgets the envelope and whose message it was."""
        super().end_transaction()
        if self._origin is not None:
            if self._origin.id != self.client.id:
                self.reception.intake.on_close(self._origin)
            self._origin = None
            self._forwarded = {}

    @syntax("XCLIENT <name>=<value> ...")
    async def smtp_XCLIENT(self, arg: str | None) -> None:
        """The connection is that client's from now on, and begins anew with a greeting.

        What isn't said stays as it was said last; the mail server's own login, its trust and its
        right to name clients are never the client's: who said this may only pass on what comes.
        """
        said = self._attributes(arg, XCLIENT)
        if said is None:
            return
        self._posed |= said
        self.reception.intake.on_close(self.client)
        self.client = self._posing(self._posed)
        if (address := self._posed.get("ADDR")) is not None:
            self.names_clients = bool(address) and self.policy.speaks_for_clients(address)
        self._client_helo = self._posed.get("HELO", "")
        self.end_transaction()
        self._count_client()
        self.log.info(
            "client_named",
            client_name=self.client.client_name,
            helo=self._client_helo,
            login=self.client.login,
        )
        await self._judge_client()
        self._say_greeting()

    @syntax("XFORWARD <name>=<value> ...")
    async def smtp_XFORWARD(self, arg: str | None) -> None:
        """Tells of the next message's client; what isn't said of it isn't known."""
        said = self._attributes(arg, XFORWARD)
        if said is None:
            return
        forwarded = self._forwarded | said
        self.end_transaction()
        self._forwarded = forwarded
        self._origin = origin = self._forwarding(forwarded)
        self.log.debug(
            "origin_named",
            origin=origin.id,
            client_name=origin.client_name,
            helo=origin.helo,
            queue_id=origin.queue_id,
        )
        self.reply(OK)

    def _know(self, identity: Identity) -> None:
        """A login between XFORWARD and MAIL is the message's, too."""
        super()._know(identity)
        if self._origin is not None:
            self._origin = self._forwarding(self._forwarded)

    def _attributes(self, arg: str | None, known: Collection[str]) -> dict[str, str] | None:
        """What the command says; None if it may not be said, which has been told then."""
        refused: Reply | None = None
        if not self.names_clients:
            refused = replies.MAY_NOT_NAME_CLIENTS
        elif self.mail is not None:
            refused = replies.NOT_NOW
        else:
            try:
                return parse_attributes(arg or "", known)
            except BadAttribute as bad:
                refused = Reply(501, "5.5.4", bad.text)
        self.refuse(refused)
        return None

    def _posing(self, said: Mapping[str, str]) -> Session:
        """The client as XCLIENT makes it. Unknown addresses are nobody's, and not trusted."""
        address, login = said.get("ADDR"), said.get("LOGIN", "")
        return replace(
            self.client,
            id=new_id(self.reception.clock.now()),
            client_ip=self.client.client_ip if address is None else address,
            client_port=int(said.get("PORT") or 0),
            client_name=said.get("NAME", ""),
            server_ip=said.get("DESTADDR", ""),
            server_port=int(said.get("DESTPORT") or 0),
            helo="",
            esmtp=False,
            identity=Identity(login, source="XCLIENT") if login else None,
            trusted=bool(address) and self.policy.trusts(address or ""),
        )

    def _forwarding(self, said: Mapping[str, str]) -> Session:
        """The message's client as XFORWARD makes it: on this kind of door that decides nothing."""
        return replace(self.client, queue_id=said.get("IDENT", ""))

    def _count_client(self) -> None:
        """Counts the connection for the client that it is now. Raises HangUp."""
        admission = self.reception.admission
        admission.give_place(self._counted)
        self._counted = ""
        refusal = admission.take_place(self.client.client_ip, self.policy.limits)
        if refusal is not None:
            self.log.info("connection_refused", reason=refusal.value)
            raise HangUp(replies.TOO_MANY_FROM_YOU)
        self._counted = self.client.client_ip

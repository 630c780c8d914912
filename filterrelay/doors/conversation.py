"""The conversation: greeting, one command after the other, limits, TLS, the end."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar

import structlog
from aiosmtpd.smtp import syntax

from filterrelay.doors import replies
from filterrelay.doors.connection import Connection, HangUp, LineTooLong
from filterrelay.doors.policy import Reception
from filterrelay.mail import reply as mail_replies
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session, Tls

HTTP_VERBS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI")
)
CLIENT_HELLO = b"\x16\x03"  # a TLS record of a handshake, RFC 8446 section 5.1
HANDSHAKE_TIMEOUT = 30.0  # seconds, for STARTTLS and for implicit TLS
MAY_BE_HELD_BACK = frozenset((b"MAIL", b"RCPT", b"RSET", b"BDAT"))  # replies, RFC 2920 section 3.2
MAX_HOST_NAME = 255  # octets, RFC 5321 section 4.5.3.1.2
_HOST_NAME = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:\[\]-]*\Z")  # a name or a literal, or near it

log = structlog.get_logger(__name__)

Command = Callable[[Any, str | None], Awaitable[None]]


class Conversation(Connection):
    """One client's session, from the greeting to QUIT.

    client: what is known of it now. mail: the transaction's envelope, None
    outside of one. names_clients: it is a mail server that may say who its client is.
    """

    command_size_limits = {"MAIL": 2048, "RCPT": 2048, "AUTH": 12_288}  # noqa: RUF012  # typed so in the base
    # RFC 5321 section 4.5.3.1.4 and what the extensions add; RFC 4954 section 4.3

    _commands: ClassVar[dict[str, Command]]

    def __init_subclass__(cls) -> None:
        """Finds the commands as aiosmtpd does, by their methods' names, but once a class."""
        super().__init_subclass__()
        cls._commands = {
            name.removeprefix("smtp_"): getattr(cls, name)
            for name in dir(cls)
            if name.startswith("smtp_")
        }

    def __init__(self, reception: Reception, client: Session) -> None:
        super().__init__(reception.loop)
        self.reception = reception
        self.policy = reception.policy
        self.client = client
        self.mail: Envelope | None = None
        self.names_clients = self.policy.speaks_for_clients(client.client_ip)
        self._client_helo = ""  # what a mail server says that its client has said
        self._errors = 0
        self._since_message = 0  # commands
        self._draining = False
        self._idle = False  # waiting, with nothing begun
        self._in_content = False  # what comes are octets of a message, not commands
        self._patience = self.policy.limits.command_timeout.total_seconds()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the stream, and notes its TLS parameters if it came with implicit TLS."""
        super().connection_made(transport)
        self._note_tls()

    def _note_tls(self) -> None:
        tls = self._stream.get_extra_info("ssl_object")
        if tls is not None:
            name, _, bits = tls.cipher() or ("", "", 0)
            self.client = replace(self.client, tls=Tls(tls.version() or "", name, bits))

    async def converse(self) -> None:
        """The whole conversation, until the stream is closed."""
        try:
            last = await self._until_hang_up()
            self.log.debug("session_ended", reply=str(last or ""))
            await self.farewell(last)
        finally:
            self.allow(None)
            self._stream.abort()

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """The log, with what tells this session from others."""
        bound: structlog.typing.FilteringBoundLogger = log.bind(
            session=self.client.id, client=self.client.client_ip
        )
        return bound

    async def _until_hang_up(self) -> Reply | None:
        """Greets and obeys; returns what shall be said last."""
        try:
            await self._greet()
            while True:
                await self._next_command()
        except HangUp as ending:
            return ending.reply
        finally:
            self.end_transaction()
            self.reception.intake.on_close(self.client)

    def drain(self) -> None:
        """Says 421 as soon as no command and no transaction is under way."""
        self._draining = True
        if self._idle and self.mail is None:
            self.hang_up(replies.SHUTTING_DOWN)

    def end_transaction(self) -> None:
        """Forgets the envelope (RFC 5321 section 4.1.1.5)."""
        self.mail = None

    async def _greet(self) -> None:
        await self._judge_client()
        if self._draining:
            raise HangUp(replies.SHUTTING_DOWN)
        if self._buffer and not self._buffer.startswith(CLIENT_HELLO):
            raise HangUp(replies.TALKS_TOO_SOON)
        self._say_greeting()
        self.allow(self._patience)
        self._idle = True
        if not self._buffer:
            await self._more()
        if self._buffer.startswith(CLIENT_HELLO):
            self.log.info("tls_where_none_is")
            self._replies.clear()
            raise HangUp

    async def _judge_client(self) -> None:
        """Raises HangUp for a client that isn't wanted."""
        refused = await self._ask(self.reception.intake.on_connect(self.client))
        if refused is not None:
            raise HangUp(refused)

    def _say_greeting(self) -> None:
        self.reply(Reply(220, "", f"{self.policy.hostname} ESMTP"))

    async def _ask(self, question: Awaitable[Reply | None]) -> Reply | None:
        """What the intake says, 451 if it fails; meanwhile the client's time stands still."""
        self.allow(None)
        try:
            return await question
        except Exception:  # the seam: our fault is never the client's, nor told to it
            self.log.exception("intake_failed")
            return mail_replies.TRY_LATER

    async def _next_command(self) -> None:
        """Reads one command and carries it out."""
        if self._lost:
            raise HangUp
        if self._draining and self.mail is None:
            raise HangUp(replies.SHUTTING_DOWN)
        self.allow(self._patience)
        self._idle = True
        try:
            line = await self.read_line()
        except LineTooLong:
            self.refuse(replies.LINE_TOO_LONG)
            self.flush()
            return
        self._idle = False
        self._since_message += 1
        taken = len(self.mail.recipients) if self.mail is not None else 0
        if self._since_message - taken > self.policy.limits.commands:
            raise HangUp(replies.TOO_MANY_COMMANDS)
        try:
            await self._carry_out(line)
        except (HangUp, asyncio.CancelledError):
            raise
        except Exception as error:  # the seam: a bug answers 451 and the session goes on
            status = await self.handle_exception(error)
            if self._in_content:
                raise HangUp(replies.BROKEN_OFF) from error
            await self.push(status)
        if line.partition(b" ")[0].upper() not in MAY_BE_HELD_BACK:
            self.flush()

    async def _carry_out(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = ""
        verb, _, argument = text.partition(" ")
        if not text.isprintable() or not verb.isascii() or not text:
            self.refuse(replies.BAD_LINE)
            return
        verb = verb.upper()
        counters = self.reception.counters
        counters.commands.get(verb, counters.other_commands).inc()
        command = self._commands.get(verb)
        if command is None:
            if verb in HTTP_VERBS or " HTTP/" in text:
                raise HangUp(replies.NOT_HTTP)
            self.refuse(replies.UNKNOWN_COMMAND)
        elif len(line) > self.command_size_limits.get(verb, self.command_size_limit):
            self.refuse(replies.LINE_TOO_LONG)
        else:
            await command(self, argument.strip(" ") or None)

    def refuse(self, reply: Reply) -> None:
        """Queues a reply to a command that was wrong. Raises HangUp after too many of them."""
        self._errors += 1
        if self._errors > self.policy.limits.errors:
            raise HangUp(replies.TOO_MANY_ERRORS)
        self.reply(reply)

    async def handle_exception(self, error: Exception) -> str:
        """451 for the client, the traceback for the operator."""
        self.log.error("command_failed", exc_info=error)
        return str(mail_replies.TRY_LATER)

    async def check_helo_needed(self, helo: str = "EHLO") -> bool:
        """Whether the client must first say who it is; it has been told so then."""
        if not self.client.helo:
            self.refuse(replies.HELO_FIRST)
            return True
        return False

    @syntax("HELO <host-name>")
    async def smtp_HELO(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.1."""
        if await self._introduce(arg, esmtp=False):
            self.reply(Reply(250, "", self.policy.hostname))

    @syntax("EHLO <host-name>")
    async def smtp_EHLO(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.1."""
        if await self._introduce(arg, esmtp=True):
            self.reply(self.policy.ehlo(self.client, names_clients=self.names_clients))

    async def _introduce(self, name: str | None, *, esmtp: bool) -> bool:
        """Takes the client's name; whether it was accepted."""
        if not name or len(name) > MAX_HOST_NAME or not _HOST_NAME.match(name):
            self.refuse(replies.BAD_HELO)
            return False
        introduced = replace(self.client, helo=self._client_helo or name, esmtp=esmtp)
        refused = await self._judge_helo(introduced)
        if refused is not None:
            self.reply(refused)
            return False
        self.client = introduced
        self.end_transaction()
        return True

    async def _judge_helo(self, introduced: Session) -> Reply | None:
        return await self._ask(self.reception.intake.on_helo(introduced))

    @syntax("STARTTLS")
    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207; what was said before in plain text is forgotten."""
        context = self.policy.tls
        if arg:
            self.refuse(replies.NO_ARGUMENT)
        elif self.client.tls is not None:
            self.refuse(replies.TLS_ALREADY)
        elif context is None or not self.policy.offers_starttls:
            self.refuse(replies.NO_STARTTLS)
        else:
            await self._start_tls(context)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        self._stream.pause_reading()
        self._read_paused = True
        if self._buffer:  # CVE-2011-0411: a command smuggled in before the handshake
            raise HangUp(replies.TALKS_BEFORE_TLS)
        self.reply(replies.START_TLS)
        self.flush()
        self.allow(None)
        try:
            encrypted = await self.loop.start_tls(
                self._stream,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self.log.info("tls_failed", reason=str(error))
            raise HangUp from error
        if encrypted is None:
            raise HangUp
        self.end_transaction()
        self.client = replace(self.client, helo="", esmtp=False)
        self.transport = self._stream = encrypted
        self._read_paused = False
        self._note_tls()

    @syntax("RSET")
    async def smtp_RSET(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.5."""
        if arg:
            self.refuse(replies.NO_ARGUMENT)
            return
        self.end_transaction()
        self.reply(mail_replies.OK)

    @syntax("NOOP [ignored]")
    async def smtp_NOOP(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.9."""
        self.reply(mail_replies.OK)

    @syntax("QUIT")
    async def smtp_QUIT(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.10."""
        if arg:
            self.refuse(replies.NO_ARGUMENT)
            return
        raise HangUp(replies.BYE)

    @syntax("VRFY <address>")
    async def smtp_VRFY(self, arg: str | None) -> None:
        """RFC 5321 section 3.5.3: it tells nothing."""
        if arg:
            self.reply(replies.CANNOT_VERIFY)
        else:
            self.refuse(Reply(501, "5.5.4", "Syntax: VRFY <address>"))

    async def _not_implemented(self, arg: str | None) -> None:
        self.refuse(replies.NOT_IMPLEMENTED)

    smtp_EXPN = smtp_SEND = smtp_SOML = smtp_SAML = smtp_TURN = _not_implemented
    smtp_ETRN = smtp_ATRN = _not_implemented

    @syntax("HELP [command]")
    async def smtp_HELP(self, arg: str | None) -> None:
        """RFC 5321 section 4.1.1.8."""
        usages = {
            name: usage
            for name, command in self._commands.items()
            if (usage := getattr(command, "__smtp_syntax__", "")) and self._offers(name)
        }
        if not arg:
            self.reply(Reply(214, "2.0.0", f"Commands: {' '.join(sorted(usages))}"))
        elif arg.upper() in usages:
            self.reply(Reply(214, "2.0.0", f"Syntax: {usages[arg.upper()]}"))
        else:
            self.refuse(
                Reply(504, "5.5.4", f"No such command; there are {' '.join(sorted(usages))}")
            )

    def _offers(self, name: str) -> bool:
        """Whether the listener has the command, if perhaps not before STARTTLS or after it."""
        if name == "STARTTLS":
            return self.policy.offers_starttls
        if name in ("XCLIENT", "XFORWARD"):
            return self.names_clients
        return name != "AUTH" or self.policy.listener.auth != "none"

"""AUTH: PLAIN and LOGIN over TLS, slow for those who guess (RFC 4954, RFC 4616)."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiosmtpd.smtp import syntax

from filterrelay.doors import replies
from filterrelay.doors.connection import HangUp, LineTooLong
from filterrelay.doors.conversation import Conversation
from filterrelay.intake.stages import AuthUnavailable, LoginOver
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.reply import LOGIN_OVER, TRY_LATER, Reply
from filterrelay.mail.session import Credentials, Identity

MOST_TARPIT = 8.0  # seconds
_PROMPTS = {"user": b"Username:", "password": b"Password:"}


class CannotRead(Exception):
    """The exchange broke off; the reply says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class Login(Conversation):
    """A conversation in which the client may log in."""

    @syntax("AUTH <mechanism> [initial-response]")
    async def smtp_AUTH(self, arg: str | None) -> None:
        """RFC 4954 section 4."""
        refused = self._why_no_login()
        if refused is not None:
            self.refuse(refused)
            return
        words = (arg or "").split(" ")
        if not words[0] or len(words) > 2:
            self.refuse(replies.BAD_AUTH)
            return
        exchange = self._mechanisms().get(words[0].upper()) if words[0].isascii() else None
        if exchange is None:
            self.refuse(replies.NO_MECHANISM)
            return
        try:
            credentials = await exchange(words[1] if len(words) == 2 else None)
        except CannotRead as error:
            self.refuse(error.reply)
        else:
            await self._check(credentials)

    def _mechanisms(self) -> dict[str, Callable[[str | None], Awaitable[Credentials]]]:
        return {"PLAIN": self._plain, "LOGIN": self._login}

    def _why_no_login(self) -> Reply | None:
        if self.policy.listener.auth == "none":
            return replies.NO_AUTH
        if self.client.tls is None:
            return replies.TLS_FIRST
        if not self.client.helo or not self.client.esmtp:
            return replies.EHLO_FIRST
        if self.client.identity is not None:
            return replies.LOGGED_IN_ALREADY
        return replies.NOT_NOW if self.mail is not None else None

    async def _plain(self, initial: str | None) -> Credentials:
        """authzid NUL authcid NUL password, RFC 4616 section 2."""
        answer = _decoded(initial) if initial is not None else await self._challenge(b"")
        parts = answer.split(b"\0")
        if len(parts) != 3:
            raise CannotRead(replies.BAD_CREDENTIALS)
        authorization, login, password = parts
        return Credentials("PLAIN", _text(login), _text(password), _text(authorization))

    async def _login(self, initial: str | None) -> Credentials:
        """The name, then the password, each asked for."""
        if initial is None:
            name = await self._challenge(_PROMPTS["user"])
        else:
            name = _decoded(initial)
        password = await self._challenge(_PROMPTS["password"])
        return Credentials("LOGIN", _text(name), _text(password))

    async def _challenge(self, prompt: bytes) -> bytes:
        """The client's decoded answer to a 334. Raises CannotRead, HangUp."""
        self.reply(Reply(334, "", base64.b64encode(prompt).decode()))
        try:
            line = await self.read_line()
        except LineTooLong:
            raise CannotRead(replies.AUTH_LINE_TOO_LONG) from None
        if line == b"*":
            raise CannotRead(replies.CANCELLED)
        return _decoded(line.decode("latin-1"))

    async def _check(self, credentials: Credentials) -> None:
        """Asks who that is, unless the login is locked out for this client."""
        reception, client = self.reception, self.client
        limits, now = self.policy.limits, reception.clock.monotonic()
        if reception.admission.locked(client.client_ip, credentials.login, limits, now):
            self._count("locked", credentials)
            self.refuse(replies.LOCKED_OUT)
            return
        if not (credentials.login and credentials.password):
            await self._login_failed(credentials)  # to some directories no password is a good one
            return
        self.allow(None)
        try:
            identity = await reception.intake.authenticate(client, credentials)
        except AuthUnavailable as error:
            self._count("unavailable", credentials, reason=str(error))
            self.reply(replies.AUTH_UNAVAILABLE)
            return
        except Exception:  # the seam: our fault is never a wrong password
            self.log.exception("authenticator_failed")
            self.reply(TRY_LATER)
            return
        if identity is None:
            await self._login_failed(credentials)
        elif identity.frozen:  # a phone that nobody has switched off guesses nothing
            self._count("frozen", credentials)
            self.refuse(replies.ACCOUNT_FROZEN)
        elif credentials.authorization not in ("", credentials.login, identity.login):
            self._count("bad", credentials, reason="no other identity")
            self.refuse(replies.NO_OTHER_IDENTITY)
        else:
            now = reception.clock.monotonic()
            reception.admission.login_succeeded(client.client_ip, credentials.login, limits, now)
            self._know(identity)
            self._count("ok", credentials)
            self.reply(replies.LOGGED_IN)

    def _know(self, identity: Identity) -> None:
        """The client is logged in, as that."""
        self.client = replace(self.client, identity=identity)

    async def _reconfirm(self, envelope: Envelope) -> Reply | None:
        """Looks whether a login is still good before its next message; why it can't be told now.

        Raises HangUp when it isn't: only a new connection may log in anew (RFC 4954 section 4).
        """
        self.allow(None)
        try:
            identity = await self.reception.intake.reconfirm(self.client, envelope)
        except LoginOver:
            raise HangUp(LOGIN_OVER) from None
        except AuthUnavailable as error:
            self.log.warning("login_not_reconfirmed", login=self.client.login, reason=str(error))
            return replies.AUTH_UNAVAILABLE
        except Exception:  # the seam: our fault ends nobody's login
            self.log.exception("authenticator_failed")
            return TRY_LATER
        if identity is not None and identity != self.client.identity:
            self._know(identity)
        return None

    async def _login_failed(self, credentials: Credentials) -> None:
        """Counts the failure, and answers late: the more of them, the later."""
        admission, client_ip = self.reception.admission, self.client.client_ip
        now = self.reception.clock.monotonic()
        self._count("bad", credentials)
        failures = admission.login_failed(client_ip, credentials.login, self.policy.limits, now)
        self.allow(None)
        self._idle = True
        await self.pause(min(MOST_TARPIT, self.policy.tarpit * 2.0 ** min(failures - 1, 10)))
        self.refuse(replies.WRONG_PASSWORD)

    def _count(self, result: str, credentials: Credentials, reason: str = "") -> None:
        self.reception.counters.logins[result].inc()
        self.log.info(
            "login",
            result=result,
            login=credentials.login,
            mechanism=credentials.mechanism,
            authorization=credentials.authorization,
            reason=reason,
        )


def _decoded(answer: str) -> bytes:
    """The octets that base64 text stands for; `=` stands for none (RFC 4954 section 4)."""
    if answer == "=":
        return b""
    try:
        return base64.b64decode(answer.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise CannotRead(replies.BAD_BASE64) from None


def _text(octets: bytes) -> str:
    """A name or password; control characters have no place in either (RFC 4013 section 2.3)."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise CannotRead(replies.BAD_CREDENTIALS) from None
    if not text.isprintable():
        raise CannotRead(replies.BAD_CREDENTIALS)
    return text

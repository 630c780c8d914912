"""From a host's name to a conversation: TCP, greeting, EHLO, TLS, AUTH."""

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from enum import Enum
from typing import cast

import aiosmtplib

from filterrelay.delivery.capabilities import capabilities_of
from filterrelay.delivery.conversation import Conversation, Peer
from filterrelay.delivery.tls import Rung, TlsPolicy
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint
from filterrelay.mail.reply import Reply
from filterrelay.wire.replies import reply_of

_CLOSING = 421  # RFC 5321 section 3.8: says nothing of what was asked


class Stage(Enum):
    """How far an attempt to connect came."""

    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "tls"
    LOGIN = "login"


@dataclass
class HostUnavailable(FilterRelayError):
    """A host of the next hop can't be used now.

    reply: what an attempt says of it, always temporary. answered: whether these
    are the server's own words. lower: the rung on which the host may still be had,
    when what it lacks was the protection asked for.
    """

    host: str
    stage: Stage
    reply: Reply
    answered: bool = False
    lower: Rung | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """The credentials for the next hop; the password never shows in a repr."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, password=…)"


@dataclass(frozen=True, slots=True)
class Dialing:
    """How the hosts of one upstream are spoken to.

    hostname: our name for EHLO. connect_timeout: seconds for TCP and for the
    TLS handshake. timeout: seconds for a reply.
    """

    hostname: str
    tls: TlsPolicy
    login: Login | None
    connect_timeout: float
    timeout: float


async def connect(endpoint: Endpoint, rank: int, dialing: Dialing, rung: Rung) -> Conversation:
    """A conversation with the host, protected as the rung says. Raises HostUnavailable.

    A rung that wants STARTTLS ends in plain text only where the policy allows it
    and the server doesn't offer it.
    """
    host = str(endpoint)
    connection = await _tcp(endpoint, dialing.connect_timeout)
    smtp = aiosmtplib.SMTP(
        hostname=endpoint.host,
        local_hostname=dialing.hostname,
        timeout=dialing.timeout,
        sock=connection,
        use_tls=rung is Rung.IMPLICIT,
        start_tls=False,  # None would silently go on in plain text when STARTTLS is missing
        tls_context=dialing.tls.contexts.get(rung),
    )
    stage = Stage.TLS if rung is Rung.IMPLICIT else Stage.GREETING
    try:
        await smtp.connect(
            timeout=dialing.connect_timeout if rung is Rung.IMPLICIT else dialing.timeout
        )
        stage = Stage.GREETING
        await _hello(smtp)
        stage = Stage.TLS
        encrypted = await _encrypt(smtp, host, dialing, rung)
        stage = Stage.LOGIN
        if dialing.login is not None:
            await _log_in(smtp, host, dialing, rung, encrypted=encrypted)
        return _conversation(smtp, host, rank, dialing, rung)
    except HostUnavailable:
        smtp.close()
        raise
    except aiosmtplib.SMTPResponseException as refused:
        smtp.close()
        raise _refused(host, stage, refused) from refused
    except (OSError, aiosmtplib.SMTPException) as lost:
        smtp.close()
        raise HostUnavailable(host, stage, _lost(host, stage, lost)) from lost
    except BaseException:
        smtp.close()
        connection.close()
        raise


async def _tcp(endpoint: Endpoint, timeout: float) -> socket.socket:
    """A connected socket; the host's addresses are tried in the resolver's order."""
    loop = asyncio.get_running_loop()
    error: OSError = OSError("the name has no address")
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
            for family, kind, protocol, _, address in found:
                connection = socket.socket(family, kind, protocol)
                try:
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    await loop.sock_connect(connection, address)
                except OSError as refused:
                    connection.close()
                    error = refused
                except BaseException:
                    connection.close()
                    raise
                else:
                    return connection
    except TimeoutError:
        error = OSError(f"no answer within {timeout:g} s")
    except OSError as unknown:
        error = unknown
    host = str(endpoint)
    reply = Reply(451, "4.4.1", f"connect to {host}: {_words(error)}")  # RFC 3463 section 3.5
    raise HostUnavailable(host, Stage.CONNECT, reply) from error


async def _hello(smtp: aiosmtplib.SMTP) -> None:
    """EHLO, or HELO where that is unknown; a host that refuses for now is asked no further."""
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as refused:
        if refused.code // 100 == 4 or not smtp.is_connected:
            raise
        await smtp.helo()


async def _encrypt(smtp: aiosmtplib.SMTP, host: str, dialing: Dialing, rung: Rung) -> bool:
    """STARTTLS where the rung wants it; returns whether the connection is encrypted now.

    A certificate or handshake that failed, and the server's own word that it has no
    TLS now (RFC 3207 section 4), say what a lower rung would change. A connection
    that broke says nothing.
    """
    if rung is Rung.PLAIN or rung is Rung.IMPLICIT:
        return rung is Rung.IMPLICIT
    if not smtp.supports_extension("starttls"):
        if dialing.tls.may_be_plain:
            return False
        reply = Reply(451, "4.7.4", f"{host} offers no STARTTLS, which is required")  # RFC 3463 3.8
        raise HostUnavailable(host, Stage.TLS, reply)
    try:
        await smtp.starttls(tls_context=dialing.tls.contexts[rung], timeout=dialing.connect_timeout)
    except aiosmtplib.SMTPResponseException as refused:
        unavailable = _refused(host, Stage.TLS, refused)
        unavailable.lower = None if refused.code == _CLOSING else Rung.PLAIN
        raise unavailable from refused
    except ssl.SSLError as failed:
        lower = Rung.UNVERIFIED if rung is Rung.VERIFIED else Rung.PLAIN
        cut = isinstance(failed, ssl.SSLEOFError)
        raise HostUnavailable(
            host, Stage.TLS, _lost(host, Stage.TLS, failed), lower=None if cut else lower
        ) from failed
    await _hello(smtp)
    return True


async def _log_in(
    smtp: aiosmtplib.SMTP, host: str, dialing: Dialing, rung: Rung, *, encrypted: bool
) -> None:
    """AUTH with the best mechanism offered, where the server has proved its name.

    Without that the password would be anybody's; only `none` says that this is meant.
    """
    assert dialing.login is not None
    proved = encrypted and rung is not Rung.UNVERIFIED
    if not proved and dialing.tls.name != "none":
        raise _no_login(host, "can't be verified under TLS, so the password isn't shown to it")
    methods = {"plain": smtp.auth_plain, "cram-md5": smtp.auth_crammd5, "login": smtp.auth_login}
    ranked = ("plain", "cram-md5", "login") if encrypted else ("cram-md5", "plain", "login")
    for name in ranked:
        if name in smtp.server_auth_methods:
            await methods[name](dialing.login.username, dialing.login.password)
            return
    raise _no_login(host, "doesn't offer a login mechanism that is known here")


def _no_login(host: str, why: str) -> HostUnavailable:
    reply = Reply(454, "4.7.0", f"{host} {why}")  # RFC 4954 section 6
    return HostUnavailable(host, Stage.LOGIN, reply)


def _conversation(
    smtp: aiosmtplib.SMTP, host: str, rank: int, dialing: Dialing, rung: Rung
) -> Conversation:
    """Takes the connection over from aiosmtplib, which stays behind as an empty shell."""
    transport = cast("asyncio.Transport | None", smtp.transport)  # uvloop's is no subclass
    if transport is None or transport.is_closing():
        reply = Reply(451, "4.4.2", f"{host} closed the connection")
        raise HostUnavailable(host, Stage.GREETING, reply)
    encrypted = transport.get_extra_info("ssl_object")
    peer = Peer(
        host,
        rank,
        tls=(encrypted.version() or "TLS") if encrypted is not None else "none",
        verified=encrypted is not None and rung is not Rung.UNVERIFIED,
        capabilities=capabilities_of(smtp.esmtp_extensions),
    )
    return Conversation(transport, peer, dialing.timeout)


def _refused(host: str, stage: Stage, refused: aiosmtplib.SMTPResponseException) -> HostUnavailable:
    """The server's words as a deferral: no greeting and no login concerns the message itself.

    A 5xx keeps its words and gets a temporary code (RFC 5321 section 3.1: 554
    means that this host takes no mail now).
    """
    if not 200 <= refused.code <= 599:
        text = f"{host} answered what is no SMTP: {refused.message}"
        return HostUnavailable(host, stage, Reply(451, "4.5.0", " ".join(text.split())[:200]))
    said = reply_of(refused.code, refused.message)
    enhanced = {Stage.LOGIN: "4.7.8", Stage.TLS: "4.7.0"}.get(stage, "4.3.2")
    if said.code // 100 != 4:
        said = Reply(454 if stage is Stage.LOGIN else 450, enhanced, f"{host} said: {said}")
    return HostUnavailable(host, stage, said, answered=True)


def _lost(host: str, stage: Stage, lost: Exception) -> Reply:
    if isinstance(lost, ssl.SSLCertVerificationError):
        return Reply(451, "4.7.5", f"{host}: certificate: {lost.verify_message}")
    text = _words(lost)
    if stage is Stage.TLS:
        return Reply(451, "4.7.5", f"{host}: TLS handshake: {text}")
    return Reply(451, "4.4.2", f"{host}: {text}")


def _words(error: Exception) -> str:
    """What went wrong, on one line; the system's own words for its error numbers."""
    number = error.errno if isinstance(error, OSError) else None
    if number and number > 0 and not isinstance(error, ssl.SSLError):  # the resolver's are negative
        return os.strerror(number)
    return " ".join(str(error).split())[:200] or type(error).__name__

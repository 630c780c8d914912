"""From a host's name to a conversation: TCP, greeting, EHLO, TLS, AUTH."""

import asyncio
import os
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import cast

import aiosmtplib

from filterrelay.delivery.addresses import PlacesOf, Unresolved, race, system_places
from filterrelay.delivery.capabilities import capabilities_of
from filterrelay.delivery.contact import Stage
from filterrelay.delivery.conversation import Conversation, Peer
from filterrelay.delivery.dane import Dane
from filterrelay.delivery.tls import Rung, TlsPolicy
from filterrelay.delivery.tls_plan import NoDane, TlsPlan, plan_of
from filterrelay.delivery.tls_session import Failure, Note, TlsSession, failure_of
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint
from filterrelay.mail.reply import Reply
from filterrelay.wire.replies import reply_of

_NO_ANSWER = "4.4.1"  # RFC 3463 section 3.5
_CLOSING = 421  # RFC 5321 section 3.8: says nothing of what was asked


@dataclass
class HostUnavailable(FilterRelayError):
    """A host of the next hop can't be used now.

    reply: what an attempt says of it, always temporary. answered: whether these
    are the server's own words. lower: the rung on which the host may still be had,
    when what it lacks was the protection asked for. failure: what was wrong with TLS.
    """

    host: str
    stage: Stage
    reply: Reply
    answered: bool = False
    lower: Rung | None = None
    failure: Failure | None = None


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
    TLS handshake. timeout: seconds for a reply. places: who knows the hosts' addresses.
    lmtp: whether LMTP is spoken (RFC 2033). ignored: extensions in lower case that aren't
    used although they are offered.
    dane: who knows TLSA records, for the rung of that name. proved: whether the hosts' names
    are beyond doubt, because the file or DNSSEC or MTA-STS has them. note: is told how each
    connection's protection came out.
    """

    hostname: str
    tls: TlsPolicy
    login: Login | None
    connect_timeout: float
    timeout: float
    places: PlacesOf = system_places
    lmtp: bool = False
    ignored: Collection[str] = ()
    dane: Dane | None = None
    proved: bool = True
    note: Note = field(default=lambda _: None, repr=False)

    @property
    def port(self) -> int:
        """The port of a host that comes without one; LMTP has none of its own (RFC 2033 5)."""
        return 24 if self.lmtp else 25


async def connect(endpoint: Endpoint, rank: int, dialing: Dialing, rung: Rung) -> Conversation:
    """A conversation with the host, protected as the rung says. Raises HostUnavailable.

    A rung that wants STARTTLS ends in plain text only where the policy allows it
    and the server doesn't offer it. On a Unix socket there is nobody to hide from.
    """
    plan = await _plan(endpoint, dialing, Rung.PLAIN if endpoint.is_unix else rung)
    try:
        return await _connected(endpoint, rank, dialing, plan)
    except HostUnavailable as unavailable:
        if plan.demand is not None:
            unavailable.lower = None
        if unavailable.failure is not None:
            reason = unavailable.reply.text
            failed = TlsSession(
                *(endpoint.host, "none", plan.tried, False, unavailable.failure, reason),
                plan.tlsa,
            )
            dialing.note(failed)
        raise


async def _plan(endpoint: Endpoint, dialing: Dialing, rung: Rung) -> TlsPlan:
    try:
        return await plan_of(endpoint, rung, dialing.tls.ladder, dialing.dane)
    except NoDane as no:
        dialing.note(TlsSession(endpoint.host, "none", rung, False, no.failure, no.reason))
        reply = Reply(451, "4.7.5", f"{endpoint}: {no.reason}")  # RFC 3463 section 3.8
        raise HostUnavailable(str(endpoint), Stage.TLS, reply) from no


async def _connected(
    endpoint: Endpoint, rank: int, dialing: Dialing, plan: TlsPlan
) -> Conversation:
    host, rung = str(endpoint), plan.rung
    if endpoint.is_unix:
        connection = await _unix(endpoint, dialing.connect_timeout)
    else:
        connection = await _tcp(endpoint, dialing)
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
        await _hello(smtp, dialing)
        stage = Stage.TLS
        encrypted = await _encrypt(smtp, endpoint, dialing, plan)
        _note(smtp, endpoint, dialing, plan, encrypted=encrypted)
        stage = Stage.LOGIN
        if dialing.login is not None:
            await _log_in(smtp, host, dialing, rung, encrypted=encrypted)
        return _conversation(smtp, host, rank, dialing, plan)
    except HostUnavailable:
        smtp.close()
        raise
    except aiosmtplib.SMTPResponseException as refused:
        smtp.close()
        raise _refused(host, stage, refused) from refused
    except (OSError, aiosmtplib.SMTPException) as lost:
        smtp.close()
        cause = lost.__cause__ if isinstance(lost.__cause__, ssl.SSLError) else lost
        failure = failure_of(cause) if rung is Rung.IMPLICIT and stage is Stage.TLS else None
        reply = _lost(host, stage, cause)
        raise HostUnavailable(host, stage, reply, failure=failure) from lost
    except BaseException:
        smtp.close()
        connection.close()
        raise


async def _tcp(endpoint: Endpoint, dialing: Dialing) -> socket.socket:
    """A socket connected to the host. Raises HostUnavailable."""
    error: Exception
    status = _NO_ANSWER
    try:
        async with asyncio.timeout(dialing.connect_timeout):
            return await race(await dialing.places(endpoint.host, endpoint.port))
    except Unresolved as unknown:
        error, status = unknown, unknown.status
    except TimeoutError:
        error = OSError(f"no answer within {dialing.connect_timeout:g} s")
    except OSError as refused:
        error = refused
    raise _unreachable(endpoint, error, status) from error


async def _unix(endpoint: Endpoint, timeout: float) -> socket.socket:
    """A connected Unix socket."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(connection, endpoint.path)
    except OSError as refused:
        connection.close()
        raise _unreachable(endpoint, refused, _NO_ANSWER) from refused
    except BaseException:
        connection.close()
        raise
    return connection


def _unreachable(endpoint: Endpoint, error: Exception, status: str) -> HostUnavailable:
    host = str(endpoint)
    reply = Reply(451, status, f"connect to {host}: {_words(error)}")
    return HostUnavailable(host, Stage.CONNECT, reply)


async def _hello(smtp: aiosmtplib.SMTP, dialing: Dialing) -> None:
    """EHLO, or HELO where that is unknown; a host that refuses for now is asked no further."""
    if dialing.lmtp:
        said = await smtp.execute_command(b"LHLO", dialing.hostname.encode())
        if said.code // 100 != 2:
            raise aiosmtplib.SMTPHeloError(said.code, said.message)
        smtp.last_ehlo_response = said  # which reads the extensions
        return
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as refused:
        if refused.code // 100 == 4 or not smtp.is_connected:
            raise
        await smtp.helo()


async def _encrypt(
    smtp: aiosmtplib.SMTP, endpoint: Endpoint, dialing: Dialing, plan: TlsPlan
) -> bool:
    """STARTTLS where the rung wants it; returns whether the connection is encrypted now.

    A certificate or handshake that failed, and the server's own word that it has no
    TLS now (RFC 3207 section 4), say what a lower rung would change. A connection
    that broke says nothing.
    """
    host, rung = str(endpoint), plan.rung
    if rung is Rung.PLAIN or rung is Rung.IMPLICIT:
        return rung is Rung.IMPLICIT
    if not smtp.supports_extension("starttls"):
        if plan.demand is None and Rung.PLAIN in dialing.tls.ladder:
            return False
        reply = Reply(451, "4.7.4", f"{host} offers no STARTTLS, which is required")  # RFC 3463 3.8
        raise HostUnavailable(host, Stage.TLS, reply, failure=Failure.NO_STARTTLS)
    try:
        await smtp.starttls(
            server_hostname=plan.name_of(endpoint.host),
            tls_context=dialing.tls.contexts[rung],
            timeout=dialing.connect_timeout,
        )
    except aiosmtplib.SMTPResponseException as refused:
        unavailable = _refused(host, Stage.TLS, refused)
        if refused.code != _CLOSING:
            unavailable.lower, unavailable.failure = Rung.PLAIN, Failure.NO_STARTTLS
        raise unavailable from refused
    except ssl.SSLError as failed:
        lower = Rung.UNVERIFIED if rung is Rung.VERIFIED else Rung.PLAIN
        cut = isinstance(failed, ssl.SSLEOFError)
        raise HostUnavailable(
            host,
            Stage.TLS,
            _lost(host, Stage.TLS, failed),
            lower=None if cut else lower,
            failure=failure_of(failed),
        ) from failed
    if rung is Rung.DANE:
        _check_dane(smtp, endpoint, dialing, plan)
    await _hello(smtp, dialing)
    return True


def _check_dane(smtp: aiosmtplib.SMTP, endpoint: Endpoint, dialing: Dialing, plan: TlsPlan) -> None:
    """Raises HostUnavailable for a server that isn't the one that its TLSA records mean."""
    assert dialing.dane is not None
    assert plan.demand is not None
    assert smtp.transport is not None
    tls = smtp.transport.get_extra_info("ssl_object")
    if why := dialing.dane.refusal(plan.demand, endpoint.host, tls):
        reply = Reply(451, "4.7.5", f"{endpoint}: {why}")
        raise HostUnavailable(str(endpoint), Stage.TLS, reply, failure=Failure.OTHER)


def _note(
    smtp: aiosmtplib.SMTP, endpoint: Endpoint, dialing: Dialing, plan: TlsPlan, *, encrypted: bool
) -> None:
    """Tells how the connection is protected; that TLS wasn't offered is a failure, too."""
    tls = smtp.transport.get_extra_info("ssl_object") if encrypted and smtp.transport else None
    wanted = dialing.tls.name != "none" and not endpoint.is_unix
    failure = Failure.NO_STARTTLS if wanted and not encrypted else None
    if plan.demand is not None and not plan.demand.records:
        failure = Failure.BAD_TLSA
    dialing.note(
        TlsSession(
            endpoint.host,
            (tls.version() or "TLS") if tls is not None else "none",
            plan.tried if encrypted else Rung.PLAIN,
            encrypted and plan.proves,
            failure,
            tlsa=plan.tlsa,
        )
    )


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
    smtp: aiosmtplib.SMTP, host: str, rank: int, dialing: Dialing, plan: TlsPlan
) -> Conversation:
    """Takes the connection over from aiosmtplib, which stays behind as an empty shell."""
    transport = cast("asyncio.Transport | None", smtp.transport)  # uvloop's is no subclass
    if transport is None or transport.is_closing():
        reply = Reply(451, "4.4.2", f"{host} closed the connection")
        raise HostUnavailable(host, Stage.GREETING, reply)
    encrypted = transport.get_extra_info("ssl_object")
    offered = {
        keyword: text
        for keyword, text in smtp.esmtp_extensions.items()
        if keyword not in dialing.ignored
    }
    peer = Peer(
        host,
        rank,
        tls=(encrypted.version() or "TLS") if encrypted is not None else "none",
        verified=encrypted is not None and plan.proves and dialing.proved,
        lmtp=dialing.lmtp,
        capabilities=capabilities_of(offered),
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
    if number and not isinstance(error, ssl.SSLError):
        return os.strerror(number)
    return " ".join(str(error).split())[:200] or type(error).__name__

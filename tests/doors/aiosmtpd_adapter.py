"""Puts our session class in the place of aiosmtpd's, for aiosmtpd's own test suite.

A pytest plugin of the process that test_aiosmtpd.py starts. What aiosmtpd gives to its
class (a handler, keywords) is translated to what ours takes (an intake, a policy); replies
are compared by their code alone, because every text here is another and has an enhanced
code. FILTERRELAY_OUTCOMES names the file for the tests' outcomes.
"""

import asyncio
import importlib.resources
import json
import os
import sys
import types
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosmtpd.smtp
import pytest

from filterrelay.doors.admission import Admission
from filterrelay.doors.policy import Counters, DoorPolicy, Reception
from filterrelay.doors.smtp import SmtpSession
from filterrelay.intake.transaction import Onward
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import OK, Reply
from filterrelay.mail.session import Credentials, Identity, Session, Tls
from filterrelay.observe.budget import MemoryBudget, Reservation
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.hooks import Reads
from filterrelay.settings import Limits, Listener

METRICS = Metrics()
LOGIN_NEEDED = Reply(530, "5.7.0", "Authentication required")


def reply_of(status: str) -> Reply:
    """A handler's status line as a reply."""
    return Reply(int(status[:3]), "", status[4:])


class HandlerIntake:
    """An aiosmtpd handler, asked as an intake."""

    def __init__(self, server: "TheirSession", keywords: dict[str, Any]) -> None:
        self.server = server
        self.keywords = keywords

    async def ask(self, hook: str, *arguments: Any) -> Reply | None:
        """What the handler's hook says; None when it has none or says 250."""
        method = getattr(self.server.event_handler, f"handle_{hook}", None)
        if method is None:
            return None
        server = self.server
        status = await method(server, server.session, server.envelope, *arguments)
        return None if str(status).startswith("250") else reply_of(status)

    def judged(self, listener: str) -> frozenset[str]:
        """Of interest to other doors only."""
        return frozenset()

    def reads(self, listener: str) -> Reads | None:
        """Of interest to other doors only."""
        return "body"

    async def on_connect(self, session: Session) -> Reply | None:
        """aiosmtpd asks nothing here."""
        return None

    async def on_helo(self, session: Session) -> Reply | None:
        """handle_HELO; handle_EHLO takes more than a name and isn't translated."""
        self.server.session.host_name = session.helo
        self.server.session.extended_smtp = session.esmtp
        return None if session.esmtp else await self.ask("HELO", session.helo)

    async def authenticate(self, session: Session, credentials: Credentials) -> Identity | None:
        """The authenticator or the callback."""
        pair = aiosmtpd.smtp.LoginPassword(
            credentials.login.encode(), credentials.password.encode()
        )
        server, mechanism = self.server, credentials.mechanism
        if authenticator := self.keywords.get("authenticator"):
            given = authenticator(server, server.session, server.envelope, mechanism, pair)
            good = given.success
        else:
            callback = self.keywords.get("auth_callback") or (lambda *_: False)
            good = callback(mechanism, *pair)
        server.session.authenticated = good
        server.session.auth_data = pair
        return Identity(credentials.login) if good else None

    async def reconfirm(self, session: Session, envelope: Envelope) -> Identity | None:
        """It has no such thing."""
        return session.identity

    def locked_out(self, session: Session) -> Reply | None:
        """The keyword auth_required; of ours the intake itself sees to that."""
        needed = self.keywords.get("auth_required") and session.identity is None
        return LOGIN_NEEDED if needed else None

    async def on_sender(self, session: Session, envelope: Envelope) -> Reply | None:
        """handle_MAIL."""
        refused = self.locked_out(session) or await self.ask("MAIL", envelope.return_path, [])
        if refused is None:
            self.server.envelope.mail_from = envelope.return_path
            self.server.envelope.smtp_utf8 = envelope.smtputf8
        return refused

    async def on_recipient(
        self, session: Session, envelope: Envelope, recipient: Recipient
    ) -> Reply | None:
        """handle_RCPT."""
        refused = await self.ask("RCPT", str(recipient), [])
        if refused is None:
            self.server.envelope.rcpt_tos.append(str(recipient))
        return refused

    async def receive(
        self,
        session: Session,
        envelope: Envelope,
        raw: bytes,
        reservation: Reservation,
        onward: Onward | None = None,
    ) -> Reply:
        """handle_DATA."""
        reservation.release()
        server = self.server
        decoded = self.keywords.get("decode_data")
        server.envelope.content = raw.decode("utf-8", "surrogateescape") if decoded else raw
        server.envelope.original_content = raw
        return await self.ask("DATA") or OK

    def refuse_content(
        self, session: Session, envelope: Envelope, reply: Reply, size: int
    ) -> Reply:
        """aiosmtpd asks nothing here."""
        return reply

    def on_close(self, session: Session) -> None:
        """aiosmtpd asks nothing here."""


def policy_of(keywords: dict[str, Any]) -> DoorPolicy:
    """aiosmtpd's keywords as a policy."""
    limits = Limits(
        message_size=keywords.get("data_size_limit", aiosmtpd.smtp.DATA_SIZE_DEFAULT) or 2**40,
        command_timeout=timedelta(seconds=keywords.get("timeout", 300)),
        errors=aiosmtpd.smtp.BOGUS_LIMIT - 1,
    )
    tls = keywords.get("tls_context")
    listener = Listener(
        kind="smtp", address="localhost:8025", tls="starttls" if tls else "none", auth="optional"
    )
    return DoorPolicy(
        listener,
        limits,
        keywords.get("hostname") or "localhost",
        tls,
        max_line=TheirSession.line_length_limit,
        tarpit=0,
    )


class TheirSession(SmtpSession):
    """Our session with aiosmtpd's constructor, and aiosmtpd's session and envelope beside it."""

    session: Any
    envelope: Any

    def __init__(self, handler: Any, **keywords: Any) -> None:
        loop = keywords.get("loop") or aiosmtpd.smtp.make_loop()
        policy = policy_of(keywords)
        self.event_handler = handler
        self.keywords = keywords
        self.hostname = policy.hostname
        reception = Reception(
            policy=policy,
            intake=HandlerIntake(self, keywords),
            budget=MemoryBudget(2**30),
            admission=Admission(1).for_worker(0),
            counters=Counters(METRICS, "smtp"),
            clock=SystemClock(),
            loop=loop,
        )
        self.envelope = aiosmtpd.smtp.Envelope()
        self.session = aiosmtpd.smtp.Session(loop)
        super().__init__(reception, Session("id", "smtp", "smtp", "127.0.0.1"))
        if not keywords.get("auth_require_tls", True) and not keywords.get("tls_context"):
            self.client = replace(self.client, tls=Tls("pretended", "", 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins the conversation, which in our server its own task does."""
        super().connection_made(transport)
        self.session.peer = transport.get_extra_info("peername")
        self.conversing = self.loop.create_task(self.converse())

    def _note_tls(self) -> None:
        super()._note_tls()
        if self._stream.get_extra_info("ssl_object") is not None:
            self.session.ssl = self._stream.get_extra_info("sslcontext")

    def end_transaction(self) -> None:
        """Makes a new envelope of theirs too."""
        super().end_transaction()
        self.envelope = aiosmtpd.smtp.Envelope()


def same_code(mine: Any, other: Any) -> bool:
    """Whether two replies have one code."""
    return bool(mine[0] == other[0])


def pytest_configure(config: pytest.Config) -> None:
    """Puts our class in place before aiosmtpd's tests are imported."""
    resources = types.ModuleType("pkg_resources")  # gone from setuptools; their conftest wants it
    resources.resource_filename = lambda package, name: str(  # type: ignore[attr-defined]  # made here
        importlib.resources.files(package) / name
    )
    sys.modules.setdefault("pkg_resources", resources)
    aiosmtpd.smtp.SMTP = TheirSession  # type: ignore[misc]  # what this plugin is for
    from aiosmtpd import controller
    from aiosmtpd.testing import statuscodes

    controller.SMTP = TheirSession  # type: ignore[attr-defined]  # likewise
    statuscodes.StatusCode.__eq__ = same_code  # type: ignore[method-assign]  # see above


OUTCOMES: dict[str, str] = {}


def pytest_runtest_logreport(report: Any) -> None:
    """Notes how a test went; the worst of its phases and parameters counts."""
    name = report.nodeid.partition("::")[2].partition("[")[0]
    if report.outcome != "passed" or name not in OUTCOMES:
        OUTCOMES[name] = report.outcome


def pytest_sessionfinish() -> None:
    """Writes down all outcomes."""
    Path(os.environ["FILTERRELAY_OUTCOMES"]).write_text(json.dumps(OUTCOMES, indent=1))

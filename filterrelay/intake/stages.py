"""What a client is told as it speaks: the relay's own rules first, then the plugins."""

from dataclasses import dataclass
from typing import Any, assert_never

import structlog
from structlog.contextvars import bind_contextvars

from filterrelay.chain.chain import Chain, NotAnswered
from filterrelay.errors import FilterRelayError
from filterrelay.intake.early import EarlyVerdicts
from filterrelay.intake.relaying import IntakeRules
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import LOGIN_OVER, Reply
from filterrelay.mail.session import Credentials, Identity, Session
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.hooks import Reads

log = structlog.get_logger(__name__)


@dataclass
class AuthUnavailable(FilterRelayError):
    """Nobody can say now whether the password is right."""

    plugin: str
    reason: str


@dataclass
class LoginOver(FilterRelayError):
    """The account was frozen or removed, or has another password, since the client logged in."""

    login: str


EARLY_HOOKS = ("on_connect", "on_helo", "on_sender", "on_recipient")


class Stages:
    """The stages before the message. A reply of None means: go on."""

    def __init__(self, rules: IntakeRules, chain: Chain, metrics: Metrics) -> None:
        self._rules = rules
        self._chain = chain
        self._metrics = metrics
        self._early = EarlyVerdicts()

    def judged(self, listener: str) -> frozenset[str]:
        """The stages where a client can be refused there, or leaves something behind."""
        hooks = {hook for hook in EARLY_HOOKS if self._chain.has_early(hook, listener)}
        if "on_recipient" in hooks or self._rules.listeners[listener].limits_senders:
            hooks.add("on_sender")
        return frozenset(hooks)

    def reads(self, listener: str) -> Reads | None:
        """How much of a message there is needed; None when not even its header is.

        What is found goes into the header, from which forged results must be taken.
        """
        rules = self._rules.listeners[listener]
        reads = self._chain.reads(listener)
        if reads == "body" or rules.listener.quarantine == "own":
            return "body"
        finds = reads or any(self._chain.has_early(hook, listener) for hook in EARLY_HOOKS)
        return "header" if finds or rules.limits_authors else None

    async def on_connect(self, session: Session) -> Reply | None:
        """Judges a client before the greeting; the session's log lines name it from now on."""
        bind_contextvars(session=session.id)
        return await self._ask_early("on_connect", session)

    async def on_helo(self, session: Session) -> Reply | None:
        """Judges the name that the client gives itself."""
        return await self._ask_early("on_helo", session)

    async def authenticate(self, session: Session, credentials: Credentials) -> Identity | None:
        """Who that is, or None when the password is wrong. Raises AuthUnavailable."""
        try:
            return await self._chain.authenticate(session, credentials)
        except NotAnswered as error:
            raise AuthUnavailable(error.plugin, error.reason) from error

    async def reconfirm(self, session: Session, envelope: Envelope) -> Identity | None:
        """Who the client of the next message is by now; None without a login.

        Raises LoginOver, which is counted and logged, and AuthUnavailable.
        """
        identity = session.identity
        if identity is None:
            return None
        try:
            identity = await self._chain.reconfirm(identity)
        except NotAnswered as error:
            raise AuthUnavailable(error.plugin, error.reason) from error
        if identity is None or identity.frozen:
            self._tell_refusal("on_sender", session, LOGIN_OVER, envelope=envelope)
            raise LoginOver(session.login)
        return identity

    async def on_sender(self, session: Session, envelope: Envelope) -> Reply | None:
        """Judges the sender by the relay's own rules, then by the plugins."""
        self._early.end_transaction(session.id)
        refused = self._rules.listeners[session.listener].sender(session, envelope)
        if refused is not None:
            self._tell_refusal("on_sender", session, refused, envelope=envelope)
            return refused
        return await self._ask_early("on_sender", session, envelope=envelope)

    async def on_recipient(
        self, session: Session, envelope: Envelope, recipient: Recipient
    ) -> Reply | None:
        """Judges one recipient by the relay's own rules, then by the plugins."""
        refused = self._rules.listeners[session.listener].recipient(session, envelope, recipient)
        if refused is not None:
            self._tell_refusal(
                "on_recipient", session, refused, envelope=envelope, recipient=recipient
            )
            return refused
        return await self._ask_early(
            "on_recipient", session, envelope=envelope, recipient=recipient
        )

    def on_close(self, session: Session) -> None:
        """The session has ended."""
        self._early.forget(session.id)

    async def _ask_early(self, hook: str, session: Session, **arguments: Any) -> Reply | None:
        if not self._chain.has_early(hook, session.listener):
            return None
        verdict, by, records = await self._chain.early(hook, session, **arguments)
        match verdict:
            case Reject(reply) | Defer(reply):
                self._early.note_refusal(session.id, records)
                self._tell_refusal(hook, session, reply, by=by, plugin=True, **arguments)
                return reply
            case Quarantine() | Discard():
                self._early.note(session.id, hook, records, (verdict, by))
                return None
            case Pass():
                self._early.note(session.id, hook, records, None)
                return None
            case _:
                assert_never(verdict)

    def _tell_refusal(
        self,
        hook: str,
        session: Session,
        reply: Reply,
        *,
        by: str = "",
        plugin: bool = False,
        envelope: Envelope | None = None,
        recipient: Recipient | None = None,
    ) -> None:
        """Counts and logs that a command was refused, by a plugin or by our own rules."""
        self._metrics.refusals.labels(
            session.listener, hook, "plugin" if plugin else "policy"
        ).inc()
        log.info(
            "refused",
            hook=hook,
            by=by,
            reply=str(reply),
            session=session.id,
            client=session.client_ip,
            client_name=session.client_name,
            helo=session.helo,
            protocol=session.protocol,
            login=session.login,
            listener=session.listener,
            sender=envelope.return_path if envelope is not None else "",
            recipient=str(recipient) if recipient is not None else "",
        )

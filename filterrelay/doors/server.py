"""A door itself, of any kind: takes connections from a listening socket, and drains."""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import structlog

from filterrelay.doors import replies
from filterrelay.doors.admission import Refusal, WorkerAdmission
from filterrelay.doors.conversation import HANDSHAKE_TIMEOUT
from filterrelay.doors.policy import Counters, DoorPolicy, Intake, Reception
from filterrelay.doors.proxy_protocol import BadProxyHeader, plain_address, read_proxy_header
from filterrelay.mail.identifier import new_id
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.observe.budget import MemoryBudget
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics

PROXY_TIMEOUT = 10.0  # seconds for the PROXY header
BREATHER = 0.5  # seconds without accepting when the system has no file or buffer to spare
HASTY_PART = 0.1  # of a drain's time, for handshakes to finish
PATIENT_PART = 0.9  # of a drain's grace; the rest is for saying 421
COURTESY = 0.002  # seconds that a worker leaves a client to one with fewer connections
SPENT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SAID = {
    Refusal.TOO_MANY: replies.TOO_MANY_CONNECTIONS,
    Refusal.TOO_MANY_FROM_CLIENT: replies.TOO_MANY_FROM_YOU,
}

log = structlog.get_logger(__name__)


class DoorSession(Protocol):
    """One connection, as a door speaks with it; the event loop gives it the stream as well.

    log: tells this session from others.
    """

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """The log, with what tells this session from others."""
        ...

    async def converse(self) -> None:
        """All of it, until the stream is closed."""

    def drain(self) -> None:
        """Ends as soon as nothing is under way."""

    def hang_up(self, reply: Reply | None) -> None:
        """Ends at its next wait, with a last word if the protocol has one."""


OpenSession = Callable[[Reception, Session], DoorSession]  # an asyncio.Protocol, too


class Door:
    """One listener in one worker. open_session: makes what speaks with a client."""

    def __init__(
        self,
        policy: DoorPolicy,
        open_session: OpenSession,
        intake: Intake,
        budget: MemoryBudget,
        admission: WorkerAdmission,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._open_session = open_session
        self._intake = intake
        self._budget = budget
        self._admission = admission
        self._counters = Counters(metrics, policy.listener.name or policy.listener.kind)
        self._clock = clock
        self._sessions: dict[asyncio.Task[None], DoorSession | None] = {}
        self._draining = False
        self._closed = True

    async def start(self, sock: socket.socket) -> None:
        """Takes connections from a bound, listening socket (TCP or unix) from now on.

        One a wake-up, so that workers that share the socket share the load.
        """
        self._loop = asyncio.get_running_loop()
        self._reception = Reception(
            policy=self._policy,
            intake=self._intake,
            budget=self._budget,
            admission=self._admission,
            counters=self._counters,
            clock=self._clock,
            loop=self._loop,
        )
        sock.setblocking(False)
        self._sock = sock
        self._closed = False
        self._loop.add_reader(sock, self._accept)

    async def retire(self) -> None:
        """Takes no new connection, and returns when the last session has come to its own end."""
        self._close()
        while self._sessions:
            await asyncio.wait(self._sessions)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock)
            self._sock.close()

    async def drain(self, grace: float) -> None:
        """Ends within grace seconds: no new connection, 421 to who waits, time for who doesn't.

        Who isn't through near the end hears 421 in the middle of it, or is cut off.
        """
        self._draining = True
        self._close()
        ungreeted = []
        for task, session in self._sessions.items():
            if session is not None:
                session.drain()
            else:  # it hears 421 in place of the greeting, if it comes so far
                ungreeted.append(task)
        self._loop.call_later(grace * HASTY_PART, self._give_up, ungreeted)
        if not self._sessions:
            return
        _, late = await asyncio.wait(self._sessions, timeout=grace * PATIENT_PART)
        if not late:
            return
        log.warning("sessions_cut", sessions=len(late))
        for task in late:
            if (unfinished := self._sessions[task]) is not None:
                unfinished.hang_up(replies.SHUTTING_DOWN)
        _, deaf = await asyncio.wait(late, timeout=grace * (1 - PATIENT_PART))
        for task in deaf:
            task.cancel()
        if deaf:
            await asyncio.wait(deaf)

    def _give_up(self, ungreeted: Sequence[asyncio.Task[None]]) -> None:
        """Ends who is still in a handshake or sends no PROXY header."""
        for task in ungreeted:
            if self._sessions.get(task, self) is None:
                task.cancel()

    def _accept(self) -> None:
        """A client waits: taken by this worker, unless another has less to do."""
        if self._admission.is_ahead():
            self._loop.remove_reader(self._sock)
            self._loop.call_later(COURTESY, self._accept_what_is_left)
        else:
            self._take()

    def _accept_what_is_left(self) -> None:
        """The others had their chance; nobody waits for a worker that is busy or gone."""
        if not self._closed:
            self._take()
            self._resume()

    def _take(self) -> None:
        try:
            client, address = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            if error.errno not in SPENT:
                raise
            log.error("cannot_accept", reason=str(error))
            self._loop.remove_reader(self._sock)
            self._loop.call_later(BREATHER, self._resume)
            return
        client.setblocking(False)
        client_ip, port = _address_of(address)
        task = self._loop.create_task(self._serve(client, client_ip, port))
        self._sessions[task] = None
        task.add_done_callback(self._ended)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock, self._accept)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sessions[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session_failed", exc_info=error)

    async def _serve(self, client: socket.socket, client_ip: str, port: int) -> None:
        """One connection, from its first octet to its last."""
        if not self._policy.listener.proxy_protocol:
            await self._admit(client, client_ip, port)
        elif not self._policy.believes(client_ip):
            self._refuse(client, client_ip, "no proxy of ours (proxy_from)")
        # until the header has come, it counts as nobody's: all clients come from the proxy
        elif (refusal := self._admission.enter("", self._policy.limits)) is not None:
            self._turn_away(client, client_ip, refusal)
        else:
            try:
                named = await self._proxied(client, client_ip, port)
            finally:
                self._admission.leave("")
            if named is not None:
                await self._admit(client, *named)

    async def _proxied(
        self, client: socket.socket, proxy_ip: str, port: int
    ) -> tuple[str, int] | None:
        """The address and port that the PROXY header names; None when there is no header."""
        try:
            async with asyncio.timeout(PROXY_TIMEOUT):
                return await read_proxy_header(self._loop, client) or (proxy_ip, port)
        except (BadProxyHeader, OSError, TimeoutError) as error:
            self._refuse(client, proxy_ip, str(error) or "timed out")
            return None
        except BaseException:
            client.close()
            raise

    async def _admit(self, client: socket.socket, client_ip: str, port: int) -> None:
        """Converses, if there may be another connection from there.

        A mail server in front of us comes with all its clients' connections: its own
        address doesn't count.
        """
        stands_in_front = self._policy.speaks_for_clients(client_ip)
        if self._policy.listener.kind != "smtp" and not stands_in_front:
            self._refuse(client, client_ip, "no mail server of ours (xclient_from)")
            return
        counted = "" if stands_in_front else client_ip
        refusal = self._admission.enter(counted, self._policy.limits)
        if refusal is not None:
            self._turn_away(client, client_ip, refusal)
            return
        self._counters.sessions.inc()
        try:
            await self._converse(client, client_ip, port)
        finally:
            self._counters.sessions.dec()
            self._admission.leave(counted)

    async def _converse(self, client: socket.socket, client_ip: str, port: int) -> None:
        policy = self._policy
        implicit = policy.tls if policy.listener.tls == "implicit" else None
        about = Session(
            id=new_id(self._clock.now()),
            listener=policy.listener.name or policy.listener.kind,
            door=policy.listener.kind,
            client_ip=client_ip,
            client_port=port,
            trusted=policy.trusts(client_ip),
        )
        session = self._open_session(self._reception, about)
        try:
            await self._loop.connect_accepted_socket(
                lambda: cast("asyncio.BaseProtocol", session),
                client,
                ssl=implicit,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT if implicit else None,
            )
        except (OSError, TimeoutError) as error:
            self._counters.connections["refused"].inc()
            session.log.info("connection_refused", reason=str(error) or "timed out")
            client.close()
            return
        except BaseException:
            client.close()
            raise
        self._counters.connections["accepted"].inc()
        session.log.debug("connection_accepted", port=port, listener=about.listener)
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        self._sessions[task] = session
        if self._draining:
            session.drain()
        await session.converse()

    def _refuse(self, client: socket.socket, client_ip: str, reason: str) -> None:
        """Closes without a word to who speaks another protocol, or none that we may trust."""
        self._counters.connections["refused"].inc()
        log.info("connection_refused", client=client_ip, reason=reason)
        client.close()

    def _turn_away(self, client: socket.socket, client_ip: str, refusal: Refusal) -> None:
        """Says 421 if that can be said in plain text, and closes."""
        self._counters.connections["too_many"].inc()
        log.info("connection_refused", client=client_ip, reason=refusal.value)
        with client:
            if self._policy.listener.tls != "implicit" and self._policy.listener.kind != "milter":
                try:
                    client.send(SAID[refusal].encode())
                except OSError as error:
                    log.debug("refusal_unsaid", client=client_ip, reason=str(error))


def _address_of(address: object) -> tuple[str, int]:
    """The peer's address as accept gives it, as text; empty for a unix socket."""
    if not isinstance(address, tuple):
        return "", 0
    return plain_address(str(address[0])), int(address[1])

"""The hosts of one next hop: tried in order, and left alone for a while after a failure."""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import structlog
from prometheus_client import Gauge

from filterrelay.delivery.connect import Dialing, HostUnavailable, connect
from filterrelay.delivery.contact import Stage
from filterrelay.delivery.conversation import Conversation
from filterrelay.delivery.down import DownHosts
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint

FIRST_PAUSE = 5.0  # seconds that a host is left alone after a failure; doubles each time
LONGEST_PAUSE = 60.0
_MOMENT = 1.0  # seconds that a host is left alone by those who hurry
_RUNG_MEMORY = 600.0  # seconds that a failed handshake is remembered

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass
class Unreachable(FilterRelayError):
    """No host of the next hop can be used now. crowded: for more than what is open already."""

    last: HostUnavailable
    crowded: bool = False


@dataclass
class HostState:
    """What is known of one host from the attempts so far.

    preference: the place of its group. down_until, rung_until: in the loop's time. probe: is
    done when the one connection is, or isn't, that finds out whether the host is back.
    talking: what is connected. opening: how many are about to be. rung: the step of the
    policy's ladder to begin with.
    """

    endpoint: Endpoint
    preference: int = 0
    down_until: float = 0.0
    pause: float = 0.0
    error: HostUnavailable | None = field(default=None, repr=False)
    probe: asyncio.Event | None = field(default=None, repr=False)
    talking: WeakSet[Conversation] = field(default_factory=WeakSet, repr=False)
    opening: int = 0
    rung: int = 0
    rung_until: float = 0.0

    @property
    def has_others(self) -> bool:
        """Whether one that is being opened isn't the only connection."""
        return self.opening > 1 or any(each.usable for each in self.talking)


class Hosts:
    """One next hop's hosts, in groups of equal preference, the best group first.

    gauge: counts those that are down, beside others'.
    """

    def __init__(
        self,
        upstream: str,
        groups: Sequence[Sequence[Endpoint]],
        dialing: Dialing,
        gauge: Gauge,
    ) -> None:
        self._upstream = upstream
        self._dialing = dialing
        self._down = DownHosts(gauge)
        self._states = [
            HostState(endpoint, preference)
            for preference, group in enumerate(groups)
            for endpoint in group
        ]
        self._time: Callable[[], float] = lambda: asyncio.get_running_loop().time()

    def outage(self) -> tuple[HostUnavailable, float] | None:
        """Why no host is tried now, and the seconds until one is; None when one is now."""
        now = self._time()
        for state in self._states:
            if state.down_until <= now:
                return None
        error = self._states[0].error
        assert error is not None, "a host is left alone for a reason"
        return error, min(state.down_until for state in self._states) - now

    def hurry(self) -> None:
        """Has hosts that were left alone for a moment tried again, if there are no others.

        For who has a client waiting, and no queue. One that refused our login stays alone.
        """
        now = self._time()
        if self.outage() is None:
            return
        for state in self._states:
            failed_at = state.down_until - state.pause
            refused = state.error is not None and state.error.stage is Stage.LOGIN
            if not refused and now - failed_at >= _MOMENT:
                state.down_until = now

    def better_than(self, rank: int) -> bool:
        """Whether a host of better preference may be tried again, and nobody does so."""
        now, preference = self._time(), self._states[rank].preference
        return any(
            state.down_until <= now and state.probe is None
            for state in self._states
            if state.preference < preference
        )

    async def open(self, past: Collection[int] = ()) -> Conversation:
        """A conversation with the first host that can be had. Raises Unreachable.

        past: the ranks of those that it isn't to be; at least one host isn't among them.

        Those of equal preference are tried in another order each time (RFC 5321 section
        5.1). A host that had failed is tried by one alone; others go past it, or wait for
        what comes of it when there is no other.
        """
        while True:
            last: HostUnavailable | None = None
            crowded = False
            probe: asyncio.Event | None = None
            for rank, state in self._in_order():
                if rank in past:
                    continue
                if state.down_until > self._time():
                    last = state.error or last
                elif state.probe is not None:
                    probe = probe or state.probe
                else:
                    try:
                        return await self._tried(rank, state)
                    except HostUnavailable as unavailable:
                        last = unavailable
                        crowded = crowded or state.error is not unavailable
            if probe is None:
                assert last is not None, "an upstream has at least one host"
                raise Unreachable(last, crowded)
            await probe.wait()

    async def _tried(self, rank: int, state: HostState) -> Conversation:
        """A conversation with this host, or a note of why there is none.

        One that refuses a connection beside others is not down: it has enough of them.
        """
        began = self._time()
        probe = asyncio.Event()
        if state.error is not None:
            state.probe = probe
        state.opening += 1
        try:
            conversation = await self._step_down(rank, state)
        except HostUnavailable as unavailable:
            answered = unavailable.answered and unavailable.stage is Stage.GREETING
            if not (answered and state.has_others):
                self._failed(rank, unavailable, began)
            raise
        finally:
            state.opening -= 1
            if state.probe is probe:
                state.probe = None
            probe.set()
        if state.error is not None:
            _log.info("host_back", upstream=self._upstream, host=str(state.endpoint))
        state.error, state.pause, state.down_until = None, 0.0, 0.0
        self._down.back(rank)
        state.talking.add(conversation)
        return conversation

    def failed(self, rank: int, error: HostUnavailable) -> None:
        """Notes that a host took the connection but then no mail."""
        self._failed(rank, error, self._time())

    def close(self) -> None:
        """Nobody asks any more which of them are down."""
        self._down.close()

    def _in_order(self) -> Sequence[tuple[int, HostState]]:
        ranked = list(enumerate(self._states))
        random.shuffle(ranked)
        return sorted(ranked, key=lambda place: place[1].preference)

    async def _step_down(self, rank: int, state: HostState) -> Conversation:
        """Goes down the policy's ladder as far as the host makes it, each on a fresh connection."""
        if state.rung and state.rung_until <= self._time():
            state.rung = 0
        ladder = self._dialing.tls.ladder
        tried = state.rung  # others open connections meanwhile, and learn the same
        while True:
            try:
                return await connect(state.endpoint, rank, self._dialing, ladder[tried])
            except HostUnavailable as unavailable:
                if unavailable.lower not in ladder[tried + 1 :]:
                    raise
                tried = ladder.index(unavailable.lower)
                state.rung = max(state.rung, tried)
                state.rung_until = self._time() + _RUNG_MEMORY
                _log.info(
                    "handshake_failed",
                    upstream=self._upstream,
                    host=unavailable.host,
                    reason=unavailable.reply.text,
                    tls=ladder[tried].value,
                )

    def _failed(self, rank: int, error: HostUnavailable, began: float) -> None:
        state = self._states[rank]
        state.error = error
        now = self._time()
        if state.down_until > began:
            return  # another connection failed meanwhile; one outage counts once
        if error.stage is Stage.LOGIN:
            state.pause = LONGEST_PAUSE  # more tries would lock the account
        else:
            state.pause = min(max(state.pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        state.down_until = now + state.pause
        self._down.failed(rank, state.pause)
        level = _log.error if error.stage is Stage.LOGIN else _log.warning
        level(
            "host_unavailable",
            upstream=self._upstream,
            host=error.host,
            stage=error.stage.value,
            reply=str(error.reply),
            pause=state.pause,
        )

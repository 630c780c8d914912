"""The hosts of one next hop: tried in order, and left alone for a while after a failure."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from filterrelay.delivery.connect import Dialing, HostUnavailable, Stage, connect
from filterrelay.delivery.conversation import Conversation
from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint

FIRST_PAUSE = 5.0  # seconds that a host is left alone after a failure; doubles each time
LONGEST_PAUSE = 60.0
_RUNG_MEMORY = 600.0  # seconds that a failed handshake is remembered

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass
class Unreachable(FilterRelayError):
    """No host of the next hop can be used now."""

    last: HostUnavailable


@dataclass
class HostState:
    """What is known of one host from the attempts so far.

    preference: the place of its group. failed_at, down_until, rung_until: in the loop's
    time. rung: the step of the policy's ladder to begin with.
    """

    endpoint: Endpoint
    preference: int = 0
    failed_at: float = 0.0
    down_until: float = 0.0
    pause: float = 0.0
    error: HostUnavailable | None = field(default=None, repr=False)
    rung: int = 0
    rung_until: float = 0.0


class Hosts:
    """One next hop's hosts, in groups of equal preference, the best group first."""

    def __init__(
        self, upstream: str, groups: Sequence[Sequence[Endpoint]], dialing: Dialing
    ) -> None:
        self._upstream = upstream
        self._dialing = dialing
        self._states = [
            HostState(endpoint, preference)
            for preference, group in enumerate(groups)
            for endpoint in group
        ]
        self._time: Callable[[], float] = lambda: asyncio.get_running_loop().time()

    def outage(self) -> tuple[HostUnavailable, float, float] | None:
        """Why no host is tried now, or None when one is.

        With the seconds since the last failure, and those until a host is tried again.
        """
        now = self._time()
        if any(state.down_until <= now for state in self._states):
            return None
        error = self._states[0].error
        assert error is not None, "a host is left alone for a reason"
        failed = max(state.failed_at for state in self._states)
        return error, now - failed, min(state.down_until for state in self._states) - now

    def better_than(self, rank: int) -> bool:
        """Whether a host of better preference than this one may be tried again."""
        preference = self._states[rank].preference
        return preference > 0 and any(
            state.down_until <= self._time()
            for state in self._states[:rank]
            if state.preference < preference
        )

    async def open(self) -> Conversation:
        """A conversation with the first host that can be had. Raises Unreachable.

        Those of equal preference are tried in another order each time (RFC 5321 section 5.1).
        """
        began = self._time()
        last: HostUnavailable | None = None
        for rank, state in self._in_order():
            if state.down_until > self._time():
                last = state.error or last
                continue
            try:
                conversation = await self._step_down(rank, state)
            except HostUnavailable as unavailable:
                self._failed(state, unavailable, began)
                last = unavailable
            else:
                if state.error is not None:
                    _log.info("host_back", upstream=self._upstream, host=str(state.endpoint))
                state.error, state.pause, state.down_until = None, 0.0, 0.0
                return conversation
        assert last is not None, "an upstream has at least one host"
        raise Unreachable(last)

    def failed(self, rank: int, error: HostUnavailable) -> None:
        """Notes that a host took the connection but then no mail."""
        self._failed(self._states[rank], error, self._time())

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
                    now=ladder[tried].value,
                )

    def _failed(self, state: HostState, error: HostUnavailable, began: float) -> None:
        state.error = error
        now = self._time()
        if state.down_until > began:
            return  # another connection failed meanwhile; one outage counts once
        if error.stage is Stage.LOGIN:
            state.pause = LONGEST_PAUSE  # more tries would lock the account
        else:
            state.pause = min(max(state.pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        state.failed_at, state.down_until = now, now + state.pause
        level = _log.error if error.stage is Stage.LOGIN else _log.warning
        level(
            "host_unavailable",
            upstream=self._upstream,
            host=error.host,
            stage=error.stage.value,
            reply=str(error.reply),
            pause=state.pause,
        )

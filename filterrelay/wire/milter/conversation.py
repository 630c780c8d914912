"""One connection from an MTA: octets in, events out.

The states, and where each command leads. What the MTA was asked to leave out (NO_CONNECT,
NO_MAIL, NO_RCPT) counts as said.

    state       command                                      leads to
    NEW         NEGOTIATE                                    READY
    READY       CONNECT                                      SESSION
    SESSION     HELO                                         SESSION
                MAIL                                         SENDER
    SENDER      RCPT                                         RECIPIENTS
    RECIPIENTS  RCPT                                         RECIPIENTS
                DATA                                         CONTENT
                HEADER                                       HEADERS
                END_OF_HEADER, BODY                          TEXT
                END_OF_MESSAGE                               SESSION
    CONTENT     HEADER                                       HEADERS
                END_OF_HEADER, BODY                          TEXT
                END_OF_MESSAGE                               SESSION
    HEADERS     as CONTENT
    TEXT        BODY                                         TEXT
                END_OF_MESSAGE                               SESSION
    any         QUIT                                         CLOSED
    but NEW     MACRO                                        where it was
                ABORT                                        SESSION, or where it was
                QUIT_NEW_CONNECTION                          READY
    from READY to RECIPIENTS: UNKNOWN                        where it was
    from SENDER to TEXT: HELO, MAIL                          as from SESSION, an Abort first

All else leads to CLOSED by a Broken. The filter's own replies don't matter here: a message
that it has done with is over for the MTA, too, which goes on with ABORT, MAIL or QUIT.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from filterrelay.wire.milter import commands
from filterrelay.wire.milter.codes import (
    CHUNK,
    NO_ACTIONS,
    NO_STEPS,
    OLDEST_VERSION,
    VERSION,
    Action,
    Command,
    Stage,
    Step,
)
from filterrelay.wire.milter.edits import Edits
from filterrelay.wire.milter.events import (
    Abort,
    Body,
    Broken,
    Connect,
    Data,
    EndOfHeader,
    EndOfMessage,
    Event,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiated,
    Quit,
    QuitNewConnection,
    Rcpt,
    Unknown,
)
from filterrelay.wire.milter.replies import negotiation

MOST = 1024 * 1024  # octets of a packet, as HUGE allows; Postfix has fields of 102400 at most
_LARGE = 256 * 1024  # octets, as LARGE allows
_HEAD = struct.Struct(">IB")
_NO_MACROS: Macros = MappingProxyType({})


class State(Enum):
    """How far the MTA has come."""

    NEW = "new"
    READY = "ready"
    SESSION = "session"
    SENDER = "sender"
    RECIPIENTS = "recipients"
    CONTENT = "content"
    HEADERS = "headers"
    TEXT = "text"
    CLOSED = "closed"


_Ways = Mapping[int, State]  # by command

_MESSAGE = (State.SENDER, State.RECIPIENTS, State.CONTENT, State.HEADERS, State.TEXT)
_END: _Ways = {Command.BODY: State.TEXT, Command.END_OF_MESSAGE: State.SESSION}
_CONTENT: _Ways = {
    Command.HEADER: State.HEADERS,
    Command.END_OF_HEADER: State.TEXT,
    **_END,
}
_STATES: dict[State, _Ways] = {
    State.NEW: {Command.NEGOTIATE: State.READY},
    State.READY: {Command.CONNECT: State.SESSION},
    State.SESSION: {Command.HELO: State.SESSION, Command.MAIL: State.SENDER},
    State.SENDER: {Command.RCPT: State.RECIPIENTS},
    State.RECIPIENTS: {
        Command.RCPT: State.RECIPIENTS,
        Command.DATA: State.CONTENT,
        **_CONTENT,
    },
    State.CONTENT: _CONTENT,
    State.HEADERS: _CONTENT,
    State.TEXT: _END,
}
# What may be left out, and the state that is then as good as the one behind it; last one first.
_SKIPPED = (
    (Step.NO_RCPT, State.SENDER, State.RECIPIENTS),
    (Step.NO_MAIL, State.SESSION, State.SENDER),
    (Step.NO_CONNECT, State.READY, State.SESSION),
)
_SKIPS = Step.NO_RCPT | Step.NO_MAIL | Step.NO_CONNECT
_WITH_UNKNOWN = (State.READY, State.SESSION, State.SENDER, State.RECIPIENTS)

_QUIET: dict[type, Step] = {
    Connect: Step.QUIET_CONNECT,
    Helo: Step.QUIET_HELO,
    Mail: Step.QUIET_MAIL,
    Rcpt: Step.QUIET_RCPT,
    Data: Step.QUIET_DATA,
    Unknown: Step.QUIET_UNKNOWN,
    Header: Step.QUIET_HEADERS,
    EndOfHeader: Step.QUIET_END_OF_HEADER,
    Body: Step.QUIET_BODY,
    EndOfMessage: NO_STEPS,  # it always gets one
}

# In the order in which the MTA comes to them; what is told later overrides.
_STAGES = (
    Command.UNKNOWN,  # it has no place of its own
    Command.CONNECT,
    Command.HELO,
    Command.MAIL,
    Command.RCPT,
    Command.DATA,
    Command.HEADER,
    Command.END_OF_HEADER,
    Command.BODY,
    Command.END_OF_MESSAGE,
)
_ORDER: dict[int, int] = {command: number for number, command in enumerate(_STAGES)}

_WITH_MACROS: dict[int, Callable[[bytes, Macros], Event]] = {
    Command.CONNECT: commands.connect,
    Command.HELO: commands.helo,
    Command.MAIL: commands.mail,
    Command.RCPT: commands.rcpt,
    Command.DATA: commands.data,
    Command.UNKNOWN: commands.unknown,
    Command.END_OF_HEADER: commands.end_of_header,
    Command.END_OF_MESSAGE: commands.end_of_message,
}
_ANEW = (Command.HELO, Command.MAIL)  # they end a message by themselves
_LONG = (Command.HEADER, Command.BODY, Command.END_OF_MESSAGE)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the filter would like; it gets what the MTA offers of it.

    steps: with NO_… and QUIET_… for what it doesn't want to hear of, or not to reply to.
    LEADING_SPACE is always asked for. macros: those that it wants at a stage, names without
    braces. Postfix tells no macros at all at the stages that aren't listed if any is.
    """

    actions: Action = NO_ACTIONS
    steps: Step = NO_STEPS
    macros: Mapping[Stage, tuple[bytes, ...]] = field(default_factory=dict)


class Conversation:
    """What an MTA says on one connection.

    most: octets of one packet that carries a field or body; others have CHUNK at most. What
    is held between two calls is one packet and the macros, of CHUNK octets a stage.
    edits: what may be sent at EndOfMessage, once Negotiated has come.
    """

    __slots__ = (
        "_adds_blank",
        "_held",
        "_known",
        "_most",
        "_needed",
        "_raw",
        "_replied",
        "_told",
        "_way",
        "_ways",
        "_wishes",
        "edits",
        "state",
    )

    def __init__(self, wishes: Wishes, most: int = MOST) -> None:
        self._wishes = wishes
        self._most = most
        self._held = bytearray()
        self._needed = 0  # octets until another packet is complete
        self._raw: dict[int, bytes] = {}  # macros as they came, by command
        self._told: dict[int, Macros] = {}  # macros by command
        self._known: Macros | None = _NO_MACROS  # all of them; None: to be put together
        self._ways = _ways(NO_STEPS)
        self._way = self._ways[State.NEW]
        self._replied: frozenset[type] = frozenset()
        self._adds_blank = False
        self.state = State.NEW
        self.edits = Edits(NO_ACTIONS, NO_STEPS)

    def awaits_reply(self, event: Event) -> bool:
        """Whether the MTA waits for a reply to the event, if only CONTINUE.

        An MTA that doesn't offer to do without gets one where the filter wished not to reply.
        """
        return type(event) in self._replied

    def feed(self, data: bytes) -> list[Event]:
        """The events that these octets complete; the same ones however the octets are cut."""
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
            self._held = bytearray()
        events: list[Event] = []
        position = 0
        try:
            position = self._take_packets(data, events)
        except commands.Malformed as malformed:
            events.append(Broken(str(malformed)))
            self.state = State.CLOSED
        if self.state is not State.CLOSED:
            self._held += data[position:]
        return events

    def _take_packets(self, data: bytes, events: list[Event]) -> int:
        """Takes all packets that are complete; where the first one that isn't begins."""
        position, size = 0, len(data)
        while self.state is not State.CLOSED:
            if size - position < _HEAD.size:
                self._needed = _HEAD.size
                break
            length, command = _HEAD.unpack_from(data, position)
            if not 0 < length <= CHUNK:
                self._check_length(length, command)
            end = position + 4 + length
            if end > size:
                self._needed = end - position
                break
            self._take(command, data[position + 5 : end], events)
            position = end
        return position

    def _check_length(self, length: int, command: int) -> None:
        most = self._most if command in _LONG else CHUNK + 1
        if not 0 < length <= most:
            raise commands.Malformed(f"packet of {length} octets")

    def _take(self, command: int, payload: bytes, events: list[Event]) -> None:
        target = self._way.get(command)
        if target is None:
            self._take_aside(command, payload, events)
            return
        if command == Command.HEADER:
            events.append(commands.header(payload, self._adds_blank))
        elif command == Command.BODY:
            events.append(Body(payload))
        elif command == Command.NEGOTIATE:
            events.append(self._negotiate(payload))
        else:
            self._forget_from(_ORDER[command] + 1)
            events.append(_WITH_MACROS[command](payload, self._macros()))
            if command == Command.END_OF_MESSAGE:
                self._forget_from(_ORDER[Command.MAIL])
        if target is not self.state:
            self._enter(target)

    def _take_aside(self, command: int, payload: bytes, events: list[Event]) -> None:
        """Takes a command that has no place in the order of things."""
        negotiated = self.state is not State.NEW
        in_message = self.state in _MESSAGE
        if command == Command.MACRO and negotiated:
            self._learn(payload)
        elif command == Command.QUIT:
            events.append(Quit())
            self.state = State.CLOSED
        elif command == Command.QUIT_NEW_CONNECTION and negotiated:
            events.append(QuitNewConnection())
            self._forget_from(0)
            self._enter(State.READY)
        elif command == Command.ABORT and negotiated:
            if in_message:
                self._forget_from(_ORDER[Command.MAIL])
                self._abort(events)
        elif command == Command.UNKNOWN and self.state in _WITH_UNKNOWN:
            events.append(commands.unknown(payload, self._macros()))
        elif in_message and command in _ANEW:
            self._abort(events)
            self._take(command, payload, events)
        else:
            raise commands.Malformed(f"command {command:#x} in state {self.state.value}")

    def _enter(self, state: State) -> None:
        self.state = state
        self._way = self._ways[state]

    def _abort(self, events: list[Event]) -> None:
        events.append(Abort())
        self._enter(State.SESSION)

    def _negotiate(self, payload: bytes) -> Negotiated:
        version, actions, steps = commands.offer(payload)
        if version < OLDEST_VERSION:
            raise commands.Malformed(f"version {version}")
        wishes = self._wishes
        actions &= wishes.actions | (Action.SET_SYMBOLS if wishes.macros else NO_ACTIONS)
        steps &= wishes.steps | Step.LEADING_SPACE | _sizes(self._most)
        symbols = wishes.macros if Action.SET_SYMBOLS in actions else {}
        version = min(version, VERSION)
        self.edits = Edits(actions, steps)
        self._adds_blank = Step.LEADING_SPACE not in steps
        self._ways = _ways(steps & _SKIPS)
        self._replied = frozenset(kind for kind, quiet in _QUIET.items() if not quiet & steps)
        return Negotiated(version, actions, steps, negotiation(version, actions, steps, symbols))

    def _learn(self, payload: bytes) -> None:
        """Keeps macros; Postfix repeats the same ones before each field."""
        command = payload[0] if payload else 0
        if self._raw.get(command) == payload:
            return
        told = commands.macros(payload)
        if command in _ORDER:
            self._raw[command] = payload
            self._told[command] = told
            self._known = None

    def _macros(self) -> Macros:
        if self._known is None:
            known: dict[bytes, bytes] = {}
            for command in sorted(self._told, key=_ORDER.__getitem__):
                known.update(self._told[command])
            self._known = MappingProxyType(known)
        return self._known

    def _forget_from(self, number: int) -> None:
        """Forgets the macros of this stage in the order and of the later ones."""
        for command in [one for one in self._told if _ORDER[one] >= number]:
            del self._told[command], self._raw[command]
            self._known = None


@lru_cache
def _ways(skips: Step) -> Mapping[State, _Ways]:
    """The table of states where these steps aren't told."""
    ways = {state: dict(leads) for state, leads in _STATES.items()}
    for step, state, behind in _SKIPPED:
        if step & skips:
            ways[state] = {**ways[behind], **ways[state]}
    return ways


def _sizes(most: int) -> Step:
    """The sizes of packet that can be taken."""
    if most >= MOST:
        return Step.LARGE | Step.HUGE
    return Step.LARGE if most >= _LARGE else NO_STEPS

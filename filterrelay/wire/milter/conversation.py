"""One connection from an MTA: octets in, events out."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from filterrelay.wire.milter.states import State, Ways, voids, ways

MOST = 1024 * 1024  # octets of a packet, as HUGE allows; Postfix has fields of 102400 at most
_LARGE = 256 * 1024  # octets, as LARGE allows
_HEAD = struct.Struct(">IB")
_NO_MACROS: Macros = MappingProxyType({})

_LEFT_OUT = Step.NO_CONNECT | Step.NO_MAIL | Step.NO_RCPT
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
# Compared without asking the enum.
_BODY, _HEADER, _MACRO = int(Command.BODY), int(Command.HEADER), int(Command.MACRO)
_MESSAGE = _ORDER[Command.MAIL]  # where its macros begin
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

    most: octets of one packet that carries a field or body, above CHUNK; others have CHUNK
    at most. What is held between two calls is one packet and the macros, CHUNK octets a stage.
    How many fields and how much body a message has is for the caller to bound.
    edits: what may be sent at EndOfMessage, once Negotiated has come. replied: the kinds of
    event that the MTA awaits a reply to, if only CONTINUE; one that doesn't offer to do
    without gets it where the filter wished not to reply.
    """

    __slots__ = (
        "_adds_blank",
        "_furthest",
        "_held",
        "_known",
        "_latest",
        "_most",
        "_needed",
        "_raw",
        "_told",
        "_way",
        "_ways",
        "_wishes",
        "edits",
        "replied",
        "state",
    )

    def __init__(self, wishes: Wishes, most: int = MOST) -> None:
        self._wishes = wishes
        self._most = most
        self._held = bytearray()
        self._needed = 0  # octets until another packet is complete
        self._raw: dict[int, bytes] = {}  # macros as they came, by command
        self._told: dict[int, Macros] = {}  # macros by command
        self._latest: tuple[bytes | None, Macros] = None, _NO_MACROS  # as they came, and read
        self._known: Macros | None = _NO_MACROS  # all of them; None: to be put together
        self._furthest = -1  # of the stages that macros were told at
        self._ways = ways(NO_STEPS)
        self._way: Ways = self._ways[State.NEW]
        self.replied: frozenset[type] = frozenset()
        self._adds_blank = False
        self.state = State.NEW
        self.edits = Edits(NO_ACTIONS, NO_STEPS)

    def feed(self, data: bytes) -> list[Event]:
        """The events that these octets complete; the same ones however the octets are cut."""
        if self._held:
            if len(self._held) + len(data) < self._needed:
                self._held += data
                return []
            data = b"".join((self._held, data))
            self._held = bytearray()
        events: list[Event] = []
        position = 0
        try:
            position = self._take_packets(data, events)
        except commands.Malformed as malformed:
            events.append(Broken(str(malformed)))
            self.state = State.CLOSED
        if position < len(data) and self.state is not State.CLOSED:
            self._held += memoryview(data)[position:]
        return events

    def _take_packets(self, data: bytes, events: list[Event]) -> int:
        """Takes all packets that are complete; where the first one that isn't begins."""
        position, size = 0, len(data)
        last = size - _HEAD.size
        learned: bytes | None = None  # the latest macros, which Postfix repeats before each field
        while position <= last and self.state is not State.CLOSED:
            length, command = _HEAD.unpack_from(data, position)
            if not 0 < length <= CHUNK:
                self._check_length(length, command)
            end = position + 4 + length
            if end > size:
                self._needed = end - position
                return position
            payload = data[position + 5 : end]
            position = end
            if command == _HEADER and self.state is State.HEADERS:
                events.append(commands.header(payload, self._adds_blank))
            elif command != _MACRO:
                self._take(command, payload, events)
                learned = None
            elif payload != learned:
                self._learn(payload)
                learned = payload
        self._needed = _HEAD.size
        return position

    def _check_length(self, length: int, command: int) -> None:
        most = self._most if command in _LONG else CHUNK + 1
        if not 0 < length <= most:
            raise commands.Malformed(f"packet of {length} octets")

    def _target(self, command: int) -> State:
        target = self._way.get(command)
        if target is None:
            raise commands.Malformed(f"command {command:#x} in state {self.state.value}")
        return target

    def _take(self, command: int, payload: bytes, events: list[Event]) -> None:
        target = self._target(command)
        if command == _HEADER:
            events.append(commands.header(payload, self._adds_blank))
        elif command == _BODY:
            events.append(Body(payload))
        else:
            self._take_rare(command, payload, events)
        if target is not self.state:
            self.state = target
            self._way = self._ways.get(target, {})

    def _take_rare(self, command: int, payload: bytes, events: list[Event]) -> None:
        """Takes a command that comes once or twice a message."""
        if voids(command, self.state):
            events.append(Abort())
        made_of = _WITH_MACROS.get(command)
        if made_of is not None:
            if command != Command.UNKNOWN:
                self._forget_from(_ORDER[command] + 1)
            events.append(made_of(payload, self._macros()))
            if command == Command.END_OF_MESSAGE:
                self._forget_from(_MESSAGE)
        elif command == Command.ABORT:
            self._forget_from(_MESSAGE)
        elif command == Command.NEGOTIATE:
            events.append(self._negotiate(payload))
        elif command == Command.QUIT:
            events.append(Quit())
        elif command == Command.QUIT_NEW_CONNECTION:
            events.append(QuitNewConnection())
            self._forget_from(0)

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
        self._ways = ways(steps & _LEFT_OUT)
        self.replied = frozenset(kind for kind, quiet in _QUIET.items() if not quiet & steps)
        return Negotiated(version, actions, steps, negotiation(version, actions, steps, symbols))

    def _learn(self, payload: bytes) -> None:
        """Keeps macros; Postfix repeats the same ones before each field."""
        self._target(_MACRO)
        command = payload[0] if payload else 0
        if self._raw.get(command) == payload:
            return
        names_and_values = payload[1:]
        if (
            not payload or names_and_values != self._latest[0]
        ):  # Postfix tells the same at several stages
            self._latest = names_and_values, commands.macros(payload)
        told = self._latest[1]
        if command in _ORDER:
            self._raw[command] = payload
            self._told[command] = told
            self._known = None
            self._furthest = max(self._furthest, _ORDER[command])

    def _macros(self) -> Macros:
        if self._known is None:
            known: dict[bytes, bytes] = {}
            for command in sorted(self._told, key=_ORDER.__getitem__):
                known.update(self._told[command])
            self._known = MappingProxyType(known)
        return self._known

    def _forget_from(self, number: int) -> None:
        """Forgets the macros of this stage in the order and of the later ones."""
        if number > self._furthest:
            return
        self._furthest = number - 1
        for command in [one for one in self._told if _ORDER[one] >= number]:
            del self._told[command], self._raw[command]
            self._known = None


def _sizes(most: int) -> Step:
    """The sizes of packet that can be taken."""
    if most >= MOST:
        return Step.LARGE | Step.HUGE
    return Step.LARGE if most >= _LARGE else NO_STEPS

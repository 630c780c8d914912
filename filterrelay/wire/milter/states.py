"""The states of a conversation: what the MTA may say in each, and where that leads."""

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from filterrelay.wire.milter.codes import Command, Step


class State(Enum):
    """How far the MTA has come."""

    NEW = "new"
    READY = "ready"  # negotiated, no client yet
    SESSION = "session"  # a client, no message
    SENDER = "sender"
    RECIPIENTS = "recipients"
    CONTENT = "content"  # DATA was said
    HEADERS = "headers"
    TEXT = "text"  # what follows the header section
    CLOSED = "closed"

    __hash__ = object.__hash__  # an enum's own is a function in Python


Ways = Mapping[int, State]
"""Where the commands that are allowed in a state lead."""

_END: Ways = {Command.BODY: State.TEXT, Command.END_OF_MESSAGE: State.SESSION}
_CONTENT: Ways = {Command.HEADER: State.HEADERS, Command.END_OF_HEADER: State.TEXT, **_END}

_TABLE: Mapping[State, Ways] = {
    State.NEW: {Command.NEGOTIATE: State.READY},
    State.READY: {Command.CONNECT: State.SESSION, Command.UNKNOWN: State.READY},
    State.SESSION: {
        Command.HELO: State.SESSION,
        Command.MAIL: State.SENDER,
        Command.UNKNOWN: State.SESSION,
    },
    State.SENDER: {Command.RCPT: State.RECIPIENTS, Command.UNKNOWN: State.SENDER},
    State.RECIPIENTS: {
        Command.RCPT: State.RECIPIENTS,
        Command.DATA: State.CONTENT,
        Command.UNKNOWN: State.RECIPIENTS,
        **_CONTENT,
    },
    State.CONTENT: _CONTENT,
    State.HEADERS: _CONTENT,
    State.TEXT: _END,
}
_MESSAGE = (State.SENDER, State.RECIPIENTS, State.CONTENT, State.HEADERS, State.TEXT)
_IN_MESSAGE: Ways = {  # it ends there
    Command.ABORT: State.SESSION,
    Command.HELO: State.SESSION,
    Command.MAIL: State.SENDER,
}
# A step that isn't told counts as said: its state is as good as the one behind it. Last first.
_SKIPPED = (
    (Step.NO_RCPT, State.SENDER, State.RECIPIENTS),
    (Step.NO_MAIL, State.SESSION, State.SENDER),
    (Step.NO_CONNECT, State.READY, State.SESSION),
)


@lru_cache
def ways(left_out: Step) -> Mapping[State, Ways]:
    """The table, where these steps of NO_CONNECT, NO_MAIL and NO_RCPT aren't told.

    Beside what it has, the MTA may quit in any state, and once it has negotiated tell macros,
    abort (which is nothing where there is no message) and come with another client.
    """
    table: dict[State, dict[int, State]] = {state: {**leads} for state, leads in _TABLE.items()}
    for step, state, behind in _SKIPPED:
        if step & left_out:
            table[state] = table[behind] | table[state]
    for state, leads in table.items():
        leads[Command.QUIT] = State.CLOSED
        if state is not State.NEW:
            leads[Command.MACRO] = leads[Command.ABORT] = state
            leads[Command.QUIT_NEW_CONNECTION] = State.READY
        if state in _MESSAGE:
            leads.update(_IN_MESSAGE)
    return table


def voids(command: int, state: State) -> bool:
    """Whether the command ends a message before its end."""
    return command in _IN_MESSAGE and state in _MESSAGE

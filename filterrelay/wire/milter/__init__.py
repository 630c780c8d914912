"""The milter protocol, version 6 and those before it, as octets and values: the filter's side.

It has no sockets, and of filterrelay only its family of errors. An MTA connects, one
Conversation is made for the connection, what comes is fed to it, and events come out:

    conversation = Conversation(
        Wishes(
            actions=Action.ADD_HEADERS | Action.QUARANTINE,
            steps=Step.NO_UNKNOWN | Step.QUIET_HEADERS | Step.SKIP,
            macros={Stage.MAIL: (b"i", b"auth_authen")},
        )
    )
    for event in conversation.feed(octets):
        match event:
            case Negotiated():
                send(event.answer)
            case Header():
                message += event.field
            case EndOfMessage():
                send(conversation.edits.add_header(b"X-Seen", b" yes") + CONTINUE)
            case Quit() | Broken():
                close()
            case _:
                if type(event) in conversation.replied:
                    send(CONTINUE)

Whatever the MTA sends, feed raises nothing: what is no milter protocol becomes one Broken
event, the last there is. What a filter says wrongly raises Unsendable. Macros are no events:
each event that they belong to has those that hold at it, so that it means the same when the
MTA has already gone on. The states stand in states.py.

Sources: libmilter's mfapi.h, mfdef.h and documentation; Postfix's MILTER_README and
src/milter/milter8.c; what Debian's Postfix and Sendmail were heard to say.
"""

from filterrelay.wire.milter.codes import CHUNK, Action, Command, Family, Stage, Step
from filterrelay.wire.milter.conversation import MOST, Conversation, Wishes
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
from filterrelay.wire.milter.replies import (
    ACCEPT,
    CONN_FAIL,
    CONTINUE,
    DISCARD,
    PROGRESS,
    REJECT,
    SHUTDOWN,
    SKIP,
    TEMPFAIL,
    Unsendable,
    reply,
)
from filterrelay.wire.milter.states import State

__all__ = [
    "ACCEPT",
    "CHUNK",
    "CONN_FAIL",
    "CONTINUE",
    "DISCARD",
    "MOST",
    "PROGRESS",
    "REJECT",
    "SHUTDOWN",
    "SKIP",
    "TEMPFAIL",
    "Abort",
    "Action",
    "Body",
    "Broken",
    "Command",
    "Connect",
    "Conversation",
    "Data",
    "Edits",
    "EndOfHeader",
    "EndOfMessage",
    "Event",
    "Family",
    "Header",
    "Helo",
    "Macros",
    "Mail",
    "Negotiated",
    "Quit",
    "QuitNewConnection",
    "Rcpt",
    "Stage",
    "State",
    "Step",
    "Unknown",
    "Unsendable",
    "Wishes",
    "reply",
]

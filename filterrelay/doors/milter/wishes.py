"""What a milter listener asks of the mail server: no more than its plugins need."""

from functools import lru_cache

from filterrelay.plugin.hooks import Reads
from filterrelay.wire.milter import Action, Stage, Step, Wishes

_ACTIONS = (
    Action.ADD_HEADERS
    | Action.CHANGE_HEADERS
    | Action.CHANGE_BODY
    | Action.ADD_RECIPIENTS
    | Action.ADD_RECIPIENTS_WITH_PARAMETERS
    | Action.DELETE_RECIPIENTS
    | Action.CHANGE_SENDER
    | Action.QUARANTINE
)
# Nobody asks for these, or their reply, whatever the plugins are.
_ALWAYS = (
    Step.NO_UNKNOWN
    | Step.NO_DATA
    | Step.NO_END_OF_HEADER
    | Step.QUIET_HEADERS
    | Step.QUIET_BODY
    | Step.SKIP
)
_QUIET = {
    "on_connect": Step.QUIET_CONNECT,
    "on_helo": Step.QUIET_HELO,
    "on_sender": Step.QUIET_MAIL,
    "on_recipient": Step.QUIET_RCPT,
}
_MACROS = {
    Stage.CONNECT: (b"v", b"client_resolve", b"daemon_addr", b"daemon_port"),
    Stage.HELO: (b"tls_version", b"cipher", b"cipher_bits"),
    Stage.MAIL: (b"i", b"auth_authen"),
    Stage.END_OF_MESSAGE: (b"i",),
}


@lru_cache
def wishes(judged: frozenset[str], reads: Reads | None) -> Wishes:
    """What to ask for where these stages are judged, by their hooks' names.

    reads: how much of a message is looked at. Who the client is, sender and recipients are
    always told, if only for the log; steps that nobody judges get no reply.
    """
    steps = _ALWAYS
    for hook, quiet in _QUIET.items():
        if hook not in judged:
            steps |= quiet
    if reads != "body":
        steps |= Step.NO_BODY
    if reads is None:
        steps |= Step.NO_HEADERS
    return Wishes(_ACTIONS, steps, _MACROS)

"""Messages written in 7 bits for next hops that take no more, under signatures that hold."""

import asyncio
from collections.abc import Sequence

from filterrelay.chain.chain import Chain
from filterrelay.mail.downgrade import seven_bit
from filterrelay.mail.edits import AddHeader, Edit, RemoveHeader, edit_message
from filterrelay.mail.message import Message
from filterrelay.mail.session import Session
from filterrelay.spool.store import StoredMessage
from filterrelay.wire.dkim_signing import FIELD
from filterrelay.wire.dkim_verifying import Unacceptable, parse_signature


async def in_seven_bits(message: Message) -> Message:
    """The message converted, in a thread: a big one would hold up the others."""
    return Message(message.id, await asyncio.to_thread(seven_bit, message.raw))


async def signed_again(chain: Chain, stored: StoredMessage, raw: bytes) -> bytes:
    """The message that was converted only on its way, under valid signatures of ours.

    raw: its bytes now. Raises NotAnswered.
    """
    session, message = Session.from_facts(stored.session), Message(stored.id, raw)
    message, made, _ = await chain.sign(session, stored.envelope, message)
    return _without_broken_signatures(message, made).raw


def _without_broken_signatures(message: Message, made: Sequence[Edit]) -> Message:
    """The signed message without the older signatures by the domains and selectors of the new ones.

    made: the signers' edits, whose fields stand on top.
    """
    new = sum(isinstance(edit, AddHeader) and edit.name == FIELD for edit in made)
    signers = [_signer(field.raw) for field in message.all(FIELD)]
    broken = [at for at in range(new, len(signers)) if signers[at] in signers[:new]]
    return edit_message(message, [RemoveHeader(FIELD, at) for at in reversed(broken)])


def _signer(raw: bytes) -> tuple[str, str]:
    try:
        said = parse_signature(raw).said
    except Unacceptable as unacceptable:
        return unacceptable.judgement.domain, unacceptable.judgement.selector
    return said.domain, said.selector

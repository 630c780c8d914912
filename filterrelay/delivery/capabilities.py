"""What a next hop offers in its answer to EHLO, and MAIL and RCPT written to match."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply

# RFC 3463, RFC 6531 section 3.5, RFC 8689 section 4.2.1: refusals of our own,
# given for a next hop that would only refuse the same later.
TOO_BIG = Reply(552, "5.3.4", "The message is larger than the next server takes")
NO_SMTPUTF8 = Reply(553, "5.6.7", "The next server takes no addresses beyond ASCII (SMTPUTF8)")
NO_BINARY = Reply(554, "5.6.3", "The next server takes no binary content (BINARYMIME)")
NO_REQUIRETLS = Reply(550, "5.7.30", "The next server doesn't promise TLS all the way (REQUIRETLS)")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A server's ESMTP extensions, as far as sending mail depends on them.

    size: the largest message it takes in octets, 0 when it didn't say. xforward, xclient: the
    attributes of a client that it wants to hear of, in capitals.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    binary: bool = False
    smtputf8: bool = False
    dsn: bool = False
    requiretls: bool = False
    size_known: bool = False
    size: int = 0
    xforward: frozenset[str] = frozenset()
    xclient: frozenset[str] = frozenset()


def capabilities_of(extensions: Mapping[str, str]) -> Capabilities:
    """The capabilities among EHLO's keywords, which are in lower case."""
    size = extensions.get("size", "").strip()
    return Capabilities(
        pipelining="pipelining" in extensions,
        chunking="chunking" in extensions,
        eight_bit="8bitmime" in extensions,
        binary="binarymime" in extensions and "chunking" in extensions,
        smtputf8="smtputf8" in extensions,
        dsn="dsn" in extensions,
        requiretls="requiretls" in extensions,
        size_known="size" in extensions,
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0,
        xforward=frozenset(extensions.get("xforward", "").upper().split()),
        xclient=frozenset(extensions.get("xclient", "").upper().split()),
    )


def extensions_in(reply: Reply) -> dict[str, str]:
    """The keywords of an answer to EHLO in lower case, with what stands behind each."""
    lines = (line.partition(" ") for line in reply.text.split("\n")[1:])
    return {keyword.lower(): text for keyword, _, text in lines}


def refusal(
    offered: Capabilities,
    envelope: Envelope,
    recipients: Sequence[Recipient],
    body: bytes,
    *,
    verified: bool,
) -> Reply | None:
    """Why this server can't take the message whatever it says, or None.

    verified: whether the connection is encrypted to a server that proved its name.
    """
    if envelope.requiretls and not (verified and offered.requiretls):
        return NO_REQUIRETLS
    if offered.size and len(body) > offered.size:
        return TOO_BIG
    if envelope.body == "BINARYMIME" and not offered.binary:
        return NO_BINARY
    if not offered.smtputf8 and _needs_smtputf8(envelope, recipients, body):
        return NO_SMTPUTF8
    return None


def _needs_smtputf8(envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> bool:
    """Whether an address, or a header section that was sent so, goes with SMTPUTF8 only.

    An address whose domain alone is beyond ASCII doesn't: that has A-labels
    (RFC 6531 section 3.2).
    """
    addresses = [recipient.address for recipient in recipients]
    if envelope.sender is not None:
        addresses.append(envelope.sender)
    if any(address.needs_smtputf8 and not address.in_ascii for address in addresses):
        return True
    return envelope.smtputf8 and not body[: body.find(b"\r\n\r\n") + 2].isascii()


def _path(offered: Capabilities, address: Address | None) -> str:
    """The mailbox as the server takes it, in angle brackets."""
    if address is None:
        return "<>"
    if address.needs_smtputf8 and not offered.smtputf8:
        return f"<{address.in_ascii}>"
    return f"<{address}>"


def mail_command(offered: Capabilities, envelope: Envelope, octets: int | None) -> bytes:
    """MAIL with the parameters that the server understands. octets: None when nobody knows.

    What can't be converted goes out with 8 bits even where 8BITMIME isn't offered: most
    such servers take it all the same.
    """
    parts = [f"MAIL FROM:{_path(offered, envelope.sender)}"]
    if offered.size_known and octets is not None:
        parts.append(f"SIZE={octets}")
    if offered.eight_bit and envelope.body == "8BITMIME":
        parts.append("BODY=8BITMIME")
    if envelope.body == "BINARYMIME":
        parts.append("BODY=BINARYMIME")
    if offered.smtputf8 and _is_international(envelope):
        parts.append("SMTPUTF8")
    if envelope.requiretls:
        parts.append("REQUIRETLS")
    if offered.dsn:
        if envelope.ret:
            parts.append(f"RET={envelope.ret}")
        if envelope.envid:
            parts.append(f"ENVID={envelope.envid}")
    return _line(parts)


def _is_international(envelope: Envelope) -> bool:
    """Whether its client said so, or a filter has brought in an address beyond ASCII."""
    addresses = [recipient.address for recipient in envelope.recipients]
    if envelope.sender is not None:
        addresses.append(envelope.sender)
    return envelope.smtputf8 or any(address.needs_smtputf8 for address in addresses)


def rcpt_command(offered: Capabilities, recipient: Recipient) -> bytes:
    """RCPT with the DSN parameters, when the server understands them (RFC 3461 section 5.2.1)."""
    parts = [f"RCPT TO:{_path(offered, recipient.address)}"]
    if offered.dsn:
        if recipient.notify:
            parts.append(f"NOTIFY={','.join(recipient.notify)}")
        if recipient.orcpt:
            parts.append(f"ORCPT={_orcpt(offered, recipient.orcpt)}")
    return _line(parts)


def _orcpt(offered: Capabilities, orcpt: str) -> str:
    """The original recipient, in the form that needs no SMTPUTF8 where that is missing.

    That is RFC 6533's utf-8-addr-xtext.
    """
    if offered.smtputf8 or orcpt.isascii():
        return orcpt
    return "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in orcpt)


def _line(parts: Sequence[str]) -> bytes:
    text = " ".join(parts)
    if _CONTROL.search(text):
        raise ValueError("a command would hold a control character")
    return f"{text}\r\n".encode()

"""What a next hop offers in its answer to EHLO, and MAIL and RCPT written to match."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply

# RFC 3463, RFC 6531 section 3.5, RFC 8689 section 4.2.1: refusals of our own,
# given for a next hop that would only refuse the same later.
TOO_BIG = Reply(552, "5.3.4", "The message is larger than the next server takes")
NO_SMTPUTF8 = Reply(553, "5.6.7", "The next server takes no addresses beyond ASCII (SMTPUTF8)")
NO_BINARY = Reply(554, "5.6.3", "The next server takes no binary content (BINARYMIME)")
NO_REQUIRETLS = Reply(550, "5.7.30", "The next server doesn't promise TLS all the way (REQUIRETLS)")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A server's ESMTP extensions, as far as sending mail depends on them.

    size: the largest message it takes in octets, 0 when it didn't say.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    requiretls: bool = False
    size_known: bool = False
    size: int = 0


def capabilities_of(extensions: Mapping[str, str]) -> Capabilities:
    """The capabilities among EHLO's keywords, which are in lower case."""
    size = extensions.get("size", "").strip()
    return Capabilities(
        pipelining="pipelining" in extensions,
        chunking="chunking" in extensions,
        eight_bit="8bitmime" in extensions,
        smtputf8="smtputf8" in extensions,
        dsn="dsn" in extensions,
        requiretls="requiretls" in extensions,
        size_known="size" in extensions,
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0,
    )


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
    if envelope.body == "BINARYMIME":
        return NO_BINARY
    if envelope.smtputf8 and not offered.smtputf8 and _is_international(envelope, recipients, body):
        return NO_SMTPUTF8
    return None


def _is_international(envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> bool:
    """Whether an address or a header really has letters beyond ASCII (RFC 6531 section 3.1)."""
    if envelope.sender is not None and envelope.sender.needs_smtputf8:
        return True
    if any(recipient.address.needs_smtputf8 for recipient in recipients):
        return True
    return not body[: body.find(b"\r\n\r\n") + 2].isascii()


def mail_command(offered: Capabilities, envelope: Envelope, octets: int) -> bytes:
    """MAIL with the parameters that the server understands.

    What can't be converted goes out with 8 bits even where 8BITMIME isn't offered: most
    such servers take it all the same.
    """
    parts = [f"MAIL FROM:<{envelope.return_path}>"]
    if offered.size_known:
        parts.append(f"SIZE={octets}")
    if offered.eight_bit and envelope.body == "8BITMIME":
        parts.append("BODY=8BITMIME")
    if offered.smtputf8 and envelope.smtputf8:
        parts.append("SMTPUTF8")
    if envelope.requiretls:
        parts.append("REQUIRETLS")
    if offered.dsn:
        if envelope.ret:
            parts.append(f"RET={envelope.ret}")
        if envelope.envid:
            parts.append(f"ENVID={envelope.envid}")
    return _line(parts)


def rcpt_command(offered: Capabilities, recipient: Recipient) -> bytes:
    """RCPT with the DSN parameters, when the server understands them (RFC 3461 section 5.2.1)."""
    parts = [f"RCPT TO:<{recipient.address}>"]
    if offered.dsn:
        if recipient.notify:
            parts.append(f"NOTIFY={','.join(recipient.notify)}")
        if recipient.orcpt:
            parts.append(f"ORCPT={recipient.orcpt}")
    return _line(parts)


def _line(parts: Sequence[str]) -> bytes:
    text = " ".join(parts)
    if not text.isprintable():
        raise ValueError("a command would hold a control character")
    return f"{text}\r\n".encode()

"""Messages converted on their way: one signature of ours, and it holds."""

from filterrelay.intake.conversion import signed_again
from filterrelay.mail.edits import AddHeader
from filterrelay.mail.message import Message
from filterrelay.plugin import Options, hook
from filterrelay.plugin.testing import SOME_TIME, a_session, an_envelope
from filterrelay.spool.store import StoredMessage

from .bench import Bench

RAW = (
    "From: <alice@office.example>\r\nMIME-Version: 1.0\r\nSubject: Lunch\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
).encode()
SIGNED = "v=1; a=rsa-sha256; d={}; s={}; h=From; bh=YQ==; b=YQ=="


class Signs:
    """Signs with two keys."""

    def __init__(self, _: Options) -> None:
        """Has no options."""

    @hook
    async def sign(self) -> tuple[AddHeader, ...]:
        """Two fields."""
        names = (("office.example", "s1"), ("office.example", "s2"))
        return tuple(AddHeader("DKIM-Signature", SIGNED.format(*name)) for name in names)


async def test_signatures_of_ours_are_replaced_and_others_left() -> None:
    """The author's may say more to somebody who knows what conversion does."""
    bench = Bench(signers=(Signs,))
    old = [
        SIGNED.format("office.example", "s2"),
        SIGNED.format("other.example", "s1"),
        SIGNED.format("office.example", "s1"),
        "nonsense",
    ]
    raw = b"".join(f"DKIM-Signature: {value}\r\n".encode() for value in old) + RAW
    envelope = an_envelope()
    stored = StoredMessage("ID", SOME_TIME, envelope, a_session(login="alice").facts(), 0, ())
    result = Message("ID", await signed_again(bench.intake._chain, stored, raw))
    kept = [field.value for field in result.all("dkim-signature")]
    assert kept == [
        SIGNED.format("office.example", "s2"),
        SIGNED.format("office.example", "s1"),
        SIGNED.format("other.example", "s1"),
        "nonsense",
    ]
    assert result.raw.endswith(RAW)

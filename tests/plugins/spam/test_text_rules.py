"""Rules on the text."""

from pathlib import Path

import pytest
from filterrelay_plugins.spam.rules import hits

from filterrelay.demo.samples import samples
from filterrelay.plugin import Message, Reject
from filterrelay.plugin.testing import SOME_TIME, a_session, running

from .conftest import Reader


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Unusual activity: please verify your account within 24 hours.", "PHISHING"),
        ("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X", "GTUBE"),
        ("Click here and click here again", "CLICK"),
        (
            "THIS IS THE BEST OFFER OF YOUR LIFE AND YOU MUST READ IT TO THE VERY END NOW " * 3,
            "SHOUTING",
        ),
        ("Get $$$ now, $$$ tomorrow", "DOLLARS"),
        ("Prices: $1, $2, $3, $4 and $5", "MANY_SUMS"),
        ("Call 1-800-555-0100 today", "TOLL_FREE"),
        ("v\u200bi\u200ba\u200bg\u200br\u200ba", "INVISIBLE"),
        ("Log in to your p\u0430ypal account", "MIXED_LETTERS"),
        ("To be removed from our list, reply", "REMOVE"),
        ("This is not spam, you opted in", "EXCUSE"),
        ("Work from home and be your own boss", "INCOME"),
        ("Refinance your mortgage", "CREDIT"),
        (
            "I am the next of kin of the late minister; the transfer of 5 million dollars needs "
            "a foreign partner and your assistance",
            "ADVANCE_FEE",
        ),
        ("Viagra and cialis without prescription", "MEDICINE"),
        ("xxx hardcore", "ADULT"),
        ("Congratulations, you have won", "PRIZE"),
        ("Act now, limited time offer", "PRESSURE"),
        ("Bulk email to million emails", "BULK_TOOLS"),
        ("Your webcam recorded you; send bitcoin to this wallet within 48 hours", "EXTORTION"),
        ("A hot stock, strong buy", "INVESTMENT"),
        ("Dear friend, hello", "DEAR"),
    ],
)
def test_a_rule_holds_where_it_should(reading: Reader, text: str, rule: str) -> None:
    """What spam says, and what a colleague says not."""
    assert rule in [hit.name for hit in hits(reading(text))]
    assert rule not in [hit.name for hit in hits(reading("The plans are ready for Monday.\n"))]


async def test_the_real_gtube_message_is_refused(tmp_path: Path) -> None:
    """Every spam filter must catch it, trained or not."""
    (gtube,) = [sample for sample in samples(SOME_TIME) if sample.title == "GTUBE"]
    async with running("spam", state_dir=tmp_path) as plugin:
        verdict = await plugin.on_message(a_session(), Message("ID", gtube.raw))
    assert isinstance(verdict, Reject)
    assert verdict.finding is not None
    assert "GTUBE" in verdict.finding.text


def test_letters_apart_in_the_subject_are_a_trick(reading: Reader) -> None:
    """W o r d s like this are written for filters."""
    assert "SPACED_LETTERS" in [
        h.name for h in hits(reading(subject="C h e a p pills v.i.a.g.r.a"))
    ]

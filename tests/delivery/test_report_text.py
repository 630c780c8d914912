"""What reports say to people who don't run mail servers, in each language."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from filterrelay.delivery.report import Action
from filterrelay.delivery.report_text import (
    About,
    Catalogue,
    Fate,
    catalogue,
    text_of,
)
from filterrelay.settings import Delivery

ENGLISH = catalogue("en")
LANGUAGES = get_args(Delivery.model_fields["language"].annotation)
OTHERS = [catalogue(language) for language in LANGUAGES if language != "en"]
KINDS = [*(action.value for action in Action), "double"]
SENT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ABOUT = About("0A1B2C", "Lunch", SENT)
BOB = Fate("bob@partner.example", ("5.1.1",), "mx.partner.example", "550 5.1.1 User unknown")


def texts(speech: Catalogue) -> dict[str, str]:
    """Every text of the language by its key."""
    return {
        **speech.texts,
        **{f"months.{i}": month for i, month in enumerate(speech.months)},
        **{
            f"{name}.{field}": getattr(kind, field)
            for name, kind in speech.kinds.items()
            for field in ("subject", "what", "then")
        },
        **{
            f"reasons.{code}.{field}": getattr(reason, field)
            for code, reason in speech.reasons.items()
            for field in ("why", "advice")
        },
    }


def said(kind: str, *fates: Fate, about: About = ABOUT, speech: Catalogue = ENGLISH) -> str:
    """The text with its line breaks undone."""
    whole = text_of(speech, kind, "relay.office.example", about, fates or (BOB,))
    return " ".join(whole.split())


@pytest.mark.parametrize("speech", OTHERS, ids=lambda speech: speech.language)
def test_every_language_says_everything(speech: Catalogue) -> None:
    """The same keys, with the same particulars put in."""
    own, english = texts(speech), texts(ENGLISH)
    assert own.keys() == english.keys()
    for key, text in own.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", english[key])), key


@pytest.mark.parametrize("speech", OTHERS, ids=lambda speech: speech.language)
def test_nothing_is_left_untranslated(speech: Catalogue) -> None:
    """No text is empty or the English one; Russian is written in Cyrillic."""
    english = texts(ENGLISH)
    for key, text in texts(speech).items():
        if key == "date":  # figures, and the marks between them
            continue
        assert text.strip(), key
        assert text != english[key], key
        assert speech.language != "ru" or re.search("[а-яё]{2}", text), key


def test_every_kind_of_report_has_its_texts() -> None:
    """And there are no others."""
    assert set(ENGLISH.kinds) == set(KINDS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_text_can_be_made(kind: str, language: str) -> None:
    """With no particular left open, on lines that fit into a window."""
    about = About("0A1B2C", "Lunch", SENT, SENT)
    text = text_of(catalogue(language), kind, "relay.example", about, [BOB])
    assert "{" not in text
    assert max(map(len, text.split("\n"))) <= 72


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("5.1.1", "spelling"),
        ("5.2.2", "full"),
        ("5.3.4", "larger"),
        ("4.4.1", "reached"),
        ("5.7.999", "rules"),
        ("5.0.0", "below"),
        ("", "below"),
    ],
)
def test_a_status_becomes_a_sentence(status: str, word: str) -> None:
    """Unknown ones get the sentence of their subject, or a general one."""
    reason = ENGLISH.reason_of([status])
    assert word in f"{reason.why} {reason.advice}"


def test_what_was_given_up_says_what_stood_against_it() -> None:
    """That the time is over is only half of the reason."""
    reason = ENGLISH.reason_of(["5.4.7", "4.2.2"])
    assert "again and again" in reason.why
    assert reason.why.endswith("mailbox is full.")
    assert "room" in reason.advice


def test_a_bounce_says_what_to_whom_why_and_what_to_do() -> None:
    """And the other side's words last, for who can read them."""
    text = said("failed")
    places = [
        text.index(word)
        for word in (
            '"Lunch" of 2 January 2026, 03:04 UTC',
            "bob@partner.example",
            "no such address",
            "check the spelling",
            "known as 0A1B2C",
            "mx.partner.example: 550 5.1.1 User unknown",
        )
    ]
    assert places == sorted(places)
    assert text.endswith("User unknown")


def test_recipients_with_the_same_reason_stand_together() -> None:
    """The reason is said once, each server's words by address."""
    eve = Fate("eve@partner.example", ("5.1.1",), "mx.partner.example", "550 5.1.1 Never heard")
    full = Fate("max@partner.example", ("5.2.2",), "", "552 5.2.2 Full")
    text = said("failed", BOB, full, eve)
    assert text.count("no such address") == 1
    assert "bob@partner.example eve@partner.example There is" in text
    assert "eve@partner.example mx.partner.example: 550 5.1.1 Never heard" in text
    assert "max@partner.example this mail system: 552 5.2.2 Full" in text


def test_a_message_without_subject_is_named_by_its_date() -> None:
    """No empty quotes."""
    assert "Your message of 2 January" in said("failed", about=About("ID", "", SENT))


def test_braces_in_a_subject_stay_what_they_are() -> None:
    """They fetch nothing."""
    assert '"{id}{0}"' in said("failed", about=About("ID", "{id}{0}", SENT))


def test_a_delay_notice_asks_for_nothing() -> None:
    """Nobody shall send the message again."""
    until = datetime(2026, 5, 7, 3, 4, tzinfo=UTC)
    text = said("delayed", about=About("ID", "", SENT, until))
    assert "DON'T NEED TO DO ANYTHING" in text
    assert "until 7 May 2026, 03:04 UTC" in text
    assert "spelling" not in text


def test_a_relayed_report_promises_nothing_more() -> None:
    """Beyond the next server nothing will be heard."""
    text = said("relayed")
    assert "all that you will hear" in text
    assert "User unknown" not in text


def test_russian_dates_read_as_russian() -> None:
    """The month in the genitive."""
    assert catalogue("ru").date(SENT) == "2 января 2026 г., 03:04 (UTC)"
    assert "Ваше письмо «Lunch» от 2 января 2026 г." in said("failed", speech=catalogue("ru"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_documentation_shows_a_bounce_as_it_is(language: str) -> None:
    """docs/delivery.md has it word for word."""
    page = Path(__file__).parents[2] / "docs" / "delivery.md"
    text = text_of(catalogue(language), "failed", "relay.office.example", ABOUT, [BOB])
    assert text in page.read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_the_documentation_shows_each_kind_of_report(kind: str) -> None:
    """Its sentences, as they are."""
    page = Path(__file__).parents[2] / "docs" / "delivery.md"
    form = ENGLISH.kinds[kind]
    until = ENGLISH.date(SENT + timedelta(days=5))
    assert form.then.format(until=until) in " ".join(page.read_text("utf-8").split())

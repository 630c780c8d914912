"""What is read of a message: enough to judge it, and never more than the limits."""

from email.message import EmailMessage

import pytest
from filterrelay_plugins.spam.reading import (
    MAX_LINKS,
    MAX_TEXT,
    MAX_WORDS,
    domain_of,
    host_of,
    read,
    split_words,
    visible_text,
)
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.plugin import Message
from filterrelay.plugin.testing import within_cpu_budget

from .conftest import NOW, Reader


def test_words_are_small_and_keep_what_makes_them_one() -> None:
    """Apostrophes, hyphens, dots and dollars belong to a word; letter case doesn't count."""
    assert split_words("Don't PAY $9.95, e-mail us!", 10) == (
        *(b"don't", b"pay", b"$9.95", b"e-mail", b"us"),
    )


def test_scripts_without_blanks_are_cut_into_pairs() -> None:
    """Chinese and Japanese sentences would be one word that never comes again."""
    assert [w.decode() for w in split_words("email营销的机", 10)] == ["email", "营销", "的机"]


def test_only_the_first_500_words_are_read(reading: Reader) -> None:
    """A long message costs no more than a short one."""
    assert len(reading("word " * 10_000).words) == MAX_WORDS


def test_text_and_html_share_the_words() -> None:
    """An innocent text can't hide what the HTML beside it says."""
    message = EmailMessage()
    message.set_content("innocent " * 600)
    message.add_alternative("<p>" + "guilty " * 600 + "</p>", subtype="html")
    words = read(Message.stored("", message.as_bytes()), NOW).words
    assert words.count(b"guilty") == MAX_WORDS // 2
    assert len(words) == MAX_WORDS


def test_html_is_read_as_its_reader_sees_it() -> None:
    """Tags, comments, styles and scripts aren't words, entities are characters."""
    assert visible_text(
        "<style>p {}</style><p>v<!-- x -->iagra &amp; more<br>now</p><SCRIPT>no</Script>"
    ).split() == ["viagra", "&", "more", "now"]


def test_html_that_says_it_is_text_is_html(reading: Reader) -> None:
    """Some programs forget the Content-Type."""
    read_as = reading("<HTML><body>free <b>money</b></body></HTML>")
    assert (read_as.plain, read_as.words) == ("", (b"free", b"money"))


def test_a_tag_that_others_put_before_the_subject_is_left_out(reading: Reader) -> None:
    """What a list or another filter wrote there tells nothing of the sender."""
    assert reading(subject="Re: [SPAM] free money").subject_words == (b"free", b"money")


def test_the_subject_is_decoded(reading: Reader) -> None:
    """RFC 2047."""
    assert reading(subject="=?utf-8?q?gr=C3=BC=C3=9Fe?=").subject == "grüße"


def test_links_are_found_once_each(reading: Reader) -> None:
    """In the HTML and in the text, up to the limit."""
    many = "".join(f"http://h{n}.example/a " for n in range(200))
    assert len(reading(many).links) == MAX_LINKS
    assert reading("http://A.example/x http://a.example/x").hosts == {"a.example"}


@pytest.mark.parametrize(
    ("link", "host"),
    [
        ("www.bank.example/x?y", "www.bank.example"),
        ("bank.example@evil.example:8080/", "evil.example"),
        ("evil.example?bank.example", "evil.example"),
    ],
)
def test_a_links_host_is_where_it_leads(link: str, host: str) -> None:
    """RFC 3986 section 3.2: user and port stand beside the host."""
    assert host_of(link) == host


@pytest.mark.parametrize(
    ("field", "domain"),
    [
        ("Bob <bob@Office.Example>", "office.example"),
        ("bob@office.example", "office.example"),
        ("no address", ""),
    ],
)
def test_an_addresss_domain_is_found(field: str, domain: str) -> None:
    """In whichever way the address is written."""
    assert domain_of(field) == domain


@pytest.mark.parametrize(
    "flood",
    ["<", "<!--", "<style", "<a href=http://", "&#", "a-", "&amp", "http://", "[", "\u4f60"],
)
def test_no_flood_of_characters_takes_long(reading: Reader, flood: str) -> None:
    """Patterns pass over their input once, whatever a sender writes."""
    body = flood * (2 * MAX_TEXT // len(flood))
    with within_cpu_budget(150):
        read_as = reading(f"Subject: {body[:5000]}\nContent-Type: text/html\n\n{body}".encode())
        assert len(read_as.words) <= MAX_WORDS
        assert len(read_as.hosts) <= MAX_LINKS


@given(st.binary(max_size=2000), st.sampled_from([b"text/html", b"text/plain", b"multipart/x"]))
def test_no_bytes_make_it_fail(octets: bytes, kind: bytes) -> None:
    """Whatever comes is read, within the limits."""
    for raw in (octets, b"Content-Type: " + kind + b"\r\nFrom: " + octets + b"\r\n\r\n" + octets):
        read_as = read(Message("", raw), NOW)
        assert len(read_as.words) <= MAX_WORDS
        assert read_as.vocabulary >= set(read_as.words)

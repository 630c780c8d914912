"""What comes back of the message that a report is about."""

import pytest

from filterrelay.delivery.report_original import MOST_HEADERS, original_part
from filterrelay.mail.message import Message

HEAD = b"Subject: Lunch\r\nMessage-ID: <1@office.example>\r\n"


def part(head: bytes, *, full: bool = False) -> tuple[str, bytes]:
    """The part about a message with that header section."""
    return original_part(Message("ID", head + b"\r\nHello.\r\n"), full=full)


def test_the_header_section_or_all_of_it() -> None:
    """RFC 6522 section 3, RFC 3462."""
    assert part(HEAD) == ("text/rfc822-headers", HEAD)
    assert part(HEAD, full=True) == ("message/rfc822", HEAD + b"\r\nHello.\r\n")


@pytest.mark.parametrize(
    ("subject", "full", "kind"),
    [
        ("Grüße".encode(), False, "message/global-headers"),
        ("Grüße".encode(), True, "message/global"),
        ("Grüße".encode("latin-1"), False, "text/rfc822-headers"),
    ],
)
def test_a_header_in_utf_8_has_a_type_of_its_own(subject: bytes, full: bool, kind: str) -> None:
    """RFC 6533 section 5; other octets are just octets."""
    assert part(b"Subject: " + subject + b"\r\n", full=full)[0] == kind


def test_a_huge_header_section_ends_at_a_whole_line() -> None:
    """And doesn't come back as the message's beginning only."""
    _, kept = part(b"".join(b"X-%06d: %s\r\n" % (i, b"x" * 60) for i in range(1000)))
    assert len(kept) <= MOST_HEADERS
    assert kept.endswith(b"x" * 60 + b"\r\n")


def test_a_message_with_lines_too_long_comes_back_as_its_header() -> None:
    """Strict servers would refuse the report for it."""
    kind, kept = original_part(Message("ID", HEAD + b"\r\n" + b"y" * 999 + b"\r\n"), full=True)
    assert (kind, kept) == ("text/rfc822-headers", HEAD)

"""Addresses are taken strictly, and compared as people mean them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.address import AddressPattern, BadAddress, any_matches, parse_mailbox

GOOD = [
    "alice@office.example",
    "a.b+c=d/e@sub.office.example",
    '"alice smith"@office.example',
    r'"a\"b"@office.example',
    "alice@[192.0.2.1]",
    "alice@[IPv6:2001:db8::1]",
    "postmaster",
    "_dmarc@_domain.example",
    "a" * 64 + "@office.example",
]
BAD = [
    "",
    "alice",
    "@office.example",
    "alice@",
    "alice smith@office.example",
    "alice@office example",
    ".alice@office.example",
    "alice.@office.example",
    "al..ice@office.example",
    "alice@office..example",
    "alice@-office.example",
    "alice@office-.example",
    "alice@[192.0.2]",
    "alice@[192.0.2.1",
    "alice@[office.example]",
    "alice@[IPv6:::1%x y]",
    'alice@[IPv6:fe80::1%"> NOTIFY=NEVER "]',
    "alice@[IPv6:fe80::1%eth0]",
    '"alice@office.example',
    'ali"ce@office.example',
    "alice@office.example\x00",
    "alice\r\n@office.example",
    "alice@office.example\n",
    "alice\x85@office.example",
    "a" * 65 + "@office.example",
    "alice@" + "a" * 64 + ".example",
    "a@" + "abcdefg." * 31 + "example.com",
    "zoë@office.example",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_valid_address_stays_as_it_was(text: str) -> None:
    """Parsing and writing an address changes nothing."""
    assert str(parse_mailbox(text)) == text


@pytest.mark.parametrize("text", BAD)
def test_an_invalid_address_is_refused_with_a_reason(text: str) -> None:
    """RFC 5321 section 4.1.2 is kept, and the client hears what is wrong."""
    with pytest.raises(BadAddress) as caught:
        parse_mailbox(text)
    assert str(caught.value)


@pytest.mark.parametrize(
    "text", ["zoë@office.example", "alice@büro.example", "почта@почта.example"]
)
def test_letters_beyond_ascii_need_smtputf8(text: str) -> None:
    """An international address is taken with SMTPUTF8 only (RFC 6531)."""
    assert parse_mailbox(text, utf8=True).needs_smtputf8
    with pytest.raises(BadAddress, match="SMTPUTF8"):
        parse_mailbox(text)


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "\ufeff", "\x00", "\n"])
def test_characters_that_end_lines_are_never_part_of_an_address(mark: str) -> None:
    """NEL, line separator and their like are refused with SMTPUTF8, too."""
    with pytest.raises(BadAddress):
        parse_mailbox(f"a{mark}b@office.example", utf8=True)


def test_addresses_are_compared_without_regard_to_case_or_needless_quotes() -> None:
    """A login alice may send as "Alice"."""
    assert parse_mailbox('"Alice"@Office.Example').key == "alice@office.example"


@pytest.mark.parametrize(
    ("pattern", "address", "matches"),
    [
        ("alice@office.example", "Alice@OFFICE.example", True),
        ("alice@office.example", "bob@office.example", False),
        ("*@office.example", "bob@office.example", True),
        ("*@office.example", "bob@sub.office.example", False),
        ("*.office.example", "bob@sub.office.example", True),
        ("*.office.example", "bob@office.example", False),
        ("*.office.example", "bob@notoffice.example", False),
        ("office.example", "bob@office.example", True),
        ("*", "bob@anywhere.example", True),
        ("*@*", "bob@anywhere.example", True),
        ('"Alice"@office.example', "alice@office.example", True),
        ("*@[192.0.2.1]", "alice@[192.0.2.1]", True),
        ("*@büro.example", "alice@Büro.example", True),
        ("*@büro.example", "alice@xn--bro-hoa.example", True),
        ("*@xn--bro-hoa.example", "alice@BÜRO.example", True),
        ("*.büro.example", "alice@mail.xn--bro-hoa.example", True),
        ("büro.example", "alice@xn--bro-hoa.example", True),
        ("alice@büro.example", "alice@xn--bro-hoa.example", True),
        ("*@büro.example", "alice@xn--bro-hob.example", False),
        ("*@büro.example", "alice@XN--bro-hoa.example", True),
        ("*.xn--bro-hoa.example", "alice@post.büro.example", True),
        ("alice@büro.example", "bob@xn--bro-hoa.example", False),
        ("*@a_b.büro.example", "alice@A_B.Büro.example", True),
        ("localhost", "root@localhost", True),
    ],
)
def test_a_pattern_means_what_it_looks_like(pattern: str, address: str, matches: bool) -> None:
    """The patterns of the configuration file."""
    assert any_matches([AddressPattern(pattern)], parse_mailbox(address, utf8=True)) is matches


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "*.",
            "*@",
            "@",
            "@bad.example",
            "bob@",
            "**",
            "a b",
            "a@b c",
            "*.*",
            "*office.example",
        ),
        *("*@*.office.example", "*.office.*", "al*@office.example", "partner.example.", "a..b"),
        *("*@office.example, *@shop.example", "*@[192.0.2.300]", "<bob@office.example>"),
    ],
)
def test_a_pattern_that_can_match_nobody_is_refused(text: str) -> None:
    """A slip of the pen is found when the file is read, not when mail goes astray."""
    with pytest.raises(ValueError, match="is no address pattern"):
        AddressPattern(text)


@pytest.mark.parametrize(
    ("address", "in_ascii"),
    [
        ("Ann@Office.example", "Ann@Office.example"),
        ("ann@BÜRO.example", "ann@xn--bro-hoa.example"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ("postmaster", "postmaster"),
        ("ånn@office.example", ""),
        ("ann@\u3000.example", ""),
    ],
)
def test_an_address_in_ascii_is_for_servers_without_smtputf8(address: str, in_ascii: str) -> None:
    """Only a domain has such a form (RFC 6531 section 3.2)."""
    assert parse_mailbox(address, utf8=True).in_ascii == in_ascii


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """No text makes the parser fail, and none with a line end in it is taken."""
    try:
        parsed = parse_mailbox(text, utf8=True)
    except BadAddress:
        return
    assert str(parsed) == text
    assert parsed.in_ascii.isascii()
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("*", "*@*", True),
        ("*", "x@a.example", True),
        ("a.example", "*", False),
        ("a.example", "*@A.example", True),
        ("*@a.example", "X@a.example", True),
        ("x@a.example", "X@A.example", True),
        ("x@a.example", "a.example", False),
        ("*.example", "a.example", True),
        ("*.example", "*.a.example", True),
        ("*.a.example", "*.example", False),
        ("*.a.example", "a.example", False),
        ("a.example", "*.a.example", False),
    ],
)
def test_one_pattern_may_mean_all_that_another_does(wide: str, narrow: str, covers: bool) -> None:
    """So that a rule for the narrow one behind one for the wide one is never reached."""
    assert AddressPattern(wide).covers(AddressPattern(narrow)) is covers

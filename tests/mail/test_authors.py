"""Who a From field says wrote the message."""

import pytest

from filterrelay.mail.address import BadAddress
from filterrelay.mail.authors import MAX_FIELD, addresses_in


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("alice@office.example", ["alice@office.example"]),
        ("<alice@office.example>", ["alice@office.example"]),
        ("Alice A. Able <alice@office.example>", ["alice@office.example"]),
        ('"Able, Alice <ceo@x.example>" <alice@office.example>', ["alice@office.example"]),
        ('"Alice \\" Able"<alice@office.example>', ["alice@office.example"]),
        ("=?utf-8?q?ceo=40x.example?= <alice@office.example>", ["alice@office.example"]),
        ("alice@office.example (Alice (the \\) first) Able)", ["alice@office.example"]),
        ("(ceo@x.example) alice@office.example", ["alice@office.example"]),
        ("Able, Alice <alice@office.example>", ["alice@office.example"]),
        ("Jürgen Öl <jürgen@öl.example>", ["jürgen@öl.example"]),
        ('"a b"@office.example', ['"a b"@office.example']),
        ("Alice <alice@[192.0.2.1]>", ["alice@[192.0.2.1]"]),
        ("a@x.example, B <b@x.example>", ["a@x.example", "b@x.example"]),
        ("Both: a@x.example, B <b@x.example>;", ["a@x.example", "b@x.example"]),
        ("ceo@x.example <alice@office.example>", ["ceo@x.example", "alice@office.example"]),
        ("<a@x.example> <b@x.example>", ["a@x.example", "b@x.example"]),
    ],
)
def test_every_address_in_the_field_is_found(value: str, addresses: list[str]) -> None:
    """In lists, groups and careless names, but not in quoted names, comments and encoded words."""
    assert [str(address) for address in addresses_in(value)] == addresses


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Alice",
        "<>",
        "undisclosed:;",
        '"alice@office.example"',
        "alice@office.example>",
        "<alice@office.example",
        "<@relay.example:alice@office.example>",
        "alice @ office.example",
        "alice(the first)@office.example",
        "alice@office.example@x.example",
        '"Alice <alice@office.example>',
        "(Alice <alice@office.example>",
        "alice@office.example \\",
        "=?utf-8?q?ceo@x.example?= <alice@office.example>",
        "A" * MAX_FIELD + " <alice@office.example>",
        "(" * 3000,
        '"' * 3001,
    ],
)
def test_what_readers_could_take_in_two_ways_is_no_author(value: str) -> None:
    """Nobody can say who is shown, so nobody can say that the login may write as them."""
    with pytest.raises(BadAddress):
        addresses_in(value)

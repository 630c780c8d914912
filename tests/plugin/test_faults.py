"""What is wrong in a table is said at the key that the file has, in words of this project."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from filterrelay.plugin import Options
from filterrelay.plugin.faults import KeyPath, dotted, faults, nearest
from filterrelay.settings import Pattern


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("hostname",), "hostname"),
        (("listener", 1, "tls"), "listener[1].tls"),
        (("filter", 10, "options", "keys", 2, "domain"), "filter[10].options.keys[2].domain"),
        (("filter", 0, "applies_to", 3), "filter[0].applies_to[3]"),
    ],
)
def test_a_path_is_written_as_people_do(path: KeyPath, text: str) -> None:
    """Tables with dots, arrays with brackets."""
    assert dotted(path) == text


def test_what_is_known_is_listed_when_nothing_is_near() -> None:
    """So that a person can choose."""
    assert nearest("zzz", ["b", "a"]) == "; known: a, b"


class Key(Options):
    """A table in a list."""

    domain: str
    """A domain."""
    selector: str = ""
    """A selector."""


class Signing(Options):
    """Tables within, and values of several kinds."""

    keys: tuple[Key, ...] = Field((), min_length=1)
    """Keys."""
    tag: float | Literal["off"] = "off"
    """A score, or off."""
    one: Key | float | None = None
    """A table, or a number."""
    by_name: dict[str, Key] = Field(default_factory=dict)
    """Tables by name."""
    maybe: Key | None = None
    """A table or none."""
    retry: Key = Key(domain="a")
    """A table."""
    number: int = 0
    """A number."""
    switch: bool = False
    """A switch."""
    file: Path = Path("a")
    """A file."""
    pattern: Pattern | None = None
    """An address pattern."""


def found(options: dict[str, Any]) -> dict[KeyPath, str]:
    """What is said of the options."""

    def unknown(key: str, table: Any) -> str:
        return f"no {key}{nearest(key, table.model_fields)}"

    with pytest.raises(ValidationError) as caught:
        Signing.model_validate(options)
    return dict(faults(caught.value, Signing, unknown))


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"keys": [{"domain": "a"}, {"domain": "b", "selectr": "x"}]}, ("keys", 1, "selectr")),
        ({"one": {"domain": "a", "selectr": "x"}}, ("one", "selectr")),
        ({"by_name": {"x": {"domain": "a", "selectr": "x"}}}, ("by_name", "x", "selectr")),
        ({"maybe": {"domain": "a", "selectr": "x"}}, ("maybe", "selectr")),
    ],
)
def test_an_unknown_key_within_is_compared_with_its_neighbours(
    options: dict[str, Any], path: KeyPath
) -> None:
    """Not with the keys of the table around it."""
    assert found(options)[path] == "no selectr; did you mean selector?"


def test_a_value_of_several_kinds_is_one_fault() -> None:
    """The kinds have no names that a file could have, and are told in one sentence."""
    assert found({"tag": "lots"}) == {("tag",): "should be a number or 'off'"}


def test_what_is_missing_is_said_at_its_place() -> None:
    """In the list's second table, here."""
    assert found({"keys": [{"domain": "a"}, {}]}) == {("keys", 1, "domain"): "is required"}


def test_an_empty_list_is_not_confused_with_one_of_faulty_tables() -> None:
    """Each has its own remedy."""
    assert found({"keys": []}) == {("keys",): "at least one is required"}
    assert found({"keys": [{}]}) == {("keys", 0, "domain"): "is required"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keys": "a"}, "should be a list in brackets"),
        ({"keys": {"domain": "a"}}, "should be a list in brackets: write [[keys]] for each"),
        ({"retry": "15m"}, "should be a table of keys"),
        ({"retry": [{"domain": "a"}]}, "should be a table of keys: write [retry], once"),
        ({"by_name": 1}, "should be a table of keys"),
        ({"number": "many"}, "should be a whole number"),
        ({"number": 1.5}, "should be a whole number"),
        ({"switch": "perhaps"}, "should be true or false"),
        ({"file": 1}, "should be a path in quotation marks"),
        ({"keys": [{"domain": 1}]}, "should be text in quotation marks"),
        ({"pattern": 1}, "should be text in quotation marks"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_words_of_the_file(
    options: dict[str, Any], said: str
) -> None:
    """No word of the libraries that check it."""
    assert list(found(options).values()) == [said]

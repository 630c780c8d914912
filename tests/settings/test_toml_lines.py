"""Lines of keys in TOML documents."""

import tomllib
from typing import Any

import pytest

from filterrelay.settings.toml_lines import Path, key_lines, line_of

DOCUMENT = """\
# a comment with [brackets] = and "quotes
name = "x" # and one behind
text = \"\"\"
[not.a.table]
key = 1 \\\"\"\" still inside
\"\"\"
raw = '''
[[neither]]
'''
empty = ""
"quoted key" = [ 1,
  # a comment, with a comma
  { a = 1, b = "]" },
  [ "x", 'y' ],
]
dotted.inner . key = { deep = { er = true } }

[table]
one = 1

[[array]]
first = 1979-05-27T07:32:00Z
[array.options]
a = 1.5
[[array.many]]
b = 1
[[array.many]]
b = 2

[[array]]
first = "again"
[array.options]
a = 2
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("text",), 3),
        (("raw",), 7),
        (("empty",), 10),
        (("quoted key",), 11),
        (("quoted key", 1, "a"), 13),
        (("quoted key", 2, 1), 14),
        (("dotted", "inner", "key"), 16),
        (("dotted", "inner", "key", "deep", "er"), 16),
        (("table", "one"), 19),
        (("array",), 21),
        (("array", 0), 21),
        (("array", 0, "options", "a"), 24),
        (("array", 0, "many", 1, "b"), 28),
        (("array", 1), 30),
        (("array", 1, "first"), 31),
        (("array", 1, "options", "a"), 33),
    ],
)
def test_a_key_stands_on_its_line(path: Path, line: int) -> None:
    """Tables, arrays of tables, dotted keys, inline tables and strings of several lines."""
    assert key_lines(DOCUMENT)[path] == line


def test_every_key_that_tomllib_finds_has_a_line() -> None:
    """No key of the document is lost, and nothing inside a string is taken for one."""

    def paths(value: Any, at: Path = ()) -> set[Path]:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        found: set[Path] = set()
        for key, inner in pairs:
            found.add((*at, key))
            if isinstance(inner, dict | list):
                found |= paths(inner, (*at, key))
        return found

    known = set(key_lines(DOCUMENT))
    assert known == paths(tomllib.loads(DOCUMENT))


def test_a_missing_key_is_shown_at_its_table() -> None:
    """What isn't written has the line of the table where it belongs."""
    lines = key_lines(DOCUMENT)
    assert line_of(lines, ("array", 1, "address")) == 30


def test_what_is_nowhere_has_no_line() -> None:
    """A table that the file lacks has no line at all."""
    assert line_of(key_lines(DOCUMENT), ("listener",)) == 0


@pytest.mark.parametrize("text", ["=", "[", "[[a", "a = [", "a = {b", '"', "a = '''x", "]\n}\n"])
def test_a_document_that_is_not_toml_ends_the_walk(text: str) -> None:
    """A broken document gives some lines or none, and always an end."""
    assert isinstance(key_lines(text), dict)

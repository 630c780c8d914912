"""What is wrong in a file, said with its line."""

from pathlib import Path

from filterrelay.settings.problems import (
    Problem,
    SettingsError,
    Source,
)

FILE = Path("f.toml")


def test_a_problem_reads_like_a_compilers() -> None:
    """Editors jump to the line."""
    assert str(Problem(FILE, 3, "tls.key", "is missing")) == "f.toml:3: tls.key: is missing"
    assert str(Problem(FILE, 0, "", "can't be read")) == "f.toml: can't be read"


def test_all_problems_are_one_error() -> None:
    """A line each."""
    error = SettingsError((Problem(FILE, 1, "a", "x"), Problem(FILE, 2, "b", "y")))
    assert str(error).splitlines() == ["f.toml:1: a: x", "f.toml:2: b: y"]


def test_what_came_from_the_environment_is_hidden() -> None:
    """In messages about that key, and as `repr` would write it, too."""
    source = Source.of(FILE, "a = 1\n", {("a",): (("it's", "${TOKEN}"),)})
    assert source.problem(("a",), "bad: \"it's\" or it's").text == 'bad: "${TOKEN}" or ${TOKEN}'
    assert source.problem(("b",), "it's fine").text == "it's fine"

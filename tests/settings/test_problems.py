"""What is wrong in a file, said with its line."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from filterrelay.settings.problems import (
    Problem,
    SettingsError,
    Source,
    dotted,
    path_of,
)
from filterrelay.settings.toml_lines import Path as KeyPath

FILE = Path("f.toml")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("hostname",), "hostname"),
        (("listener", 1, "tls"), "listener[1].tls"),
        (("filter", 10, "options", "keys", 2, "domain"), "filter[10].options.keys[2].domain"),
        (("filter", 0, "applies_to", 3), "filter[0].applies_to[3]"),
    ],
)
def test_a_key_is_written_and_read_back(path: KeyPath, text: str) -> None:
    """Tables with dots, arrays with brackets."""
    assert dotted(path) == text
    assert path_of(text) == path


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


class Table(BaseModel):
    """A table of a plugin's."""

    model_config = ConfigDict(extra="forbid")

    word: str = ""
    number: int = 0


def test_a_table_validated_later_has_its_lines_too() -> None:
    """A plugin's options are validated when the plugin is known."""
    source = Source.of(FILE, "[[filter]]\nuse = 'x'\n[filter.options]\nnumbr = 1\n", {})
    with pytest.raises(ValidationError) as caught:
        Table.model_validate({"numbr": 1})
    (problem,) = source.explain(caught.value, Table, ("filter", 0, "options"))
    assert str(problem) == (
        "f.toml:4: filter[0].options.numbr: there is no such key; did you mean number?"
    )

"""What a plugin's author gets wrong is said in a sentence at start."""

import re
from typing import Any

import pytest
from pydantic import field_validator

from filterrelay.plugin import Message, Options, Verdict, hook
from filterrelay.plugin.discovery import (
    BadOptions,
    BadPlugin,
    check,
    installed,
    load,
    plugin_class,
)


class WordOptions(Options):
    """Two options."""

    words: tuple[str, ...] = ()
    """Words."""
    limit: int = 5
    """A limit."""


class Good:
    """A plugin without fault."""

    options_type = WordOptions
    needs = ("spf",)
    edits = True

    def __init__(self, options: WordOptions) -> None:
        self.options = options

    @hook
    async def on_message(self, message: Message) -> Verdict | None:
        return None


def test_a_good_plugin_is_taken_with_its_options() -> None:
    """Its hooks, the parameters they take, and what it says of itself."""
    plugin = check("good", "mine", Good, {"words": ["a"]})
    assert (plugin.name, plugin.use) == ("mine", "good")
    assert plugin.instance.options.words == ("a",)
    assert plugin.hooks["on_message"].parameters == ("message",)
    assert (plugin.needs, plugin.edits, plugin.reads) == (("spf",), True, "body")


def test_what_a_plugin_reads_is_one_of_three() -> None:
    """A misspelt word isn't taken for the body; an instance may say it, too."""

    class Peeks(Good):
        def __init__(self, options: WordOptions) -> None:
            super().__init__(options)
            self.reads = options.words[0]

    assert check("peeks", "mine", Peeks, {"words": ["header"]}).reads == "header"
    with pytest.raises(BadPlugin, match="reads must be one of 'envelope', 'header', 'body'"):
        check("peeks", "mine", Peeks, {"words": ["headers"]})


def test_every_wrong_option_is_named_with_the_nearest_right_one() -> None:
    """All at once, and no value is shown."""
    with pytest.raises(BadOptions) as caught:
        check("good", "mine", Good, {"wrods": ["secret"], "limit": "secret"})
    problems = dict(caught.value.problems)
    assert problems["wrods",] == "there is no such option; did you mean words?"
    assert ("limit",) in problems
    assert "secret" not in str(caught.value)


class WrongName(Good):
    """Misspells a hook."""

    @hook
    async def on_mesage(self) -> None: ...


class WrongParameter(Good):
    """Wants what no hook gives."""

    @hook
    async def on_message(self, mail: Message) -> None: ...


class NotAsync(Good):
    """Would block the relay."""

    @hook
    def on_message(self, message: Message) -> None:  # type: ignore[override]  # the fault
        ...


class NotMarked(Good):
    """Forgets the decorator."""

    async def on_connect(self) -> None: ...


class WrongLifespan(Good):
    """Is no context manager."""

    @hook
    async def lifespan(self) -> None: ...


class NoHooks:
    """Does nothing."""

    def __init__(self, options: Options) -> None: ...


class WrongConstructor(Good):
    """Takes more than its options."""

    def __init__(self, options: WordOptions, more: int) -> None: ...


class WrongNeeds(Good):
    """Forgets the comma that makes a tuple."""

    needs = "spf"  # type: ignore[assignment]  # the fault


class WrongOptionsType(Good):
    """Names something else as its options."""

    options_type = dict  # type: ignore[assignment]  # the fault


class BadPattern(Good):
    """Compiles what is no pattern."""

    def __init__(self, options: WordOptions) -> None:
        re.compile("(")


class BadArithmetic(Good):
    """Has a mistake of its own in the constructor."""

    def __init__(self, options: WordOptions) -> None:
        self.sum = options.limit + "1"  # type: ignore[operator]  # the fault


class Unchecked(Options):
    """Looks for what isn't there while it checks."""

    words: tuple[str, ...] = ()

    @field_validator("words")
    @classmethod
    def _known(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        return ({"a": words}["b"],)[0]


class BadValidator(Good):
    """Its options can't even be checked."""

    options_type = Unchecked  # type: ignore[assignment]  # the fault


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (WrongNeeds, "write `needs = ('spf',)`"),
        (WrongOptionsType, "its options_type must be a subclass of Options"),
        (BadPattern, "it can't be made from its options: error: missing ), unterminated"),
        (BadArithmetic, "it can't be made from its options: TypeError: unsupported operand"),
        (WrongName, "there is no hook on_mesage; did you mean on_message?"),
        (WrongParameter, "on_message has no parameter mail; it may take session, envelope"),
        (NotAsync, "write `async def on_message`"),
        (NotMarked, "on_connect is a hook's name but isn't marked with @hook"),
        (WrongLifespan, "@asynccontextmanager"),
        (NoHooks, "it implements no hook"),
        (WrongConstructor, "its constructor must take its options alone"),
    ],
)
def test_a_faulty_plugin_is_refused_with_what_to_do(cls: type[Any], said: str) -> None:
    """Before any mail is taken."""
    with pytest.raises(BadPlugin) as caught:
        check("faulty", "faulty", cls, {})
    assert said in str(caught.value)


def test_a_validator_that_breaks_is_no_crash() -> None:
    """A reload with such a plugin is refused like any other bad file."""
    with pytest.raises(BadPlugin, match="its options can't be checked: KeyError"):
        check("faulty", "faulty", BadValidator, {"words": ["a"]})


def test_an_unknown_plugin_is_refused_with_the_nearest_one() -> None:
    """A typing error in `use` is found at once."""
    with pytest.raises(BadPlugin, match="did you mean clamav"):
        plugin_class("clamv")


def test_all_built_in_plugins_load_by_their_entry_points() -> None:
    """From an editable install and from a wheel alike."""
    assert {"attachments", "auth-file", "clamav", "dkim", "dkim-sign", "spam", "spf"} <= set(
        installed()
    )
    assert load("dkim", "dkim", {}).hooks

"""Plugins that are asked something beside the mail."""

from pathlib import Path
from typing import Any

import pytest

from filterrelay.chain.instances import instances_with, signing_keys
from filterrelay.chain.loader import BadPlugins
from filterrelay.mail.message import Message
from filterrelay.plugin import Options, Secret, hook
from filterrelay.plugin.discovery import installed
from filterrelay.settings.file import load
from filterrelay.wire.dkim_key import KeyUse

CONFIGURATION = """\
[[listener]]
kind = "milter"
address = "unix:milter.sock"
"""
SIGNER = """
[[signer]]
use = "dkim-sign"
[signer.options]
keys = [{ domain = "office.example", selector = "s1", key = "dkim/s1.pem" }]
"""


class SecretOptions(Options):
    """A secret."""

    token: Secret
    """The secret."""


class Learns:
    """Learns with a secret."""

    options_type = SecretOptions

    def __init__(self, options: SecretOptions) -> None:
        self.token = options.token.get_secret_value()

    @hook
    async def on_message(self, message: Message) -> None: ...

    def learn(self) -> None:
        """What it is asked for."""


class Secretive:
    """Doesn't learn, and has a secret too."""

    options_type = SecretOptions

    def __init__(self, options: SecretOptions) -> None: ...

    @hook
    async def on_message(self, message: Message) -> None: ...


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A file that loads."""
    file = tmp_path / "filterrelay.toml"
    file.write_text(CONFIGURATION)
    return file


@pytest.fixture(autouse=True)
def both_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By these names, beside the relay's own."""

    class Entry:
        """One of them."""

        def __init__(self, cls: type[Any]) -> None:
            self.cls = cls

        def load(self) -> type[Any]:
            """The class."""
            return self.cls

    known = installed() | {"learns": Entry(Learns), "secretive": Entry(Secretive)}
    monkeypatch.setattr("filterrelay.plugin.discovery.installed", lambda: known)


LEARNS = '[[filter]]\nuse = "learns"\n[filter.options]\ntoken_file = "token"\n'
SECRETIVE = '[[filter]]\nuse = "secretive"\n[filter.options]\ntoken_file = "absent"\n'


def found(configuration: Path, text: str, only: str = "") -> dict[str, Any]:
    """The filters that learn, by name."""
    configuration.write_text(configuration.read_text() + text)
    return dict(instances_with(load(configuration, {}), "filter", "learn", only))


def test_those_with_the_method_have_their_secrets(configuration: Path) -> None:
    """As the relay would start them."""
    (configuration.parent / "token").write_text("hunter2\n")
    assert found(configuration, LEARNS)["learns"].token == "hunter2"


def test_the_others_secrets_are_not_asked_for(configuration: Path) -> None:
    """Who trains a filter need not be able to read another one's password; none is missed."""
    (configuration.parent / "token").write_text("hunter2\n")
    text = SECRETIVE + '[[filter]]\nuse = "nowhere"\n' + LEARNS
    assert list(found(configuration, text)) == ["learns"]


def test_one_can_be_named(configuration: Path) -> None:
    """Then only its own secret is read."""
    (configuration.parent / "token").write_text("hunter2\n")
    other = LEARNS.replace('"learns"', '"learns"\nname = "other"').replace('"token"', '"absent"')
    assert list(found(configuration, LEARNS + other, "learns")) == ["learns"]


def test_what_is_wrong_with_one_has_its_line(configuration: Path) -> None:
    """As `filterrelay check` would say it."""
    with pytest.raises(BadPlugins, match=r"\[0\]\.options: .*token can't be read: No such file"):
        found(configuration, LEARNS)


def test_signers_tell_their_keys_before_these_are_there(configuration: Path) -> None:
    """Who makes them, and who looks for them in DNS, must know."""
    configuration.write_text(CONFIGURATION + SIGNER)
    path = configuration.parent / "dkim/s1.pem"
    assert signing_keys(load(configuration, {})) == [KeyUse("office.example", "s1", path)]

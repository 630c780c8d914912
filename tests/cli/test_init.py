"""`filterrelay init`: from nothing to a configuration that only lacks its smart host."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from filterrelay.cli import init as command
from filterrelay.cli.init import AlreadyThere, app, configuration, found_here
from filterrelay.settings import Settings
from filterrelay.settings.file import load, warnings
from filterrelay.wire.dkim_key import read_key


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without daemons."""
    monkeypatch.setattr(command, "found_here", dict)


def init(directory: Path, *options: str) -> Result:
    """What `filterrelay init` says."""
    return CliRunner().invoke(app, [str(directory), *options])


def written(directory: Path) -> Settings:
    """The settings that were written."""
    return load(directory / "filterrelay.toml", {})


def test_what_is_written_loads_without_warning(tmp_path: Path) -> None:
    """The newcomer's first file has neither faults nor dangers."""
    assert init(tmp_path / "new").exit_code == 0
    assert warnings(written(tmp_path / "new")) == []


def test_names_are_taken_from_the_command_line(tmp_path: Path) -> None:
    """The relay's, the signed domain's and the smart host's."""
    init(
        tmp_path,
        *("--hostname", "mx.shop.example", "--domain", "shop.example"),
        *("--upstream", "out.provider.example:465"),
    )
    settings = written(tmp_path)
    assert settings.hostname == "mx.shop.example"
    assert settings.upstream[0].hosts == ("out.provider.example:465",)
    assert settings.signer[0].options["keys"][0]["domain"] == "shop.example"


def test_the_keys_are_real_and_secret(tmp_path: Path) -> None:
    """The DKIM key signs, the certificate fits its key, and only the owner reads them."""
    init(tmp_path)
    assert read_key(tmp_path / "dkim" / "s1.pem").public.kind == "rsa"
    for secret in ("dkim/s1.pem", "tls/privkey.pem", "users"):
        assert (tmp_path / secret).stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A key that is published must not be lost; what is there is named."""
    (tmp_path / "dkim").mkdir()
    (tmp_path / "dkim" / "s1.pem").write_text("precious")
    said = init(tmp_path)
    assert isinstance(said.exception, AlreadyThere)
    assert said.exception.files == (tmp_path / "dkim" / "s1.pem",)
    assert not (tmp_path / "filterrelay.toml").exists()


def test_the_next_three_steps_are_told(tmp_path: Path) -> None:
    """With the commands to type."""
    said = init(tmp_path).output
    assert [number for number in "123" if f"\n{number}. " in said] == ["1", "2", "3"]
    for verb in ("user add", "dkim record", "check", "serve"):
        assert f"filterrelay {verb} " in said


def test_daemons_that_are_there_are_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as a filter with the options to reach it."""
    socket = f"unix:{tmp_path}/clamd"
    monkeypatch.setattr(command, "found_here", lambda: {"clamav": {"socket": socket}})
    init(tmp_path)
    last = written(tmp_path).filter[-1]
    assert (last.use, last.options) == ("clamav", {"socket": socket})


def test_each_plugin_looks_for_its_own_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that depend on one say whether it is there."""
    monkeypatch.setattr("filterrelay_plugins.clamav.SOCKETS", (str(tmp_path / "none"),))
    assert "clamav" not in found_here()


def test_no_word_of_the_template_is_left() -> None:
    """All its gaps are filled."""
    words = dict.fromkeys(("hostname", "domain", "selector", "upstream", "state_dir"), "x.example")
    assert "@x" not in configuration(words, {})
    assert not any(f"@{word}@" in configuration(words, {}) for word in (*words, "found"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--hostname", 'a"b'),
        ("--hostname", "relay office"),
        ("--domain", 'a"b'),
        ("--upstream", "no port"),
        ("--upstream", "smtp.provider.example:x"),
    ],
)
def test_a_name_that_cannot_be_one_is_wrong_usage(tmp_path: Path, option: str, value: str) -> None:
    """Rather than a file that doesn't load; nothing is written."""
    said = init(tmp_path / "new", option, value)
    assert said.exit_code == 2
    assert option in said.stderr
    assert not (tmp_path / "new").exists()


def test_what_toml_would_take_for_an_end_is_escaped(tmp_path: Path) -> None:
    """A socket's path may hold anything."""
    assert init(tmp_path, "--upstream", 'unix:/run/"a\\b').exit_code == 0
    assert written(tmp_path).upstream[0].hosts == ('unix:/run/"a\\b',)


def test_the_filters_told_are_those_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order."""
    monkeypatch.setattr(command, "found_here", lambda: {"clamav": {}})
    said = init(tmp_path).output
    names = ", ".join(one.use for one in written(tmp_path).filter)
    assert names.endswith("clamav")
    assert f"with the filters {names}." in said


def test_it_takes_a_configuration_as_every_command_does(tmp_path: Path) -> None:
    """And does nothing with it."""
    assert init(tmp_path / "new", "-c", "nowhere.toml").exit_code == 0

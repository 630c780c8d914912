"""`filterrelay init`: from nothing to a configuration that only lacks its smart host."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from filterrelay.cli import init as command
from filterrelay.cli.init import AlreadyThere, app, configuration, found_here
from filterrelay.cli.postfix import NoPostfix, Postfix
from filterrelay.settings import Settings
from filterrelay.settings.file import load, warnings
from filterrelay.wire.dkim_key import read_key

SMTPD = ["smtp", "inet", "n", "-", "y", "-", "-", "smtpd"]
POSTFIX = Postfix(
    {"mynetworks": "10.1.0.0/16"}, [SMTPD], {}, Path("/queue"), "root", "mx.office.example"
)


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


def test_the_next_three_steps_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the commands to type, as this one was typed."""
    monkeypatch.setattr("sys.argv", [".venv/bin/filterrelay", "init"])
    said = init(tmp_path).output
    assert [number for number in "123" if f"\n{number}. " in said] == ["1", "2", "3"]
    for verb in ("user add", "dkim record", "check", "serve"):
        assert f" .venv/bin/filterrelay {verb} " in said


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


@pytest.mark.parametrize(
    ("name", "options", "examples"),
    [
        ("relay.shop.example", (), "--upstream."),
        ("mailhost", (), "--hostname, --domain, --upstream."),
        ("mailhost", ("--hostname", "mx.shop.example"), "--upstream."),
        ("mailhost", ("--domain", "shop.example"), "--hostname, --upstream."),
    ],
)
def test_what_nobody_said_is_told_to_be_an_example(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: tuple[str, ...],
    examples: str,
) -> None:
    """A machine may not know its full name; the file must not pretend that it does."""
    monkeypatch.setattr("socket.getfqdn", lambda: name)
    assert f"so examples stand there: {examples}\n" in init(tmp_path, *options).output


def test_nothing_is_an_example_when_all_is_said(tmp_path: Path) -> None:
    """Nor is it spoken of."""
    said = init(tmp_path, "--hostname", "mx.shop.example", "--upstream", "out.example:465").output
    assert "example stand" not in said


@pytest.mark.parametrize(
    ("directory", "state"), [("etc/filterrelay", "var"), ("etc/mail/relay", "var"), ("own", "own")]
)
def test_the_state_lies_where_the_system_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str, state: str
) -> None:
    """Below /var for what is configured below /etc, else beside the file."""
    monkeypatch.setattr(command, "_SYSTEM", tmp_path / "etc")
    init(tmp_path / directory)
    expected = {"var": Path("/var/lib/filterrelay"), "own": tmp_path / "own" / "state"}
    assert written(tmp_path / directory).state_dir == expected[state]


def test_root_is_told_of_a_user_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do for it, when it is there."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(command, "relay_account", lambda: None)
    said = init(tmp_path).output
    assert "adduser --system --group --home /var/lib/filterrelay filterrelay" in said
    assert f"chown filterrelay {tmp_path}/tls/privkey.pem" in said


COMMENTED = re.compile(r"#+ (\[.*\]|\w+ *=.*)")


def uncommented(text: str, marks: str) -> Settings:
    """The template's settings when the keys behind so many # are taken from behind them."""
    lines = []
    for line in text.splitlines():
        found = COMMENTED.match(line)
        lines.append(found[1] if found and line.startswith(f"{marks} ") else line)
    return Settings.model_validate(tomllib.loads("\n".join(lines)))


@pytest.mark.parametrize("server", [None, POSTFIX])
def test_keys_behind_one_mark_have_their_defaults(server: Postfix | None) -> None:
    """To take the mark away changes nothing."""
    words = dict.fromkeys(("hostname", "domain", "selector", "upstream", "state_dir"), "x.example")
    text = configuration(words, {}, server)
    plain = Settings.model_validate(tomllib.loads(text))
    assert uncommented(text, "#") == plain
    assert uncommented(text, "#").model_fields_set > plain.model_fields_set


def test_keys_behind_two_marks_are_examples() -> None:
    """They can be taken as they stand, and do something."""
    words = dict.fromkeys(("hostname", "domain", "selector", "upstream", "state_dir"), "x.example")
    changed = uncommented(configuration(words, {}), "##")
    assert changed.listener[0].trusted_networks
    assert changed.filter[-1].mode == "shadow"
    assert changed.route
    assert changed.upstream[0].username


@pytest.mark.parametrize("server", [None, POSTFIX])
def test_no_word_of_the_template_is_left(server: Postfix | None) -> None:
    """All its gaps are filled."""
    words = dict.fromkeys(("hostname", "domain", "selector", "upstream", "state_dir"), "x.example")
    text = configuration(words, {}, server)
    assert "@@" not in text
    assert not any(f"@{word}@" in text for word in (*words, "found", "doors", "trusted", "socket"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--hostname", 'a"b'),
        ("--hostname", "relay office"),
        ("--domain", 'a"b'),
        ("--upstream", "no port"),
        ("--upstream", "smtp.provider.example"),
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
    """Nobody's host is called so, but the file can be read all the same."""
    assert init(tmp_path, "--upstream", '"a\\b:587').exit_code == 0
    assert written(tmp_path).upstream[0].hosts == ('"a\\b:587',)


def test_a_smart_host_is_no_unix_socket(tmp_path: Path) -> None:
    """What init writes must be served."""
    said = init(tmp_path, "--upstream", "unix:/run/dovecot/lmtp")
    assert said.exit_code == 2
    assert not (tmp_path / "filterrelay.toml").exists()


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


def test_behind_postfix_it_is_a_milter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written loads, listens where Postfix looks, and needs no certificate and no login."""
    monkeypatch.setattr(command, "read_postfix", lambda directory: POSTFIX)
    said = init(tmp_path, "--postfix", "--hostname", "mx.shop.example").output
    (listener,) = written(tmp_path).listener
    assert (listener.kind, listener.address, listener.group) == (
        "milter",
        "unix:/queue/filterrelay/milter.sock",
        "root",
    )
    assert [str(network) for network in listener.trusted_networks] == ["10.1.0.0/16"]
    assert warnings(written(tmp_path)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dkim", "filterrelay.toml"]
    assert "\nsmtpd_milters = unix:filterrelay/milter.sock\n" in said
    assert "\n   install -d -o filterrelay -g root -m 2750 /queue/filterrelay\n" in said
    assert "example stand" not in said
    assert "user add" not in said


def test_the_postfix_may_be_another_than_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--postfix-config says where it is, and means --postfix."""
    asked = list[Path | None]()

    def read_postfix(directory: Path | None) -> Postfix:
        asked.append(directory)
        return POSTFIX

    monkeypatch.setattr(command, "read_postfix", read_postfix)
    assert init(tmp_path / "a", "--postfix").exit_code == 0
    assert init(tmp_path / "b", "--postfix-config", "/etc/postfix-in").exit_code == 0
    assert asked == [None, Path("/etc/postfix-in")]
    assert written(tmp_path / "a").hostname == POSTFIX.hostname


def test_a_name_that_postfix_made_up_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It calls itself below localdomain where the machine knows no full name."""
    nameless = replace(POSTFIX, hostname="mail.localdomain")
    monkeypatch.setattr(command, "read_postfix", lambda directory: nameless)
    assert "examples stand there: --hostname, --domain" in init(tmp_path, "--postfix").output


def test_without_postfix_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where it is given a smart host, which nobody would use."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("filterrelay.cli.postfix._SBIN", "/nowhere")
    assert isinstance(init(tmp_path / "new", "--postfix").exception, NoPostfix)
    monkeypatch.setattr(command, "read_postfix", lambda directory: POSTFIX)
    said = init(tmp_path / "new", "--postfix", "--upstream", "out.example:465")
    assert said.exit_code == 2
    assert "--upstream" in said.stderr
    assert not (tmp_path / "new").exists()

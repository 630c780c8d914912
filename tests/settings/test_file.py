"""filterrelay.toml from the disk to settings, and every way in which it may be wrong."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from filterrelay.settings import Settings
from filterrelay.settings.file import SettingsError, load

SMTP = """
[[listener]]
kind = "smtp"
address = "127.0.0.1:2525"
trusted_networks = ["127.0.0.0/8"]
"""
UPSTREAM = """
[[upstream]]
name = "provider"
hosts = ["smtp.provider.example:587"]
"""


@dataclass
class Office:
    """A directory with a configuration file."""

    directory: Path

    def load(self, text: str, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings that the text gives."""
        file = self.directory / "filterrelay.toml"
        file.write_text(text)
        return load(file, environ or {})

    def problems(self, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        """The problems without the directory's name."""
        with pytest.raises(SettingsError) as caught:
            self.load(text, environ)
        return [str(problem).replace(f"{self.directory}/", "") for problem in caught.value.problems]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A directory to write configurations to."""
    return Office(tmp_path)


def test_names_and_paths_are_completed(office: Office) -> None:
    """Relative paths are relative to the file, the spool's to the state directory."""
    settings = office.load(
        'state_dir = "state"\n'
        + SMTP
        + SMTP.replace("2525", "2526")
        + '[[listener]]\nkind = "milter"\naddress = "unix:run/milter.sock"\n'
        + UPSTREAM
        + '[[filter]]\nuse = "clamav"\n'
    )
    here = office.directory
    assert settings.state_dir == here / "state"
    assert settings.spool.url == f"sqlite:///{here}/state/spool.sqlite"
    assert [one.name for one in settings.listener] == ["smtp", "smtp-2", "milter"]
    assert settings.listener[2].address == f"unix:{here}/run/milter.sock"
    assert settings.filter[0].name == "clamav"
    assert settings.base_dir == here


def test_an_absolute_spool_stays_where_it_is(office: Office) -> None:
    """A fourth slash makes the path absolute."""
    settings = office.load(SMTP + UPSTREAM + '[spool]\nurl = "sqlite:////srv/spool.sqlite"\n')
    assert settings.spool.url == "sqlite:////srv/spool.sqlite"


def test_the_relay_is_called_as_the_machine_when_unsaid(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hostname defaults to the machine's full name."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "box.office.example")
    assert office.load(SMTP + UPSTREAM).hostname == "box.office.example"


def test_variables_are_read_from_the_environment(office: Office) -> None:
    """`${NAME}` stands for the variable, anywhere in a text and in plugins' options too."""
    settings = office.load(
        'hostname = "relay.${DOMAIN}"\n'
        + SMTP
        + UPSTREAM
        + '[[filter]]\nuse = "spf"\n[filter.options]\nlist = ["x-${DOMAIN}"]\n',
        {"DOMAIN": "office.example"},
    )
    assert settings.hostname == "relay.office.example"
    assert settings.filter[0].options == {"list": ["x-office.example"]}


def test_a_missing_variable_is_named(office: Office) -> None:
    """A variable that isn't set never becomes an empty text unnoticed."""
    found = office.problems('hostname = "${NOWHERE}"\n' + SMTP + UPSTREAM)
    assert found == ["filterrelay.toml:1: hostname: the environment has no variable NOWHERE"]


def test_a_password_comes_from_its_file(office: Office) -> None:
    """`password_file` is read without its final line end, and never shown."""
    (office.directory / "secret").write_text("hunter2 \n")
    settings = office.load(
        SMTP + UPSTREAM + 'tls = "required"\nusername = "office"\npassword_file = "secret"\n'
    )
    password = settings.upstream[0].password
    assert password is not None
    assert password.get_secret_value() == "hunter2 "
    assert "hunter2" not in repr(settings)


def test_a_login_goes_to_a_verified_host_by_default(office: Office) -> None:
    """Who says nothing of TLS gets what suits: what is best effort would tell a password."""
    assert office.load(SMTP + UPSTREAM).upstream[0].tls == "opportunistic"
    login = 'username = "office"\npassword = "x"\n'
    assert office.load(SMTP + UPSTREAM + login).upstream[0].tls == "required"
    assert office.load(SMTP + UPSTREAM + login + 'tls = "none"\n').upstream[0].tls == "none"


def test_a_password_file_that_is_not_there_is_named(office: Office) -> None:
    """The relay doesn't start without the password it was told of."""
    found = office.problems(
        SMTP + UPSTREAM + 'tls = "required"\nusername = "office"\npassword_file = "secret"\n'
    )
    assert found == [
        "filterrelay.toml:12: upstream[0].password_file: secret can't be read: "
        "No such file or directory"
    ]


def test_secrets_never_show_in_problems(office: Office) -> None:
    """A secret put in the wrong place is shown as the variable that held it."""
    text = SMTP + '[delivery]\nretry = "${TOKEN}"\n' + UPSTREAM
    found = office.problems(text, {"TOKEN": "hun'ter\\2"})
    assert found == [
        'filterrelay.toml:7: delivery.retry: "${TOKEN}" is no duration; '
        'write one like "30s", "15m", "4h" or "5d"'
    ]


def test_a_password_of_the_wrong_type_never_shows(office: Office) -> None:
    """Not even a password that isn't written as text."""
    found = office.problems(
        SMTP + UPSTREAM + 'tls = "required"\nusername = "office"\npassword = 271828\n'
    )
    assert found == ["filterrelay.toml:12: upstream[0].password: should be text in quotation marks"]


def test_all_problems_come_at_once(office: Office) -> None:
    """A file with several faults is mended in one go."""
    found = office.problems(
        'mesage_size = "1 MiB"\n[limits]\nrecipients = "many"\n'
        '[[listener]]\nkind = "smtp"\naddress = "x:1"\ntls = "startls"\n'
        '[[filter]]\nuse = "spf"\naplies_to = [\n"x"]\n[filter.optoins]\n'
        "[metrics]\nretry = 1\n"
    )
    assert found == [
        "filterrelay.toml:1: mesage_size: there is no such key here; "
        "did you mean message_size in [limits]?",
        "filterrelay.toml:3: limits.recipients: should be a whole number",
        "filterrelay.toml:7: listener[0].tls: should be 'none', 'starttls' or 'implicit'; "
        "did you mean starttls?",
        "filterrelay.toml:10: filter[0].aplies_to: there is no such key; did you mean applies_to?",
        "filterrelay.toml:12: filter[0].optoins: there is no such key; did you mean options?",
        "filterrelay.toml:14: metrics.retry: there is no such key here; "
        "did you mean retry in [delivery]?",
    ]


def test_a_pattern_that_can_match_nobody_has_its_line(office: Office) -> None:
    """A domain with a slip of the pen doesn't bounce mail that should have been taken."""
    found = office.problems(
        SMTP + 'relay_domains = ["office.example", "@shop.example"]\n' + UPSTREAM
    )
    assert found == [
        "filterrelay.toml:6: listener[0].relay_domains[1]: '@shop.example' is no address pattern, "
        "such as *@office.example: the address has nothing before the @"
    ]


def test_a_missing_key_is_shown_at_its_table(office: Office) -> None:
    """What is required and absent is asked for where it belongs."""
    assert office.problems('[[listener]]\nkind = "smtp"\n' + UPSTREAM) == [
        "filterrelay.toml:1: listener[0].address: is required"
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = = 2\n", 2), ("a = 1\n[b\n", 2), ('a = 1\n\nb = """x\n', 3)]
)
def test_a_syntax_error_has_its_line(office: Office, text: str, line: int) -> None:
    """TOML that isn't TOML is shown where it goes wrong."""
    (found,) = office.problems(text)
    assert found.startswith(f"filterrelay.toml:{line}: no valid TOML: ")


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """The operator reads which file was looked for."""
    with pytest.raises(SettingsError, match=r"absent\.toml: can't be read: No such file"):
        load(tmp_path / "absent.toml", {})


def test_a_file_in_another_encoding_is_said_so(tmp_path: Path) -> None:
    """TOML is UTF-8; Latin-1 is shown at its line."""
    (tmp_path / "f.toml").write_bytes(b'a = "x"\nb = "\xe4"\n')
    with pytest.raises(SettingsError, match=r"f\.toml:2: is not UTF-8 text"):
        load(tmp_path / "f.toml", {})


def test_a_file_without_listener_is_told_to_have_one(office: Office) -> None:
    """An appliance that listens nowhere serves nobody."""
    assert office.problems(UPSTREAM) == ["filterrelay.toml: listener: is required"]


def test_a_password_is_given_in_one_way_only(office: Office) -> None:
    """Which of two passwords was meant is not for the program to guess."""
    (office.directory / "secret").write_text("hunter2")
    found = office.problems(
        SMTP
        + UPSTREAM
        + 'tls = "required"\nusername = "a"\npassword = "b"\npassword_file = "secret"\n'
    )
    assert found == [
        "filterrelay.toml:13: upstream[0].password_file: give password or password_file, not both"
    ]


def test_a_name_for_a_name_server_is_refused_with_its_line(office: Office) -> None:
    """Whom should it ask for the server's address?"""
    found = office.problems('[dns]\nservers = [\n"resolver.example"]\n' + SMTP + UPSTREAM)
    assert found == [
        "filterrelay.toml:3: dns.servers[0]: 'resolver.example' is no IP address; "
        "a name server's name can't be asked for"
    ]


def test_mail_is_not_kept_in_memory(office: Office) -> None:
    """What was answered with 250 would be gone after a stop."""
    (found,) = office.problems(SMTP + UPSTREAM + '[spool]\nurl = "memory:"\n')
    assert found.startswith("filterrelay.toml:11: spool.url: must begin with sqlite:/// or ")


def test_a_faulty_section_hides_no_fault_of_another(office: Office) -> None:
    """The listener's faulty TLS, the password that isn't there, and the route to nowhere."""
    found = office.problems(
        SMTP
        + 'tls = "startls"\n'
        + UPSTREAM
        + 'username = "office"\npassword_file = "secret"\n[[route]]\nupstream = "partner"\n'
    )
    assert [problem.split(": ")[1] for problem in found] == [
        "listener[0].tls",
        "upstream[0].password_file",
        "route[0].upstream",
    ]


def test_nothing_is_missed_that_is_there_but_faulty(office: Office) -> None:
    """A faulty upstream is no missing one, nor a faulty listener an unknown one."""
    found = office.problems(
        SMTP + UPSTREAM + 'tls = "no"\n[[route]]\nupstream = "provider"\n'
        '[[filter]]\nuse = "spf"\napplies_to = ["smtp"]\n'
    )
    assert [problem.split(": ")[1] for problem in found] == ["upstream[0].tls"]
    found = office.problems(
        SMTP + 'tls = "no"\n' + UPSTREAM + '[[filter]]\nuse = "spf"\napplies_to = ["smtp"]\n'
    )
    assert [problem.split(": ")[1] for problem in found] == ["listener[0].tls"]


def test_what_is_right_can_be_looked_at_further(office: Office) -> None:
    """Whoever checks plugins gets the sections that are right by themselves."""
    with pytest.raises(SettingsError) as caught:
        office.load(SMTP + 'tls = "no"\n' + UPSTREAM + '[[filter]]\nuse = "spff"\n')
    valid = caught.value.valid
    assert valid is not None
    assert (valid.listener, valid.filter[0].use) == ((), "spff")

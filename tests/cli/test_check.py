"""`filterrelay check`: would it serve?"""

import getpass
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from filterrelay.cli.check import app
from filterrelay.cli.serve import checked_settings
from filterrelay.settings.problems import SettingsError
from filterrelay.supervisor.privileges import Account

CONFIGURATION = f"""user = "{getpass.getuser()}"
hostname = "relay.office.example"
state_dir = "state"
[metrics]
address = ""
[[upstream]]
name = "provider"
hosts = ["127.0.0.1:1"]
tls = "none"
[[listener]]
kind = "smtp"
address = "unix:smtp"
"""


class SmartHost(socketserver.StreamRequestHandler):
    """Greets, and answers whatever it is asked."""

    def handle(self) -> None:
        """One connection."""
        self.wfile.write(b"220 provider.example ESMTP\r\n")
        for line in self.rfile:
            self.wfile.write(b"250 ok\r\n")
            if line.upper().startswith(b"QUIT"):
                break


@pytest.fixture
def configuration() -> Iterator[str]:
    """A configuration that serves: its smart host is there."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SmartHost) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield CONFIGURATION.replace("127.0.0.1:1", f"127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()


def check(directory: Path, text: str, *options: str) -> Result:
    """What `filterrelay check` says of a configuration."""
    file = directory / "f.toml"
    file.write_text(text)
    return CliRunner().invoke(app, ["-c", str(file), *options])


def test_a_good_configuration_would_serve(tmp_path: Path, configuration: str) -> None:
    """Exit code 0, and a table that says what was looked at."""
    said = check(tmp_path, configuration)
    assert said.exit_code == 0
    assert "It would serve." in said.output


def test_a_good_configuration_is_told_as_json(tmp_path: Path, configuration: str) -> None:
    """One document."""
    told = json.loads(check(tmp_path, configuration, "--json").output)
    assert told["would_serve"] is True
    found = [(one["part"], one["state"]) for one in told["checks"]]
    assert found == [("file", "ok"), ("listener", "ok"), ("spool", "ok"), ("upstream", "ok")]


def test_a_bad_file_would_not_serve(tmp_path: Path) -> None:
    """Exit code 1, and each problem with its line."""
    said = check(tmp_path, CONFIGURATION + "tsl = 'none'\n")
    assert said.exit_code == 1
    assert "f.toml:13: listener[0].tsl: there is no such key; did you mean tls?" in said.output


def test_a_bad_option_of_a_plugin_has_its_line(tmp_path: Path) -> None:
    """As the core's own keys have."""
    text = CONFIGURATION + '[[filter]]\nuse = "clamav"\n[filter.options]\nsockt = "x"\n'
    told = json.loads(check(tmp_path, text, "--json").output)
    assert told["would_serve"] is False
    assert told["problems"] == [
        {
            "file": str(tmp_path / "f.toml"),
            "line": 16,
            "key": "filter[0].options.sockt",
            "text": "there is no such option; did you mean socket?",
        }
    ]


def test_a_warning_keeps_nobody_from_serving(tmp_path: Path) -> None:
    """A danger is shown, and the decision left to the operator."""
    told = json.loads(
        check(
            tmp_path,
            CONFIGURATION + 'relay_domains = ["*"]\n',
            "--json",
        ).output
    )
    states = {(one["part"], one["state"]): one["text"] for one in told["checks"]}
    assert "OPEN RELAY" in states["file", "warning"]


def test_a_smart_host_that_is_down_keeps_nobody_from_serving(tmp_path: Path) -> None:
    """Mail is accepted and waits: that is the promise. The last line says so."""
    said = check(tmp_path, CONFIGURATION)
    assert said.exit_code == 0
    assert "It would serve, but can't deliver now: provider. Mail would wait." in said.output
    told = json.loads(check(tmp_path, CONFIGURATION, "--json").output)
    assert (told["would_serve"], told["cannot_deliver_to"]) == (True, ["provider"])


def test_a_failed_check_would_not_serve(tmp_path: Path) -> None:
    """Exit code 1: here no key can be read."""
    key = '{ domain = "office.example", selector = "s1", key = "none.pem" }'
    said = check(
        tmp_path, f'{CONFIGURATION}[[signer]]\nuse = "dkim-sign"\noptions.keys = [{key}]\n'
    )
    assert said.exit_code == 1
    assert "It would not serve." in said.output


def test_a_daemon_that_is_down_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """Exit code 1 for what can't be judged; but whoever has to restart the relay may do so."""
    text = CONFIGURATION + f'[[filter]]\nuse = "clamav"\noptions.socket = "unix:{tmp_path}/none"\n'
    said = check(tmp_path, text)
    assert said.exit_code == 1
    assert "It would start, but put off or set aside mail that needs clamav." in said.output


def test_what_serve_would_refuse_would_not_serve(tmp_path: Path) -> None:
    """What this version can't do is said with its line, by both commands."""
    said = check(tmp_path, f'{CONFIGURATION}[spool]\nurl = "postgresql://db/mail"\n')
    problem = "f.toml:14: spool.url: PostgreSQL is not there yet"
    assert said.exit_code == 1
    assert problem in said.output
    with pytest.raises(SettingsError, match=re.escape(problem)):
        checked_settings(tmp_path / "f.toml")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """A wrong key hides neither an unknown plugin nor a wrong option nor what isn't there yet."""
    text = CONFIGURATION.replace('user = "', 'wrokers = 2\nuser = "', 1)
    text += '[spool]\nurl = "postgresql://db/mail"\n'
    text += '[[filter]]\nuse = "spff"\n[[signer]]\nuse = "dkim-sign"\n[signer.options]\n'
    text += 'keys = [\n{ domain = "a.example", selector = "s", key = "k" },\n'
    text += '{ domian = "b.example", selector = "s", key = "k" },\n]\n'
    told = json.loads(check(tmp_path, text, "--json").output)
    assert [(one["line"], one["key"]) for one in told["problems"]] == [
        (1, "wrokers"),
        (15, "spool.url"),
        (17, "filter[0].use"),
        (23, "signer[0].options.keys[1].domain"),
        (23, "signer[0].options.keys[1].domian"),
    ]
    assert told["problems"][-1]["text"] == "there is no such option; did you mean domain?"


def test_a_name_server_without_address_is_a_problem_of_the_file(tmp_path: Path) -> None:
    """With its line, as everything in the file."""
    text = CONFIGURATION + '[dns]\nservers = ["resolver.example"]\n'
    told = json.loads(check(tmp_path, text, "--json").output)
    assert [(one["line"], one["key"]) for one in told["problems"]] == [(14, "dns.servers[0]")]


def test_an_address_of_another_machine_would_not_serve(tmp_path: Path, configuration: str) -> None:
    """It is tried, before anything relies on it."""
    said = check(tmp_path, configuration.replace("unix:smtp", "192.0.2.1:2525"))
    assert said.exit_code == 1
    assert "192.0.2.1:2525: Cannot assign requested address" in " ".join(said.output.split())


def test_it_looks_with_the_eyes_of_the_user_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What root could read and the relay can't is found before it matters."""
    became: list[Account] = []
    account = Account("postmaster", 4711, 4712)
    privileges = "filterrelay.supervisor.privileges"
    monkeypatch.setattr(f"{privileges}.account_of", lambda _: account)
    monkeypatch.setattr("filterrelay.cli.servable.can_run", lambda *_: True)
    monkeypatch.setattr("filterrelay.cli.servable.account_of", lambda _: account)
    monkeypatch.setattr(f"{privileges}.hand_over", lambda settings, account: None)
    monkeypatch.setattr(f"{privileges}.drop_to", became.append)
    check(tmp_path, CONFIGURATION.replace(getpass.getuser(), "postmaster", 1))
    assert became == [account]


def test_what_root_alone_can_read_is_told(
    tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root serves with it; under systemd, where all of it is the relay's user, nothing starts."""
    secret = tmp_path / "provider.password"
    secret.write_text("geheim")
    with_login = configuration.replace(
        'tls = "none"', 'tls = "none"\nusername = "office"\npassword_file = "provider.password"'
    )
    monkeypatch.setattr("filterrelay.cli.check._become_the_relay", lambda _: secret.unlink())
    said = check(tmp_path, with_login)
    assert said.exit_code == 0
    assert "if root starts it, but not under systemd" in said.output
    secret.write_text("geheim")
    told = json.loads(check(tmp_path, with_login, "--json").output)
    (found,) = (one for one in told["checks"] if one["part"] == "user")
    assert (found["state"], found["name"]) == ("warning", getpass.getuser())
    assert f"upstream[0].password_file: {secret} can't be read" in found["text"]

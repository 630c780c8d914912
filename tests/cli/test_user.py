"""`filterrelay user`: accounts as an operator keeps them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import argon2
import pytest
from typer.testing import CliRunner, Result

from filterrelay.cli.common import Exit, Refused
from filterrelay.cli.user import NoSuchUser, NoUserFile, Place, app, edited
from filterrelay.mail.user_file import BadLogin, User, parse_user_file

CONFIGURATION = """
[[listener]]
kind = "milter"
address = "unix:milter.sock"
"""
AUTH = """
[[auth]]
use = "auth-file"
[auth.options]
path = "users"
"""


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A directory with a configuration whose user file isn't there yet."""
    (tmp_path / "filterrelay.toml").write_text(CONFIGURATION + AUTH)
    return tmp_path


def user(office: Path, *arguments: str, password: str = "") -> Result:
    """What `filterrelay user` says."""
    return CliRunner().invoke(
        app, [*arguments, "-c", str(office / "filterrelay.toml")], input=password
    )


def test_an_account_is_added_with_its_senders(office: Path) -> None:
    """The password comes from standard input and is kept as an argon2id hash."""
    said = user(
        office, "add", "alice", "--senders", "a@b.example,*@c.example", password="open sesame\n"
    )
    assert said.exit_code == 0
    account = parse_user_file((office / "users").read_text()).users["alice"]
    assert account.senders == ("a@b.example", "*@c.example")
    scheme, _, hashed = account.password.partition("}")
    assert scheme == "{ARGON2ID"
    assert hashed.startswith("$argon2id$")
    assert argon2.PasswordHasher().verify(hashed, "open sesame")


def test_only_the_owner_reads_the_file(office: Path) -> None:
    """Hashes are guessed at offline by whoever has them."""
    user(office, "add", "alice", password="open sesame\n")
    assert (office / "users").stat().st_mode & 0o777 == 0o600


def test_adding_again_changes_the_password_alone(office: Path) -> None:
    """Senders and a freeze stay as they were."""
    (office / "users").write_text("alice:{PLAIN}old:senders=a@b.example:frozen\n")
    assert "changed alice" in user(office, "add", "alice", password="new words\n").output
    account = parse_user_file((office / "users").read_text()).users["alice"]
    assert (account.senders, account.frozen) == (("a@b.example",), True)
    assert account.password.startswith("{ARGON2ID}")


def test_no_password_is_wrong_usage(office: Path) -> None:
    """An empty standard input makes no account with an empty password."""
    refused = user(office, "add", "alice").exception
    assert isinstance(refused, Refused)
    assert refused.code is Exit.USAGE
    assert not (office / "users").exists()


def test_a_short_password_is_warned_of(office: Path) -> None:
    """It is soon guessed, but whose it is has to know."""
    made = user(office, "add", "alice", password="1234567\n")
    assert made.exit_code == 0
    assert "fewer than 8 characters" in made.stderr
    assert "fewer" not in made.stdout


def test_help_says_where_the_password_comes_from(office: Path) -> None:
    """For scripts; -h is enough."""
    assert "standard input" in user(office, "add", "-h").output


def test_a_login_that_cannot_be_one_is_refused(office: Path) -> None:
    """Before a password is asked for."""
    assert isinstance(user(office, "add", "a:b").exception, BadLogin)


def test_senders_that_mean_nobody_are_refused(office: Path) -> None:
    """With a sentence, and before a password is asked for."""
    ended = user(office, "add", "alice", "--senders", "*@office.example,shop.").exception
    assert isinstance(ended, BadLogin)
    assert "'shop.' is no address pattern" in str(ended)
    assert not (office / "users").exists()


def test_an_account_is_frozen_and_thawed(office: Path) -> None:
    """Its password and senders are kept meanwhile."""
    (office / "users").write_text("alice:{PLAIN}x:senders=a@b.example\n")
    user(office, "freeze", "alice")
    assert (office / "users").read_text() == "alice:{PLAIN}x:senders=a@b.example:frozen\n"
    user(office, "thaw", "alice")
    assert (office / "users").read_text() == "alice:{PLAIN}x:senders=a@b.example\n"


def test_an_account_is_removed(office: Path) -> None:
    """And no other."""
    (office / "users").write_text("alice:{PLAIN}x\nbob:{PLAIN}y\n")
    assert user(office, "remove", "alice").exit_code == 0
    assert (office / "users").read_text() == "bob:{PLAIN}y\n"


@pytest.mark.parametrize("verb", ["remove", "freeze", "thaw"])
def test_an_unknown_account_is_said_so(office: Path, verb: str) -> None:
    """A mistyped login doesn't pass for a frozen one."""
    assert isinstance(user(office, verb, "nobody").exception, NoSuchUser)


def test_accounts_are_listed(office: Path) -> None:
    """For a person: one a line, without hashes."""
    (office / "users").write_text("alice:{PLAIN}x:senders=a@b.example\nbob:{PLAIN}y:frozen\n")
    assert user(office, "list").output == "alice  active  a@b.example\nbob    frozen\n"


def test_accounts_are_listed_as_json(office: Path) -> None:
    """For a program: one document."""
    (office / "users").write_text("alice:{PLAIN}x:senders=a@b.example\n")
    assert json.loads(user(office, "list", "--json").output) == [
        {"login": "alice", "senders": ["a@b.example"], "frozen": False}
    ]


def test_a_configuration_without_user_file_is_said_so(office: Path) -> None:
    """Nobody's account is written to a file that nothing reads."""
    (office / "filterrelay.toml").write_text(CONFIGURATION)
    assert isinstance(user(office, "list").exception, NoUserFile)


def test_two_editors_wait_for_each_other(office: Path) -> None:
    """What one adds isn't lost when the other writes."""
    adding = [sys.executable, "-m", "filterrelay", "user", "add", "bob"]
    with edited(Place(office / "users")) as edit:
        other = subprocess.Popen(
            adding, cwd=office, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert other.stdin is not None
        other.stdin.write("open sesame\n")
        other.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1)
        edit.users = edit.users.with_user(User("alice", "{PLAIN}x"))
    assert other.wait(20) == 0
    assert other.stdout is not None
    other.stdout.close()
    assert set(parse_user_file((office / "users").read_text()).users) == {"alice", "bob"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_file_keeps_its_owner(office: Path) -> None:
    """root's edit doesn't shut the relay out, which runs as another user."""
    (office / "users").write_text("alice:{PLAIN}x\n")
    os.chown(office / "users", 4711, 4712)
    user(office, "freeze", "alice")
    found = (office / "users").stat()
    assert (found.st_uid, found.st_gid) == (4711, 4712)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_new_file_belongs_to_the_relay(office: Path) -> None:
    """root makes it, and the user of the configuration has to read it."""
    file = office / "filterrelay.toml"
    file.write_text(f'user = "nobody"\n{file.read_text()}')
    assert user(office, "add", "alice", password="open sesame\n").exit_code == 0
    assert (office / "users").owner() == "nobody"
    assert (office / "users").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("verb", "done"),
    [("add", "changed"), ("freeze", "froze"), ("thaw", "thawed"), ("remove", "removed")],
)
def test_what_was_done_is_told_as_json_too(office: Path, verb: str, done: str) -> None:
    """One document for each subcommand."""
    (office / "users").write_text("alice:{PLAIN}x\n")
    said = user(office, verb, "alice", "--json", password="open sesame\n")
    assert json.loads(said.output) == {done: "alice", "file": str(office / "users")}

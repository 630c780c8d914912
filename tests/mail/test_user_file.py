"""The lines of the user file."""

from pathlib import Path

import pytest

from filterrelay.mail.user_file import (
    BadLogin,
    BadUserFile,
    User,
    UserFile,
    check_login,
    parse_senders,
    parse_user_file,
    read_user_file,
)

FILE = """\
# the office
alice:{ARGON2ID}$argon2id$x:senders=a@office.example,*@shop.example:frozen

bob:{SSHA}abc=:1000:1000::/home/bob::userdb_quota=1G
"""


def test_a_line_is_an_account() -> None:
    """The login, the hash, the senders, and whether it is frozen."""
    assert parse_user_file(FILE).users["alice"] == User(
        "alice", "{ARGON2ID}$argon2id$x", ("a@office.example", "*@shop.example"), frozen=True
    )


def test_a_file_is_written_as_it_was_read() -> None:
    """Comments, empty lines and the fields of other programs stay."""
    assert str(parse_user_file(FILE)) == FILE


def test_an_account_is_replaced_in_its_place() -> None:
    """The order of the file stays, and so does the comment."""
    users = parse_user_file(FILE).with_user(User("alice", "{PLAIN}x"))
    assert str(users).splitlines()[:2] == ["# the office", "alice:{PLAIN}x"]


def test_a_new_account_comes_last() -> None:
    """Below all others."""
    assert str(UserFile().with_user(User("a", "x")).with_user(User("b", "y"))) == "a:x\nb:y\n"


def test_an_account_is_taken_out() -> None:
    """And nothing else with it."""
    users = parse_user_file(FILE).without("bob")
    assert str(users) == FILE[: FILE.index("bob")]


def test_of_two_accounts_with_one_login_the_first_counts() -> None:
    """As programs that read the file from its top would have it."""
    assert parse_user_file("a:first\na:second\n").users["a"].password == "first"


@pytest.mark.parametrize("line", ["alice", "alice:", ":hash", " :hash"])
def test_a_line_that_is_no_account_is_named(line: str) -> None:
    """By its number, and without what stands in it."""
    with pytest.raises(BadUserFile, match=r"line 2 of the user file: there must be a login"):
        parse_user_file(f"# first\n{line}\n")


def test_a_hash_never_shows() -> None:
    """Not in a log, not in a traceback."""
    assert "secret" not in repr(parse_user_file("alice:{PLAIN}secret"))


@pytest.mark.parametrize("login", ["", "a:b", "a b", "a\n", "#a", "a\0"])
def test_a_login_that_would_break_the_file_is_refused(login: str) -> None:
    """Colons, blanks and line ends would make another account of it."""
    with pytest.raises(BadLogin):
        check_login(login)


def test_senders_are_written_with_commas() -> None:
    """Blanks around them don't count."""
    assert parse_senders(" a@b.example, *@c.example ,") == ("a@b.example", "*@c.example")


@pytest.mark.parametrize("senders", ["a:frozen", "a b"])
def test_senders_that_would_break_the_file_are_refused(senders: str) -> None:
    """A colon would end the field."""
    with pytest.raises(BadLogin):
        parse_senders(senders)


def test_senders_that_mean_nobody_are_refused() -> None:
    """The operator hears of a slip of the pen at once."""
    with pytest.raises(BadLogin, match="is no address pattern"):
        parse_senders("a@b.example,@shop.example")


def test_a_file_in_another_encoding_is_said_so(tmp_path: Path) -> None:
    """With the line, and nothing of what stands there."""
    file = tmp_path / "users"
    file.write_bytes(b"alice:{PLAIN}x\nb\xf6b:{PLAIN}y\n")
    with pytest.raises(BadUserFile, match="line 2 of the user file: it is not UTF-8 text"):
        read_user_file(file)

"""What the commands share."""

import grp
import json
import os
import pwd
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import typer

from filterrelay.cli.common import (
    Exit,
    JsonList,
    Refused,
    become_the_relay,
    console,
    fail,
    find_config,
    give_to,
    iso,
    print_json,
    program,
    refuse,
    run,
    safe,
    told,
)
from filterrelay.settings import Listener, Settings
from filterrelay.supervisor.privileges import Account


def test_times_are_in_utc() -> None:
    """Wherever the machine is, in whole seconds."""
    there = timezone(timedelta(hours=2))
    assert iso(datetime(2026, 1, 2, 3, 4, 5, 678, there)) == "2026-01-02T01:04:05Z"


def test_json_takes_what_commands_have(capsys: pytest.CaptureFixture[str]) -> None:
    """Times, paths and sets, and letters as they are."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    print_json({"at": moment, "path": Path("/x"), "names": {"b", "a"}, "text": "ä"})
    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-01-02T00:00:00Z",
        "path": "/x",
        "names": ["a", "b"],
        "text": "ä",
    }


def test_json_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of any kind are escaped, and so is what UTF-8 can't hold."""
    text = "a\x1b[31m\x9b1m\u202e\udcff\x7f"
    print_json({"text": text})
    shown = capsys.readouterr().out
    assert all(c.isprintable() for c in shown.replace("\n", ""))
    assert json.loads(shown) == {"text": text}


def test_nothing_commands_the_terminal() -> None:
    """Escape sequences in mail become blanks; lines stay lines."""
    assert safe("a\x1b[31m\nb\r\x07") == "a [31m\nb  "


def test_a_refusal_is_a_sentence_and_a_code() -> None:
    """The program prints it, as a sentence or as JSON."""
    with pytest.raises(Refused, match="there is no such thing") as ended:
        refuse("there is no such thing", Exit.USAGE)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("as_json", "out", "err"),
    [
        (False, "", "filterrelay: it is [31m so\n"),
        (True, '{\n  "error": "it is\\u001b[31m so"\n}\n', ""),
    ],
)
def test_a_failure_is_told_where_it_is_looked_for(
    capsys: pytest.CaptureFixture[str], as_json: bool, out: str, err: str
) -> None:
    """On standard error, so that output can be piped; scripts get their one document."""
    with pytest.raises(SystemExit) as ended:
        fail("it is\x1b[31m so", Exit.BAD, as_json=as_json)
    assert ended.value.code == 1
    assert capsys.readouterr() == (out, err)


@pytest.mark.parametrize(
    ("root", "more"),
    [(True, ""), (False, "; run it as root, or as the user that the relay runs as (filterrelay)")],
)
def test_what_the_system_refuses_is_told_with_the_files_name(
    monkeypatch: pytest.MonkeyPatch, root: bool, more: str
) -> None:
    """Not with the number that the system gives it; who is somebody else hears who may."""
    monkeypatch.setattr("filterrelay.cli.common.by_root", lambda: root)
    assert told(PermissionError(13, "Permission denied", "/x")) == f"/x: Permission denied{more}"


def test_without_any_configuration_the_places_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator learns where it was looked for, and how to get one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("filterrelay.cli.common.PLACES", (tmp_path / "none.toml",))
    with pytest.raises(typer.BadParameter, match=r"none\.toml; .*filterrelay init"):
        find_config(None)


def test_asynchronous_work_is_run_to_its_end() -> None:
    """And its result is given."""

    async def work() -> int:
        return 7

    assert run(work()) == 7


def test_what_root_writes_is_given_to_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing changes hands when there is nobody to give to."""
    given: list[object] = []
    monkeypatch.setattr("os.chown", lambda *arguments: given.append(arguments))
    give_to(tmp_path, None)
    assert given == []
    give_to(tmp_path, Account("relay", 4711, 4712))
    assert given == [(tmp_path, 4711, 4712)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_command_of_root_becomes_the_relay_with_its_groups(tmp_path: Path) -> None:
    """What the relay may read by a group, a command may, too; nothing of root's is left."""
    settings = Settings(state_dir=tmp_path, listener=(Listener(kind="smtp", address="[::1]:25"),))
    user = next(name for group in grp.getgrall() for name in group.gr_mem if name != "root")
    account = pwd.getpwnam(user)
    os.chown(tmp_path, account.pw_uid, account.pw_gid)
    pid = os.fork()
    if not pid:
        is_right = False
        try:
            become_the_relay(settings)
            groups = set(os.getgrouplist(user, account.pw_gid))
            is_right = (os.getuid(), set(os.getgroups())) == (account.pw_uid, groups)
        finally:
            os._exit(not is_right)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_program_is_told_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bare name only where the shell would find the same."""
    installed = tmp_path / "filterrelay"
    installed.touch(mode=0o755)
    for path, called, said in (
        (tmp_path, installed, "filterrelay"),
        (tmp_path / "other", installed, str(installed)),
        (tmp_path, ".venv/bin/filterrelay", ".venv/bin/filterrelay"),
        (tmp_path, "/x/filterrelay/__main__.py", f"{sys.executable} -m filterrelay"),
    ):
        monkeypatch.setenv("PATH", str(path))
        monkeypatch.setattr("sys.argv", [str(called), "demo"])
        assert program() == said


def test_piped_output_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    """What reads it has no width."""
    console().print("word " * 100)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("elements", [[], [1], [{"a": [1, 2]}, "b"]])
def test_a_list_is_printed_as_its_elements_come(
    capsys: pytest.CaptureFixture[str], elements: list[object]
) -> None:
    """As one document, the same that print_json prints."""
    with JsonList() as document:
        for element in elements:
            document.print(element)
    assert capsys.readouterr().out == json.dumps(elements, indent=2) + "\n"

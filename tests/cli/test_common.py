"""What the commands share."""

import grp
import json
import os
import pwd
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import typer

from filterrelay.cli.common import (
    Exit,
    become_the_relay,
    find_config,
    iso,
    print_json,
    refuse,
    run,
)
from filterrelay.settings import Listener, Settings


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


def test_a_refusal_is_a_sentence_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that output can be piped."""
    with pytest.raises(typer.Exit) as ended:
        refuse("there is no such thing", Exit.USAGE)
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "filterrelay: there is no such thing\n"


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

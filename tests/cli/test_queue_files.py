"""Queued mail as files, and back again."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from filterrelay.cli import queue_files
from filterrelay.cli.export_folder import ExportFolder
from filterrelay.cli.main import main
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import Deposit, SpoolFull

from .conftest import Run
from .stored_mail import ALICE, BOB, BODY, GTUBE, fill, in_spool, state_of


@pytest.fixture
def filled(configuration: Path) -> Path:
    """The configuration, with mail in its spool."""
    fill(configuration)
    return configuration


@pytest.fixture
def exported(filterrelay: Run, filled: Path) -> Path:
    """The folder that both messages were exported to."""
    ran = filterrelay("queue", "export", "--all", "--to", "out")
    assert (ran.code, ran.out) == (0, "exported: 2 messages\n"), ran.err
    return filled.parent / "out"


def test_a_message_is_written_byte_for_byte_with_its_envelope(exported: Path) -> None:
    """For nobody else to read."""
    assert sorted(path.name for path in exported.iterdir()) == [
        *(f"{ALICE}.eml", f"{ALICE}.json"),
        *(f"{BOB}.eml", f"{BOB}.json"),
    ]
    assert (exported / f"{ALICE}.eml").read_bytes() == BODY + GTUBE
    about = json.loads((exported / f"{ALICE}.json").read_text())
    assert about["sender"] == "alice@office.example"
    assert about["recipients"] == [{"address": "bob@partner.example", "notify": [], "orcpt": ""}]
    assert (exported / f"{ALICE}.eml").stat().st_mode & 0o077 == 0


def test_no_file_is_overwritten(filterrelay: Run, exported: Path) -> None:
    """What is missing is written; what is another is said."""
    (exported / f"{ALICE}.eml").write_text("mine")
    (exported / f"{BOB}.eml").unlink()
    done = filterrelay("queue", "export", "--all", "--to", "out", "--json")
    assert (done.code, done.json["exported"], [*done.json["refused"]]) == (1, 1, [ALICE])
    assert (exported / f"{ALICE}.eml").read_text() == "mine"
    assert (exported / f"{BOB}.eml").read_bytes() == BODY + GTUBE


def test_a_file_that_is_another_is_no_export(filterrelay: Run, exported: Path) -> None:
    """Cut short by a crash, or of an earlier day: who deletes the queue after it loses mail."""
    (exported / f"{ALICE}.eml").write_bytes(b"")
    (exported / f"{BOB}.json").unlink()
    (exported / f"{BOB}.json").symlink_to("/etc/hostname")
    ran = filterrelay("queue", "export", "--all", "--to", "out")
    assert (ran.code, ran.out) == (1, "exported: 0 messages, 2 refused\n")
    assert f"{ALICE}.eml is there already and is another" in ran.err
    assert f"{BOB}.json is there already and is another" in ran.err
    assert len([*exported.iterdir()]) == 4


def test_what_is_no_file_is_not_read(filterrelay: Run, exported: Path) -> None:
    """A pipe would be waited for, a device read for ever."""
    (exported / f"{ALICE}.eml").unlink()
    os.mkfifo(exported / f"{ALICE}.eml")
    ran = filterrelay("queue", "import", "out")
    assert ran.code == 1
    assert f"{ALICE}.eml: it is no file" in ran.err


def test_what_is_still_here_is_imported_no_second_time(filterrelay: Run, exported: Path) -> None:
    """An export is a copy."""
    assert filterrelay("queue", "import", str(exported), "--json").json == {
        "imported": 0,
        "known": 2,
        "refused": {},
    }


def test_exported_mail_comes_back_once(filterrelay: Run, filled: Path, exported: Path) -> None:
    """With its ID, its envelope, its age and its session; also when import is run twice."""
    before = filterrelay("queue", "show", ALICE, "--json").json
    assert filterrelay("queue", "delete", "--all").code == 0
    assert filterrelay("queue", "import", str(exported)).out == "imported: 2 messages\n"
    after = filterrelay("queue", "show", ALICE, "--json").json
    for same in ("id", "received", "sender", "size", "header"):
        assert after[same] == before[same]
    assert after["recipients"][0]["attempts"] == 0
    again = filterrelay("queue", "import", str(exported))
    assert again.out == "imported: 0 messages, 2 known already\n"
    assert "imported from" in filterrelay("trace", ALICE).out
    assert state_of(filled, ALICE) == "queued"


def test_a_message_without_an_envelope_is_given_one(filterrelay: Run, filled: Path) -> None:
    """Its line ends become CRLF; twice it is the same message, for somebody else another one."""
    file = filled.parent / "plain.eml"
    file.write_bytes("Subject: Grüße\n\nHello.\n".encode())
    asked = ("queue", "import", "plain.eml", "--sender", "ann@office.example", "--json")
    for to, imported in (("x@a.example", 1), ("x@a.example", 0), ("y@a.example", 1)):
        assert filterrelay(*asked, "--recipient", to).json["imported"] == imported
    listed = filterrelay("queue", "list", "--json", "--recipient", "a.example").json
    assert len(listed) == 2

    async def body(spool: Any) -> bytes:
        raw: bytes = await spool.body(listed[0]["id"])
        return raw

    assert in_spool(filled, body) == "Subject: Grüße\r\n\r\nHello.\r\n".encode()


def test_what_cannot_be_taken_is_said_and_the_rest_is_taken(
    filterrelay: Run, filled: Path, exported: Path
) -> None:
    """Each with its reason; the exit code is 1."""
    assert filterrelay("queue", "delete", "--all").code == 0
    about = exported / f"{ALICE}.json"
    document = json.loads(about.read_text())
    document["recipients"][0]["orcpt"] = "rfc822;x\r\nRCPT TO:<y@z.example>"
    about.write_text(json.dumps(document))
    (exported / "bare.eml").write_text("Subject: x\n\nx\n")
    ran = filterrelay("queue", "import", "out")
    assert ran.code == 1
    assert ran.out == "imported: 1 message, 2 refused\n"
    assert f"{ALICE}.eml: its .json: recipients.0.orcpt: " in ran.err
    assert "bare.eml: there is no bare.json; say --sender and --recipient" in ran.err
    assert [state_of(filled, id_) for id_ in (ALICE, BOB)] == ["", "queued"]


def test_what_is_wrong_with_all_files_is_not_said_of_each(
    filterrelay: Run, configuration: Path
) -> None:
    """Twenty times are enough for a person; a script gets them all."""
    many = configuration.parent / "many"
    many.mkdir()
    for number in range(25):
        (many / f"{number}.eml").write_text("Subject: x\n\nx\n")
    ran = filterrelay("queue", "import", "many")
    assert ran.out == "imported: 0 messages, 25 refused\n"
    assert len(ran.err.splitlines()) == 21
    assert ran.err.endswith("and 5 more; --json tells all of them\n")
    assert len(filterrelay("queue", "import", "many", "--json").json["refused"]) == 25


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "--to", "out"),
        ("export", "--all"),
        ("import", "nowhere.eml"),
        ("import", "out", "--sender", "a@x.example"),
        ("import", "out", "--recipient", "x@x.example", "--sender", "a b"),
    ],
)
def test_wrong_usage_is_exit_code_2(filterrelay: Run, arguments: tuple[str, ...]) -> None:
    """Nothing is written, and nothing is taken."""
    assert filterrelay("queue", *arguments).code == 2


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str, str]:
    """Exit code, output and error output of the command, run within this process."""
    with pytest.raises(SystemExit) as ended:
        main(["queue", *arguments])
    return ended.value.code, *capsys.readouterr()


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes each message durable alone."""
    monkeypatch.setattr(queue_files, "_MOST_WRITTEN", 1)
    monkeypatch.setattr(queue_files, "_MOST_COMMITTED", 1)


def test_an_export_stopped_by_ctrl_c_goes_on_where_it_was(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it says is exported, is."""
    one_at_a_time(monkeypatch)
    publish = ExportFolder.publish

    def pressed(folder: ExportFolder, name: str, content: bytes) -> None:
        if name == f"{ALICE}.json":
            signal.raise_signal(signal.SIGINT)
        publish(folder, name, content)

    monkeypatch.setattr(ExportFolder, "publish", pressed)
    out = filled.parent / "out"
    ask = ("export", "--all", "--to", str(out), "-c", str(filled))
    said = "exported: 1 message, then stopped by Ctrl-C\n"
    assert run_here(capsys, *ask) == (130, said, "")
    assert sorted(path.name for path in out.iterdir()) == [f"{ALICE}.eml", f"{ALICE}.json"]
    assert run_here(capsys, *ask) == (0, "exported: 1 message, 1 there already\n", "")


def test_an_import_stopped_by_ctrl_c_goes_on_where_it_was(
    filled: Path,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What it says is imported, is, and nothing comes twice."""
    one_at_a_time(monkeypatch)
    assert run_here(capsys, "delete", "--all", "-c", str(filled))[0] == 0
    commit = SqliteSpool.commit

    async def pressed(spool: SqliteSpool, deposit: Deposit) -> None:
        if deposit.message.id == ALICE:
            signal.raise_signal(signal.SIGINT)
        await commit(spool, deposit)

    monkeypatch.setattr(SqliteSpool, "commit", pressed)
    ask = ("import", str(exported), "-c", str(filled), "--json")
    code, out, _ = run_here(capsys, *ask)
    done = {"imported": 1, "known": 0, "refused": {}, "stopped": True}
    assert (code, json.loads(out)) == (130, done)
    assert run_here(capsys, *ask[:-1]) == (0, "imported: 1 message, 1 known already\n", "")


def test_an_import_that_fails_halfway_says_what_it_took(
    filled: Path,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of messages committed together, too; the next one takes the rest."""
    assert run_here(capsys, "delete", "--all", "-c", str(filled))[0] == 0
    commit = SqliteSpool.commit

    async def full(spool: SqliteSpool, deposit: Deposit) -> None:
        if deposit.message.id == BOB:
            raise SpoolFull(0)
        await commit(spool, deposit)

    ask = ("import", str(exported), "-c", str(filled))
    with monkeypatch.context() as changed:
        changed.setattr(SqliteSpool, "commit", full)
        code, out, err = run_here(capsys, *ask)
    assert (code, out) == (1, "imported: 1 message\n")
    assert (
        err
        == "filterrelay: not all: The spool refuses new messages until space is freed (free=0)\n"
    )
    assert run_here(capsys, *ask) == (0, "imported: 1 message, 1 known already\n", "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for one message of two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={3 * os.sysconf('SC_PAGESIZE')}",
        "none",
        str(disk),
    ]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk of its own: {done.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_keeps_what_was_exported_and_nothing_half_written(
    filled: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said, with the folder, and the exit code is 1."""
    one_at_a_time(monkeypatch)
    code, out, err = run_here(capsys, "export", "--all", "--to", str(small_disk), "-c", str(filled))
    assert (code, out) == (1, "exported: 1 message\n")
    assert err == f"filterrelay: not all: {small_disk}: No space left on device\n"
    assert sorted(path.name for path in small_disk.iterdir()) == [f"{ALICE}.eml", f"{ALICE}.json"]
    assert (small_disk / f"{ALICE}.eml").read_bytes() == BODY + GTUBE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_hears_that_the_relay_may_not_write_there(filterrelay: Run, filled: Path) -> None:
    """Not that it should be root."""
    with TemporaryDirectory() as public:
        folder = Path(public)
        shutil.copytree(filled.parent, folder, dirs_exist_ok=True)
        folder.chmod(0o711)
        for path in ((state := folder / "state"), *state.rglob("*")):
            os.chown(path, 65534, 65534)
        mine = folder / "mine"
        mine.mkdir()
        ask = ("export", "--all", "--to", str(mine), "-c", str(folder / filled.name))
        ran = filterrelay("queue", *ask)
    assert (ran.code, ran.out) == (1, "exported: 0 messages\n"), ran.err
    assert ran.err.endswith(f": Permission denied: user nobody can't write to {mine}\n")

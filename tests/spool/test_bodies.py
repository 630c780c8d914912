"""Body files: durable before they are named, and never confused."""

import errno
import os
from pathlib import Path

import pytest

from filterrelay.spool.bodies import BodyFiles


@pytest.fixture
def bodies(tmp_path: Path) -> BodyFiles:
    """An open directory of bodies."""
    files = BodyFiles(tmp_path / "spool.bodies")
    files.open()
    return files


def test_a_body_reads_as_written(bodies: BodyFiles) -> None:
    """The bytes come back, also when the kernel takes them in pieces."""
    body = os.urandom(3 * 1024 * 1024)
    assert bodies.read(bodies.write("M1", body)) == body


def test_two_bodies_of_one_message_have_two_names(bodies: BodyFiles) -> None:
    """The new bytes of a message don't overwrite the old ones before the row says so."""
    old, new = bodies.write("M1", b"old"), bodies.write("M1", b"new")
    assert (bodies.read(old), bodies.read(new)) == (b"old", b"new")


@pytest.mark.parametrize("message_id", ["../../etc/passwd", ".", "..", "a/b", "ü"])
def test_no_id_leads_out_of_the_directory(
    bodies: BodyFiles, tmp_path: Path, message_id: str
) -> None:
    """Whatever an ID looks like, its body lies where bodies lie, and is found again."""
    name = bodies.write(message_id, b"x")
    assert (tmp_path / "spool.bodies" / name).resolve().parent.parent == tmp_path / "spool.bodies"
    assert list(bodies.older_than(float("inf"))) == [(name, message_id)]


def test_a_removed_body_is_gone(bodies: BodyFiles) -> None:
    """Removing is final, and doing it twice no error."""
    name = bodies.write("M1", b"x")
    bodies.remove([name])
    bodies.remove([name])
    with pytest.raises(FileNotFoundError):
        bodies.read(name)


def test_only_old_files_are_listed(bodies: BodyFiles) -> None:
    """A body that is being written now doesn't count as left over."""
    bodies.write("M1", b"x")
    assert list(bodies.older_than(0)) == []


def test_a_file_that_goes_during_the_listing_is_passed_over(
    bodies: BodyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mail is delivered while the left-over files are looked for."""
    gone, stays = bodies.write("GONE", b"x"), bodies.write("STAYS", b"x")
    stat = Path.stat

    def delivered_meanwhile(path: Path, **how: bool) -> os.stat_result:
        if path.name in gone:
            raise FileNotFoundError
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", delivered_meanwhile)
    assert list(bodies.older_than(float("inf"))) == [(stays, "STAYS")]


def test_a_body_that_doesnt_fit_leaves_nothing(
    bodies: BodyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk isn't filled further by half a message."""

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        bodies.write("M1", b"x")
    assert list(bodies.older_than(float("inf"))) == []


def test_the_directory_is_synced_after_the_file(
    bodies: BodyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes first, then the name: after a power cut no name stands for missing bytes."""
    synced: list[str] = []

    def sync(file: int) -> None:
        synced.append("directory" if Path(f"/proc/self/fd/{file}").is_dir() else "file")

    monkeypatch.setattr(os, "fsync", sync)
    bodies.write("M1", b"x")
    assert synced == ["file", "directory"]

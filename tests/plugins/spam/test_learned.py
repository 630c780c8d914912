"""The file of what was learned: whole or not at all."""

import os
from array import array
from pathlib import Path

import pytest
from filterrelay_plugins.spam.learned import DamagedFile, Learned, read, stamp, write

LEARNED = Learned(
    *(2, 3, array("I", [7, 0xFFFFFFFF]), array("I", [2, 0]), array("I", [1, 70_000])),
    *(array("Q", [2**63 + 1, 5]), array("Q", [9])),
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Counts and digests survive a restart."""
    write(tmp_path / "learned", LEARNED)
    assert read(tmp_path / "learned") == LEARNED
    assert list(LEARNED.entries()) == [(7, 2, 1), (0xFFFFFFFF, 0, 70_000)]


def test_no_file_is_no_knowledge(tmp_path: Path) -> None:
    """A fresh installation isn't an error."""
    assert read(tmp_path / "learned") == Learned()
    assert stamp(tmp_path / "learned") is None


@pytest.mark.parametrize("cut", [0, 5, 27, 60, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    """Half a file is none."""
    path = tmp_path / "learned"
    write(path, LEARNED)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedFile):
        read(path)


def test_a_changed_bit_is_noticed(tmp_path: Path) -> None:
    """The disk may lie."""
    path = tmp_path / "learned"
    write(path, LEARNED)
    octets = bytearray(path.read_bytes())
    octets[40] ^= 1
    path.write_bytes(octets)
    with pytest.raises(DamagedFile, match="changed"):
        read(path)


def test_another_versions_file_is_named_as_such(tmp_path: Path) -> None:
    """The operator learns what to do, not what a struct is."""
    path = tmp_path / "learned"
    write(path, LEARNED)
    path.write_bytes(path.read_bytes().replace(b"FRSPAM01", b"FRSPAM99"))
    with pytest.raises(DamagedFile, match="FRSPAM99"):
        read(path)


def test_a_folder_in_its_place_is_an_error_with_a_name(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(DamagedFile, match="irectory"):
        read(tmp_path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk loses nothing, and leaves nothing lying about."""
    path = tmp_path / "learned"
    write(path, LEARNED)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, Learned())
    assert read(path) == LEARNED
    assert [file.name for file in tmp_path.iterdir()] == ["learned"]


def test_replacing_the_file_changes_its_stamp(tmp_path: Path) -> None:
    """So a running service notices, even within the clock's resolution."""
    path = tmp_path / "learned"
    write(path, LEARNED)
    before = stamp(path)
    write(path, LEARNED)
    assert stamp(path) != before


def test_others_can_not_read_it(tmp_path: Path) -> None:
    """It tells what mail is about."""
    write(tmp_path / "learned", LEARNED)
    assert (tmp_path / "learned").stat().st_mode & 0o777 == 0o640

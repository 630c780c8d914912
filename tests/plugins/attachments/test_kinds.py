"""What files are by their content."""

import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from filterrelay_plugins.attachments.kinds import (
    has_ole_macros,
    holds_zip,
    is_eicar,
    kind_of,
)

from tests.acceptance.peers.clamd import EICAR


def test_the_program_that_runs_this_is_one() -> None:
    """The interpreter itself, an ELF file."""
    with Path(sys.executable).resolve().open("rb") as program:
        assert kind_of(program.read(512)) == "application/x-elf"


def test_a_windows_program_is_known_by_its_header() -> None:
    """`MZ`, and what it points to."""
    header = b"MZ" + b"\x90\x00" * 29 + (0x80).to_bytes(4, "little")
    assert kind_of(header.ljust(0x80, b"\x90") + b"PE\0\0") == "application/x-dosexec"


def test_text_that_begins_with_mz_is_no_program() -> None:
    """A letter from Mainz is one."""
    assert kind_of(b"MZ is the number plate of Mainz. " * 10) == ""


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b"x", mtime=0), "application/gzip"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\0" * 0x8001 + b"CD001", "application/x-iso9660-image"),
        (b"\0" * 257 + b"ustar\0", "application/x-tar"),
        (b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
        (b"Rar!\x1a\x07\x01\0", "application/x-rar"),
        (b"Dear all,\n", ""),
        (b"", ""),
    ],
)
def test_a_kind_is_told_by_content(content: bytes, kind: str) -> None:
    """The marks that each format puts in its files."""
    assert kind_of(content) == kind


def test_a_tar_of_the_real_program_is_known(tmp_path: Path) -> None:
    """Not only Python's own."""
    (tmp_path / "a").write_text("x")
    made = subprocess.run(["tar", "c", "a"], cwd=tmp_path, check=True, capture_output=True)
    assert kind_of(made.stdout) == "application/x-tar"


def test_a_tar_without_a_mark_is_known_by_its_checksum() -> None:
    """As they were before 1988, and as they still may be."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    header = bytearray(made.getvalue()[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert kind_of(bytes(header)) == "application/x-tar"


def test_eicar_is_known_with_blanks_behind_it() -> None:
    """Up to 128 octets, as its specification says."""
    assert is_eicar(EICAR)
    assert is_eicar(EICAR + b"\r\n")
    assert is_eicar(EICAR + b" " * 60)


def test_what_only_quotes_eicar_is_not_eicar() -> None:
    """A text about it, or a longer file."""
    assert not is_eicar(b"See: " + EICAR)
    assert not is_eicar(EICAR + b" " * 61)
    assert not is_eicar(EICAR[:-1] + b"!")


def test_a_zip_in_something_else_is_seen() -> None:
    """Self-extracting archives have one behind a program; some programs find it anywhere."""
    end = b"PK\x05\x06" + b"\0" * 18
    assert holds_zip(b"MZ" + b"x" * 1000 + end)
    assert holds_zip(b"x" * 1000 + end + b"x" * 70_000)
    assert not holds_zip(b"PK" * 1000)


def test_ole_macros_are_known_by_their_storage() -> None:
    """The storage `_VBA_PROJECT` (MS-OVBA section 2.2), in UTF-16 as directories have it."""
    assert has_ole_macros(b"\0" * 100 + "_VBA_PROJECT".encode("utf-16-le"))
    assert not has_ole_macros(b"_VBA_PROJECT")

"""Tar archives, honest and hostile."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from filterrelay_plugins.attachments.tars import BLOCK, Tar
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.plugin.testing import within_cpu_budget

LONG = "very/" * 50 + "ä.txt"


def tarred(*names: str, kind: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of files that hold their names."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=kind) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            archive.addfile(info, io.BytesIO(name.encode()))
    return made.getvalue()


def files(content: bytes) -> tuple[dict[str, bytes], bool]:
    """The members' contents, and whether there is damage."""
    archive = Tar(content)
    found = {member.name: content[member.start : member.end] for member in archive}
    return found, archive.damaged


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_format_is_read(kind: int) -> None:
    """Long names and other letters too, as far as the format has them."""
    names = ("a", "b/c.txt", *((LONG,) if kind != tarfile.USTAR_FORMAT else ("d/" * 60 + "e",)))
    assert files(tarred(*names, kind=kind)) == ({name: name.encode() for name in names}, False)


def test_an_archive_of_the_real_program_is_read(tmp_path: Path) -> None:
    """With directories, links and a sparse file."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("hello")
    (tmp_path / "link").symlink_to("d/a")
    with (tmp_path / "sparse").open("wb") as sparse:
        for place in range(10):
            sparse.seek(place * 1_000_000)
            sparse.write(b"x" * 4096)
    made = subprocess.run(
        ["tar", "cS", "sparse", "d", "link"], cwd=tmp_path, check=True, capture_output=True
    )
    found, damaged = files(made.stdout)
    assert (set(found), damaged) == ({"sparse", "d/a"}, False)
    assert found["d/a"] == b"hello"


def test_signed_checksums_are_known() -> None:
    """Sun's tar wrote them for names with other letters."""
    whole = bytearray(tarred("ä", kind=tarfile.USTAR_FORMAT))
    checksum = int(whole[148:154], 8) - 0x100 * 2
    whole[148:154] = b"%06o" % checksum
    assert files(bytes(whole)) == ({"ä": "ä".encode()}, False)


def test_what_stands_between_members_hides_none() -> None:
    """GNU tar skips to the next header, and so do others."""
    first, second = tarred("a")[: 2 * BLOCK], tarred("b")
    assert files(first + b"x" * 3 * BLOCK + second) == ({"a": b"a", "b": b"b"}, True)


def test_an_archive_behind_an_archive_is_read() -> None:
    """As `tar --ignore-zeros` does."""
    assert files(tarred("a") + tarred("b")) == ({"a": b"a", "b": b"b"}, False)


def test_what_stands_behind_the_end_is_kept_apart() -> None:
    """It may be a file of another kind."""
    archive = Tar(tarred("a") + b"other")
    assert len(list(archive)) == 1
    assert archive.rest == b"other"


def test_a_member_cut_off_is_damage() -> None:
    """What there is of it counts."""
    whole = tarred("a" * 50)
    assert files(whole[: BLOCK + 10]) == ({"a" * 50: b"a" * 10}, True)


def test_records_of_digits_cost_little() -> None:
    """They once kept Python's tarfile busy for hours (CVE-2024-6232)."""
    header = bytearray(tarred("x", kind=tarfile.USTAR_FORMAT)[:BLOCK])
    record = b"1" * 10_000_000
    header[124:136] = b"%011o\0" % len(record)
    header[156:157] = b"x"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with within_cpu_budget(200):
        found, damaged = files(bytes(header) + record + bytes(-len(record) % BLOCK) + tarred("a"))
    assert (found, damaged) == ({"a": b"a"}, True)


def test_blocks_of_nothing_cost_little() -> None:
    """Neither zeros nor what is no header."""
    with within_cpu_budget(500):
        files(tarred("a")[: 2 * BLOCK] + b"\0" * 16_000_000 + b"0000000" * 2_000_000)


@given(st.integers(0, 1536), st.binary(max_size=600))
def test_no_octets_make_it_fail(at: int, octets: bytes) -> None:
    """Whatever is changed."""
    whole = tarred("a" * 200, kind=tarfile.PAX_FORMAT)
    files(whole[:at] + octets + whole[at + len(octets) :])

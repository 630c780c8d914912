"""ZIP archives as one program or another would read them."""

import io
import struct
import zipfile
from typing import Any

import pytest
from filterrelay_plugins.attachments.zips import TooManyEntries, Zip
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.plugin.testing import within_cpu_budget

from .test_packed import everything


def zipped(*names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of files that hold their names, ten times."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name in names:
            archive.writestr(name, name * 10)
    return made.getvalue()


class Streamed(io.RawIOBase):
    """A file in which nobody can go back."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, octets: Any, /) -> int:
        return self._file.write(octets)


def read(content: bytes) -> tuple[dict[str, bytes | None], bool]:
    """The entries' contents by their first names, and whether it is complete."""
    archive = Zip(content, 100)
    found = {one.names[0]: everything(one.stream) if one.stream else None for one in archive}
    return found, archive.complete


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_each_usual_method_is_unpacked(method: int) -> None:
    """Others are rare."""
    content = zipped("a", "ä/b", method=method)
    assert read(content) == ({"a": b"a" * 10, "ä/b": "ä/b".encode() * 10}, True)


def test_a_method_that_nobody_uses_has_a_name_only() -> None:
    """LZMA, for one."""
    assert read(zipped("a", method=zipfile.ZIP_LZMA)) == ({"a": None}, True)


def test_archives_behind_each_other_are_all_read() -> None:
    """Programs differ over which one counts."""
    content = b"before" + zipped("a") + b"between" + zipped("b") + b"behind" * 20_000
    assert read(content) == ({"a": b"a" * 10, "b": b"b" * 10}, True)


def test_a_file_that_no_directory_lists_is_read() -> None:
    """Programs that read a stream see it."""
    content = zipped("a", "b")
    directory = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", directory + 4)
    end = bytearray(content[content.index(b"PK\x05\x06") :])
    end[8:12] = b"\1\0\1\0"
    end[12:16] = struct.pack("<I", second - directory)
    assert read(content[:second] + bytes(end)) == ({"a": b"a" * 10, "b": b"b" * 10}, True)


def test_both_names_of_a_file_are_known() -> None:
    """The header before it and the directory may call it differently."""
    content = zipped("a.txt").replace(b"a.txt", b"a.exe", 1)
    (entry,) = Zip(content, 100)
    assert entry.names == ("a.txt", "a.exe")


def test_a_name_that_ends_at_a_nul_is_known() -> None:
    """C programs stop there."""
    (entry,) = Zip(zipped("a.js_.txt").replace(b"a.js_.txt", b"a.js\0.txt"), 100)
    assert "a.js" in entry.names


def test_a_wrong_checksum_loses_nothing() -> None:
    """Some programs don't look at it."""
    content = bytearray(zipped("a"))
    content[14:18] = b"\0\0\0\0"
    assert read(bytes(content)) == ({"a": b"a" * 10}, True)


def test_header_and_directory_may_contradict_each_other() -> None:
    """Encrypted in the one and not in the other."""
    content = bytearray(zipped("a"))
    content[6] |= 1
    (entry,) = Zip(bytes(content), 100)
    assert (entry.contradictory, entry.encrypted) == (True, False)
    assert entry.stream is not None


def test_a_file_within_a_stored_file_is_read_when_it_is_listed() -> None:
    """Two entries may share octets."""
    inner = zipped("b")
    inner = inner[: inner.index(b"PK\x01\x02")]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a", inner)
        archive.writestr("c", b"c")
    content = made.getvalue().replace(
        struct.pack("<I", 31 + len(inner)) + b"c", struct.pack("<I", 31) + b"c"
    )
    assert read(content)[0].keys() == {"a", "c"}
    assert {entry.names for entry in Zip(content, 100)} >= {("c", "b")}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("level", [None, 0, 9])
def test_nested_archives_stay_whole(level: int | None, streamed: bool) -> None:
    """Their files are theirs, also when packing changes nothing and sizes stand behind."""
    made = io.BytesIO()
    method = zipfile.ZIP_STORED if level is None else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(Streamed(made) if streamed else made, "w", method, True, level) as archive:
        archive.writestr("inner.zip", zipped("a", "b"))
        archive.writestr("c", b"c")
    assert read(made.getvalue())[0].keys() == {"inner.zip", "c"}
    assert read(made.getvalue())[1]


@pytest.mark.parametrize("what", ["headers", "directory"])
def test_too_many_entries_are_refused_whatever_the_end_says(what: str) -> None:
    """A count can lie; a zip64 record may say another one."""
    content = zipped(*(str(number) for number in range(300)))
    end = content.index(b"PK\x05\x06")
    if what == "headers":
        content = content[: content.index(b"PK\x01\x02")]
    else:
        content = content[:end] + content[end : end + 8] + b"\1\0\1\0" + content[end + 12 :]
    with pytest.raises(TooManyEntries):
        Zip(content, 100)


def test_a_zip64_directory_is_found() -> None:
    """Its end says where, the usual end says only that it is elsewhere."""
    content = zipped("a")
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, end - start, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    usual = b"PK\x05\x06" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"
    assert read(content[:end] + record + locator + usual) == ({"a": b"a" * 10}, True)


@pytest.mark.parametrize("mark", [b"PK\x05\x06", b"PK\x03\x04", b"PK\x01\x02", b"PK\x06\x06"])
def test_marks_of_zip_without_archives_cost_little(mark: bytes) -> None:
    """Millions of them."""
    with within_cpu_budget(1000):
        try:
            read(mark * 2_000_000)
        except TooManyEntries:
            return


@given(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4)), max_size=6))
def test_no_octets_make_it_fail(changes: list[tuple[int, bytes]]) -> None:
    """Whatever is changed."""
    content = bytearray(zipped("a", "b"))
    for at, octets in changes:
        content[at : at + len(octets)] = octets
    read(bytes(content))

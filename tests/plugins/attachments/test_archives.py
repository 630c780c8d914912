"""Looking into archives, honest and hostile."""

import bz2
import gzip
import io
import itertools
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from filterrelay_plugins.attachments.archives import Inspection, Objection, Rules
from filterrelay_plugins.attachments.kinds import EXECUTABLE
from filterrelay_plugins.attachments.names import DANGEROUS
from hypothesis import given, settings
from hypothesis import strategies as st

from filterrelay.plugin import Part
from tests.acceptance.peers.clamd import EICAR

PROGRAM = b"MZ" + b"\0" * 100
RULES = Rules(
    endings=DANGEROUS,
    kinds=frozenset(EXECUTABLE),
    hashes=frozenset(),
    depth=6,
    members=100,
    octets=1_000_000,
)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def halves(content: bytes) -> tuple[bytes, bytes]:
    """The same in two pieces."""
    return content[:40], content[40:]


def objections(
    name: str, content: bytes, rules: Rules = RULES, time_left: float = 1.0
) -> list[Objection]:
    """What there is to object to in a file."""
    inspection = Inspection(rules, lambda: time_left)
    part = Part(
        "application/octet-stream", name, "", "", "", 0, content, 0, len(content), names=(name,)
    )
    inspection.inspect(part)
    return inspection.objections


def kinds(name: str, content: bytes) -> set[str]:
    """The kinds of objections."""
    return {one.kind for one in objections(name, content)}


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "x.zip": lambda content: zipped({"inner.bin": content}),
    "x.tar": lambda content: tarred({"inner.bin": content}),
    "x.gz": gzip.compress,
    "x.bz2": bz2.compress,
    "x.xz": lzma.compress,
    "x.tgz": lambda content: gzip.compress(tarred({"inner.bin": content})),
}


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(PACKERS, PACKERS)))
def test_a_virus_is_found_in_archives_in_archives(outer: str, inner: str) -> None:
    """Each kind of archive in each other."""
    packed = PACKERS[outer](PACKERS[inner](EICAR))
    assert kinds("file", packed) == {"virus"}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_program_is_found_whatever_it_is_called(packer: str) -> None:
    """By its content, in each kind of archive."""
    (found,) = objections("file", PACKERS[packer](PROGRAM))
    assert (found.kind, found.why) == (
        "blocked",
        "it is application/x-dosexec, which is not accepted",
    )


def test_a_name_in_an_archive_counts_as_outside() -> None:
    """And the objection tells the way to it."""
    (found,) = objections("order.zip", zipped({"docs/a.txt": b"x", "docs/run.vbs": b"x"}))
    assert found == Objection("blocked", "order.zip/docs/run.vbs", ".vbs files are not accepted")


@pytest.mark.parametrize("packer", PACKERS)
def test_an_honest_archive_is_let_through(packer: str) -> None:
    """Text in it is no objection."""
    assert kinds("file", PACKERS[packer](b"Minutes of the meeting\n" * 100)) == set()


@pytest.mark.parametrize(
    "member", ["word/vbaProject.bin", "xl/macrosheets/sheet1.xml", "Basic/Standard/Module1.xml"]
)
def test_macros_are_found_in_office_documents(member: str) -> None:
    """Of Word and Excel, of old Excel, of LibreOffice; once a document."""
    (found,) = objections("a.docx", zipped({"content.xml": b"<x/>", member: b"macro"}))
    assert (found.kind, found.file) == ("macros", "a.docx")


def test_macros_are_found_in_old_office_documents() -> None:
    """Those from before 2007 are OLE files."""
    document = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "_VBA_PROJECT".encode("utf-16-le")
    )
    assert kinds("a.doc", document) == {"macros"}
    assert kinds("a.zip", zipped({"a.doc": document})) == {"macros"}


def test_an_encrypted_member_is_noted_and_its_name_still_counts() -> None:
    """ZIP hides contents, not names."""
    plain = zipped({"secret.exe": b"x" * 10})
    encrypted = bytearray(plain)
    encrypted[6] |= 1  # the general purpose flags in the local header …
    encrypted[plain.index(b"PK\x01\x02") + 8] |= 1  # … and in the directory
    assert kinds("a.zip", bytes(encrypted)) == {"encrypted", "blocked"}


def test_an_archive_that_cannot_be_opened_here_is_noted() -> None:
    """7z and RAR."""
    assert kinds("a.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 100) == {"unsupported"}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_truncated_archive_is_noted(packer: str) -> None:
    """It is no reason to fail."""
    content = bytes(n * 7919 % 251 for n in range(5000))
    packed = PACKERS[packer](content)
    assert kinds("file", packed[: len(packed) // 2]) == {"unreadable"}


def test_a_member_without_a_name_is_a_file() -> None:
    """Damaged archives have such, and what is in them counts."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        nameless = zipfile.ZipInfo()
        nameless.filename = ""
        archive.writestr(nameless, EICAR)
    assert kinds("a.zip", made.getvalue()) == {"virus"}


def test_a_zip_behind_something_else_is_looked_into() -> None:
    """A picture with an archive at its end."""
    assert kinds("a.png", b"\x89PNG\r\n" + zipped({"run.exe": b"x"})) == {"blocked"}


def test_what_only_seems_to_end_as_zip_is_no_objection() -> None:
    """The mark may stand in any file."""
    end = b"PK\x05\x06" + b"\0" * 4 + b"\1\0\1\0" + b"\x2e\0\0\0" * 2
    assert kinds("a.png", b"\x89PNG\r\n" + end) == set()


def test_a_bomb_is_seen_by_what_it_says_of_itself() -> None:
    """Kilobytes that would unpack to megabytes are not unpacked."""
    packed = zipped({f"{n}.bin": b"\0" * 900_000 for n in range(10)})
    assert kinds("a.zip", packed) == {"beyond-limits"}


@pytest.mark.parametrize("packer", ["x.gz", "x.bz2", "x.xz"])
def test_a_bomb_that_says_nothing_of_itself_is_cut(packer: str) -> None:
    """Unpacking ends when the octets are spent."""
    bomb = PACKERS[packer](tarred({"a": b"\0" * 3_000_000}))
    assert kinds("file", bomb) == {"beyond-limits"}


def test_archives_too_deep_in_each_other_are_beyond_limits() -> None:
    """Looking ends where the operator said."""
    content = b"x"
    for _ in range(8):
        content = zipped({"inner.zip": content})
    assert kinds("a.zip", content) == {"beyond-limits"}


def test_an_archive_with_too_many_files_is_beyond_limits() -> None:
    """By its directory, and by counting where there is none."""
    files = {f"{n}.txt": b"x" for n in range(120)}
    assert kinds("a.zip", zipped(files)) == {"beyond-limits"}
    assert kinds("a.tar", tarred(files)) == {"beyond-limits"}


def test_looking_ends_when_the_time_is_over() -> None:
    """Whatever is in the archive."""
    found = objections("a.zip", zipped({"a.txt": b"x"}), time_left=0.0)
    assert [one.kind for one in found] == ["beyond-limits"]


@pytest.mark.parametrize(
    "content",
    [
        tarred({"a": b"x"})[:1024] + b"garbage".ljust(512) + tarred({"run.js": b"x"}),
        b"".join(lzma.compress(half) for half in halves(zipped({"run.js": b"x"}))),
        lzma.compress(tarred({"a": b"x"})) + lzma.compress(tarred({"run.js": b"x"})),
        zipped({"run.js": b"x"}) + zipped({"a.txt": b"x"}),
        gzip.compress(tarred({"run.js": b"x"})) + b"trailing",
        gzip.compress(b"x") + zipped({"run.js": b"x"}),
        tarred({"a": b"x"}) + zipped({"run.js": b"x"}),
        zipped({"run.js": b"x"}).replace(b"run.js", b"run.cs", 1),
        zipped({"run.js": b"x"}).replace(b"run.js", b"run.cs", 2).replace(b"run.cs", b"run.js", 1),
        zipped({"run.js": b"x"})[::-1].replace(b"sj.nur", b"/j.nur", 1)[::-1],
        b"before" * 20_000 + zipped({"run.js": b"x"}) + b"behind" * 20_000,
        gzip.compress(zipped({"run.js": b"x"}) + b"x" * 5000)[:-5],
        zipped({"a.zip": zipped({"run.js": b"x"}) + bytes(5000)}).replace(b"PK\x01\x02", b"PK\0\0"),
    ],
    ids=range(13),
)
def test_no_damage_hides_a_file(content: bytes) -> None:
    """What some program would unpack is judged, whatever is wrong with the archive."""
    assert "blocked" in kinds("file", content)


def test_unpacking_takes_no_more_memory_than_it_may() -> None:
    """Archives in archives are not held twice."""
    bomb = zipped({"inner.zip": zipped({"a.txt": b"x"}) + b"\0" * 30_000_000})
    rules = replace(RULES, octets=32 * 1024**2)
    tracemalloc.start()
    try:
        objections("a.zip", bomb, rules)
        assert tracemalloc.get_traced_memory()[1] < 45_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(
    packer=st.sampled_from(sorted(PACKERS)),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), max_size=8),
)
def test_no_damage_to_an_archive_is_a_failure(
    packer: str, changes: list[tuple[int, bytes]]
) -> None:
    """Whatever bytes are changed, looking ends with objections or without."""
    content = bytearray(PACKERS[packer](zipped({"a/b.txt": b"hello" * 50, "c.bin": b"x"})))
    for place, new in changes:
        at = place % len(content)
        content[at : at + len(new)] = new
    assert isinstance(objections("file", bytes(content)), list)

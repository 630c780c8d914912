"""Compressed files, whole and damaged."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable

import pytest
from filterrelay_plugins.attachments.packed import (
    Packed,
    Stored,
    Stream,
    gzip_name,
    inflated,
    unbzipped,
    ungzipped,
    unxzed,
)
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.plugin.testing import within_cpu_budget

Pack = Callable[[bytes], bytes]
Unpack = Callable[[bytes], Packed]

FORMATS: dict[str, tuple[Pack, Unpack]] = {
    "gzip": (gzip.compress, ungzipped),
    "bzip2": (bz2.compress, unbzipped),
    "xz": (lzma.compress, unxzed),
}
CONTENT = bytes(n * n // 7 % 251 for n in range(20_000))
formats = pytest.mark.parametrize(("pack", "unpack"), FORMATS.values(), ids=FORMATS)


def everything(stream: Stream, size: int = 1000) -> bytes:
    """All that can be read."""
    return b"".join(iter(lambda: stream.read(size), b""))


@formats
def test_what_was_packed_is_unpacked(pack: Pack, unpack: Unpack) -> None:
    """Whole, and without damage."""
    stream = unpack(pack(CONTENT))
    assert (everything(stream), stream.damaged, stream.rest) == (CONTENT, False, b"")


def test_the_strongest_xz_is_unpacked() -> None:
    """`xz -9` is usual, and wants much memory."""
    assert everything(unxzed(lzma.compress(b"hello", preset=9))) == b"hello"


@formats
def test_all_streams_of_a_file_are_unpacked(pack: Pack, unpack: Unpack) -> None:
    """gzip, bzip2 and xz write them all out, padding between them or not."""
    stream = unpack(pack(b"hello ") + b"\0" * 8 + pack(b"world"))
    assert (everything(stream), stream.damaged) == (b"hello world", False)


@formats
def test_what_stands_behind_is_kept_apart(pack: Pack, unpack: Unpack) -> None:
    """It may be a file of another kind."""
    stream = unpack(pack(b"hello") + b"\0\0other")
    assert (everything(stream), stream.damaged, stream.rest) == (b"hello", False, b"other")


@formats
def test_a_file_cut_off_is_unpacked_up_to_there(pack: Pack, unpack: Unpack) -> None:
    """And is damaged."""
    packed = pack(CONTENT)
    stream = unpack(packed[: len(packed) - 12])
    assert CONTENT.startswith(everything(stream))
    assert stream.damaged


def test_a_wrong_checksum_loses_nothing() -> None:
    """Some programs don't look at it."""
    packed = bytearray(gzip.compress(b"hello"))
    packed[-8] ^= 1
    stream = ungzipped(bytes(packed))
    assert (everything(stream), stream.damaged) == (b"hello", False)


def test_the_name_before_packing_is_known() -> None:
    """Some programs unpack to that."""
    made = io.BytesIO()
    with gzip.GzipFile("a.js", "wb", fileobj=made) as file:
        file.write(b"hello")
    content = made.getvalue()
    extra = content[:3] + b"\x1e" + content[4:10] + b"\2\0xx" + content[10:15] + b"c\0hc"
    for packed in (content, extra + content[15:]):
        assert gzip_name(packed) == "a.js"
        assert everything(ungzipped(packed)) == b"hello"


def test_all_before_the_damage_is_had() -> None:
    """But for an octet, as a patient program would have it."""
    good = zlib.compressobj(wbits=-15)
    packed = good.compress(CONTENT) + good.flush(zlib.Z_FULL_FLUSH) + b"\x07\xff"
    stream = inflated(b"before" + packed, 6)
    assert (everything(stream), stream.damaged) == (CONTENT[:-1], True)


def test_thousands_of_empty_streams_cost_little() -> None:
    """They end somewhere."""
    stream = ungzipped(gzip.compress(b"") * 100_000)
    with within_cpu_budget(500):
        assert everything(stream) == b""
    assert stream.damaged


def test_what_is_stored_ends_where_it_ends() -> None:
    """A size beyond the end of all is damage."""
    assert everything(Stored(b"abcdef", 1, 3)) == b"bc"
    cut = Stored(b"abcdef", 1, 30)
    assert (everything(cut), cut.damaged) == (b"bcdef", True)


@formats
@given(st.binary(max_size=80), st.integers(1, 80))
def test_no_octets_make_it_fail(pack: Pack, unpack: Unpack, octets: bytes, at: int) -> None:
    """Whatever is changed."""
    packed = pack(b"hello" * 20)
    everything(unpack(packed[:at] + octets + packed[at:]))

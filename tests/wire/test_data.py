"""Message content survives any cut of the packets, and nothing is smuggled in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.wire.data import (
    Bounds,
    ChunkDecoder,
    Content,
    DataDecoder,
    Fault,
    dot_stuffed,
    stuffed_chunks,
)

SENT = (
    b"From: a@office.example\r\nSubject: dots\r\n\r\n"
    b"..\r\n...two\r\n. \r\nplain\r\n\r\n..last\r\n.\r\nNEXT"
)
MEANT = b"From: a@office.example\r\nSubject: dots\r\n\r\n.\r\n..two\r\n \r\nplain\r\n\r\n.last\r\n"
LIMIT = 1 << 20


def bounds(
    octets: int = LIMIT, line: int = 1000, header: int = LIMIT, fields: int = 1000
) -> Bounds:
    """Bounds that matter in few tests."""
    return Bounds(octets, line, header, fields)


def decode(*blocks: bytes, most: int = LIMIT, line: int = 1000) -> DataDecoder:
    """The blocks decoded; the last one must bring the end."""
    decoder = DataDecoder(Content(bounds(most, line)))
    ended = [decoder.feed(block) for block in blocks]
    assert ended == [False] * (len(blocks) - 1) + [True]
    return decoder


@pytest.mark.parametrize("cut", range(1, len(SENT)))
def test_content_survives_any_cut(cut: int) -> None:
    """A message may arrive in any two packets."""
    decoder = DataDecoder(Content(bounds()))
    if not decoder.feed(SENT[:cut]):
        assert decoder.feed(SENT[cut:])
        assert decoder.rest == b"NEXT"
    else:
        assert decoder.rest + SENT[cut:] == b"NEXT"
    assert decoder.content.take() == MEANT


def test_content_survives_single_octets() -> None:
    """A message may arrive octet by octet."""
    decoder = DataDecoder(Content(bounds()))
    ends = [decoder.feed(SENT[i : i + 1]) for i in range(len(SENT) - 4)]
    assert ends.count(True) == 1
    assert ends[-1]
    assert decoder.content.take() == MEANT


@pytest.mark.parametrize("blocks", [(b".\r\n",), (b".", b"\r\n"), (b".\r", b"\n")])
def test_a_dot_alone_is_an_empty_message(blocks: tuple[bytes, ...]) -> None:
    """A final dot that follows the 354 at once ends a message of nothing."""
    assert decode(*blocks).content.take() == b""


@pytest.mark.parametrize(
    "false_end",
    [
        *(b"\r.\n", b"\ra\n.\r\n", b"\n\r.\n\r"),
        *(b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n.\r"),
        *(b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\r\n.\r\r\n", b"\n\n.\n\n"),
    ],
)
def test_only_crlf_dot_crlf_ends_a_message(false_end: bytes) -> None:
    """What other servers take for an end is content, and makes the message refused."""
    decoder = decode(b"text" + false_end + b"MAIL FROM:<smuggled@evil.example>\r\n.\r\n")
    assert decoder.rest == b""
    assert decoder.content.fault in (Fault.BARE_LINE_END, Fault.NUL)
    assert decoder.content.take() == b""


def test_a_bare_cr_before_the_final_dot_is_found() -> None:
    """CR CR LF dot CR LF ends the message and is still no clean line end."""
    assert decode(b"text\r\r\n.\r\n").content.fault is Fault.BARE_LINE_END


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b".", b"\0"]), max_size=12))
def test_every_cr_has_its_lf(pieces: list[bytes]) -> None:
    """No mixture of CR, LF and text passes for line ends, nor does NUL."""
    text = b"".join(pieces) + b"x"
    content = Content(bounds())
    content.add(text)
    rest = text.replace(b"\r\n", b"")
    clean = b"\r" not in rest and b"\n" not in rest and b"\0" not in rest
    assert (content.fault is None) is clean


def test_a_nul_is_refused() -> None:
    """NUL is neither 7bit nor 8bit data (RFC 2045 sections 2.7 and 2.8)."""
    assert decode(b"a\0b\r\n.\r\n").content.fault is Fault.NUL


def test_a_message_over_the_limit_is_read_to_its_end_but_not_kept() -> None:
    """The conversation stays in step after a message that is too large."""
    decoder = decode(b"a\r\n" * 5, b"b\r\n" * 5, b".\r\nQUIT\r\n", most=20)
    assert decoder.content.fault is Fault.TOO_LARGE
    assert decoder.content.octets == 0
    assert decoder.rest == b"QUIT\r\n"


@pytest.mark.parametrize("size", [1, 7, 64, 99, 100, 101, 1000])
@pytest.mark.parametrize(("length", "good"), [(99, True), (100, False)])
def test_a_long_line_is_found_whatever_the_packets(size: int, length: int, good: bool) -> None:
    """The line limit counts a line's octets with its CR, however they were cut."""
    sent = b"short\r\n" * 30 + b"x" * length + b"\r\n" + b"short\r\n" * 30 + b".\r\n"
    decoder = DataDecoder(Content(bounds(line=100)))
    for start in range(0, len(sent), size):
        decoder.feed(sent[start : start + size])
    assert decoder.content.fault is (None if good else Fault.LINE_TOO_LONG)


def test_a_long_line_at_the_end_of_a_block_counts_on() -> None:
    """A line that goes on in the next packet is one line."""
    assert (
        decode(b"a" * 60, b"b" * 60 + b"\r\n.\r\n", line=100).content.fault is Fault.LINE_TOO_LONG
    )


FIVE_FIELDS = b"A: 1\r\nB: 2\r\n folded\r\n\tagain\r\nno field\r\nC: 3\r\nD: 4\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 200])
@pytest.mark.parametrize(
    ("header", "fields", "fault"),
    [
        (len(FIVE_FIELDS) - 2, 5, None),
        (len(FIVE_FIELDS) - 3, 5, Fault.HEADER_TOO_LARGE),
        (LIMIT, 4, Fault.TOO_MANY_FIELDS),
    ],
)
def test_a_header_beyond_its_bounds_is_found_whatever_the_packets(
    size: int, header: int, fields: int, fault: Fault | None
) -> None:
    """Folded lines are part of their field, and the body counts for nothing."""
    sent = FIVE_FIELDS + b"body\r\n" * 30 + b"\r\n" * 3 + b" body\r\n"
    content = Content(bounds(header=header, fields=fields))
    decoder = ChunkDecoder(content)
    for start in range(0, len(sent), size):
        decoder.feed(sent[start : start + size])
    decoder.finish()
    assert content.fault is fault
    assert content.take() == (b"" if fault else sent)


def test_a_header_without_end_is_not_kept() -> None:
    """Nothing is held of a flood of fields, though it is read to its end."""
    content = Content(bounds(fields=10))
    for _ in range(5):
        content.add(b"a:\r\n" * 4)
    assert (content.fault, content.octets) == (Fault.TOO_MANY_FIELDS, 0)


@pytest.mark.parametrize("sent", [b" dkim=pass\r\n", b"\tA: 1\r\n\r\nbody\r\n", b" \r\n"])
def test_a_message_that_begins_with_a_continuation_is_refused(sent: bytes) -> None:
    """It would go on with the field that the relay puts above it (RFC 5322 section 2.2.3)."""
    assert decode(sent + b".\r\n").content.fault is Fault.CONTINUATION_FIRST
    assert decode(sent[:1], sent[1:] + b".\r\n").content.fault is Fault.CONTINUATION_FIRST


def test_a_body_alone_may_begin_with_a_blank() -> None:
    """Behind the empty line nothing is a header."""
    assert decode(b"\r\n body\r\n.\r\n").content.take() == b"\r\n body\r\n"


@given(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"..", b"text "]), max_size=60), st.data())
def test_what_was_stuffed_is_unstuffed(pieces: list[bytes], data: st.DataObject) -> None:
    """Any message comes out of DATA as it went in, in any packets."""
    message = b"".join(pieces)
    sent = dot_stuffed(message)
    decoder = DataDecoder(Content(bounds()))
    ended, start = False, 0
    while start < len(sent):
        end = data.draw(st.integers(start + 1, len(sent)))
        assert not ended
        ended = decoder.feed(bytearray(sent[start:end]))
        start = end
    assert ended
    assert decoder.content.fault is None
    whole = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    assert decoder.content.take() == whole


@pytest.mark.parametrize("cut", range(1, 12))
def test_chunks_may_be_cut_anywhere(cut: int) -> None:
    """A chunk may end between CR and LF; dots in it mean nothing."""
    decoder = ChunkDecoder(Content(bounds()))
    sent = b"a\r\n.\r\n..b\r\n"
    decoder.feed(sent[:cut])
    decoder.feed(sent[cut:])
    decoder.finish()
    assert decoder.content.fault is None
    assert decoder.content.take() == sent


def test_the_last_chunk_gets_its_line_end() -> None:
    """A message sent with BDAT ends in CRLF like one sent with DATA."""
    decoder = ChunkDecoder(Content(bounds()))
    decoder.feed(b"a\r\nb")
    decoder.finish()
    assert decoder.content.take() == b"a\r\nb\r\n"


@pytest.mark.parametrize("sent", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\nb\r", b"\n", b"\r"])
def test_chunks_with_bare_line_ends_are_refused(sent: bytes) -> None:
    """BDAT is no way around the rule for line ends."""
    decoder = ChunkDecoder(Content(bounds()))
    decoder.feed(sent)
    decoder.finish()
    assert decoder.content.fault is Fault.BARE_LINE_END


@pytest.mark.parametrize("size", range(1, 20))
@pytest.mark.parametrize("message", [b"", b".", b".a\r\n..\r\nb.\r\n.", b"a\r\n.\r\n.\r\n"])
def test_a_message_in_pieces_is_stuffed_as_a_whole_one(message: bytes, size: int) -> None:
    """Wherever a piece ends, also between a line end and a dot."""
    assert b"".join(stuffed_chunks(message, size)) == dot_stuffed(message)

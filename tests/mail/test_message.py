"""A message keeps its bytes, and its views are right."""

import re
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.message import Message, is_clean


def test_headers_are_found_by_name_in_any_case() -> None:
    """Folded values are unfolded, and the order of fields is kept."""
    message = Message("ID", b"To: a\r\nSUBJECT: one\r\n two\r\nto: b\r\n\r\nbody")
    assert message.get("subject") == "one two"
    assert [header.value for header in message.all("To")] == ["a", "b"]
    assert message.get("cc") == ""
    assert message.body == b"body"


@pytest.mark.parametrize(
    ("raw", "headers", "body"),
    [
        (b"", 0, b""),
        (b"\r\n", 0, b""),
        (b"\r\nbody", 0, b"body"),
        (b"A: 1\r\n", 1, b""),
        (b"A: 1\r\n\r\n", 1, b""),
        (b" folded first\r\nA: 1\r\n\r\nb", 1, b"b"),
        (b"no field\r\nA : 1\r\n\r\nb", 1, b"b"),
    ],
)
def test_odd_messages_have_a_header_section_and_a_body(
    raw: bytes, headers: int, body: bytes
) -> None:
    """Without headers, without body, with lines that are no field."""
    message = Message("ID", raw)
    assert (len(message.headers), message.body) == (headers, body)


def test_lines_that_are_no_field_stand_in_the_section_without_a_name() -> None:
    """Nothing of the header section is out of sight, and no continuation makes a field."""
    message = Message("ID", b" first\r\nA : 1\r\n folded\r\nno field\r\n B: 2\r\n: 3\r\n\r\nbody")
    assert [(header.name, header.raw) for header in message.section] == [
        ("", b" first\r\n"),
        ("A", b"A : 1\r\n folded\r\n"),
        ("", b"no field\r\n B: 2\r\n"),
        ("", b": 3\r\n"),
    ]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b"", True),
        (b"a\r\n\r\nb", True),
        (b"a\nb", False),
        (b"a\rb", False),
        (b"a\n\rb", False),
        (b"a\r\r\n", False),
        (b"a\0", False),
    ],
)
def test_clean_text_has_whole_line_ends_and_no_nul(text: bytes, clean: bool) -> None:
    """RFC 5321 section 2.3.8."""
    assert is_clean(text) is clean


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", b"a", b"\xfc\x85"])))
def test_what_is_clean_has_no_half_line_end(pieces: list[bytes]) -> None:
    """The quick look finds what a careful one finds."""
    text = b"".join(pieces)
    assert is_clean(text) is (re.search(rb"\r(?!\n)|(?<!\r)\n|\0", text) is None)


def test_a_value_beyond_ascii_is_read_as_utf8_or_latin1() -> None:
    """Neither is ever an error."""
    assert Message("ID", "A: ü\r\n\r\n".encode()).get("a") == "ü"
    assert Message("ID", b"A: \xfc\r\n\r\n").get("a") == "ü"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message(raw: bytes) -> None:
    """No bytes make a view fail."""
    message = Message("ID", raw)
    assert b"".join(h.raw for h in message.section).removesuffix(b"\r\n") == raw[
        : message.header_end
    ].removesuffix(b"\r\n")
    assert message.body in (raw[message.header_end + 2 :], b"")
    assert isinstance(message.parts, tuple)


@given(st.lists(st.sampled_from([b"A: b\r\n", b" c\r\n", b"\r\n", b"x", b":", b"\r"]), max_size=12))
def test_headers_are_pieces_of_the_message(pieces: list[bytes]) -> None:
    """Each field's bytes stand in the message as they are."""
    raw = b"".join(pieces)
    for header in Message("ID", raw).headers:
        assert header.raw in raw + b"\r\n"


def test_real_messages_have_the_headers_that_the_standard_library_finds() -> None:
    """Beside an independent parser, on the messages of its own test suite."""
    suite = pytest.importorskip("test.test_email", reason="install libpython3.11-testsuite")
    folder = Path(suite.__file__).parent / "data"
    checked = 0
    for file in sorted(folder.glob("msg_*.txt")):
        raw = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        theirs = message_from_bytes(raw)
        if theirs.defects or raw.startswith(b"From "):
            continue
        ours = Message("ID", raw)
        assert [h.name for h in ours.headers] == theirs.keys(), file.name
        checked += 1
    assert checked > 20


RAWS = [b"", b"\r\n", b"\r\nbody", b"A: 1\r\n", b"A: 1\r\n\r\n", b"A: 1\r\nB: 2\r\n 3\r\n\r\nbody"]


@pytest.mark.parametrize("raw", RAWS)
@pytest.mark.parametrize("parsed", [True, False])
def test_fields_put_on_top_make_the_message_that_their_bytes_make(raw: bytes, parsed: bool) -> None:
    """Of whatever was parsed before, twice over, and before its bytes are asked for."""
    fields = [b"Received: here\r\n", b"A: 0\r\n folded\r\n"]
    message = Message("ID", raw)
    if parsed:
        assert message.by_name is not None
    longer = message.with_fields_on_top(fields[1:]).with_fields_on_top(fields[:1])
    whole = Message("ID", b"".join(fields) + raw)
    assert (longer.header_end, longer.has_section) == (whole.header_end, whole.has_section)
    assert (longer.section, longer.by_name) == (whole.section, whole.by_name)
    assert longer.get("a") == "0 folded"
    assert longer == whole
    assert (longer.raw, longer.body, len(longer)) == (whole.raw, whole.body, len(whole))


def test_threads_that_ask_for_the_bytes_at_once_get_the_same() -> None:
    """Plugins look at a message in threads of their own."""
    message = Message("ID", b"A: 1\r\n\r\n" + b"x" * 1_000_000)
    for _ in range(20):
        longer = message.with_fields_on_top([b"B: 2\r\n"])
        with ThreadPoolExecutor(8) as threads:
            raws = list(threads.map(lambda _, one=longer: one.raw, range(8)))
        assert set(raws) == {b"B: 2\r\n" + message.raw}


def test_a_message_has_no_other_attributes() -> None:
    """A slip of the pen is told as for any value."""
    with pytest.raises(AttributeError, match="sender"):
        print(Message("ID", b"").sender)  # type: ignore[attr-defined]  # that is the point

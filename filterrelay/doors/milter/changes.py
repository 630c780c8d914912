"""What has changed of a message, as the fewest edits that a mail server can be told.

Plugins' edits come one after the other, and a later one may undo an earlier one; the mail
server is told of the difference alone. Servers count alike only while nothing has changed:
Sendmail goes on counting a field that was deleted, Postfix doesn't. So fields are changed
and deleted first, of each name the last one first, and new ones come then.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from filterrelay.chain.run import Judgement
from filterrelay.mail.edits import AddHeader, ChangeHeader, Edit, RemoveHeader, ReplaceBody
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.message import Message
from filterrelay.wire.milter import Edits

TOP = 1  # 0 is above the server's own Received field, which Postfix then tells later milters of
BOTTOM = 0x7FFF_0000  # behind all fields, however many there are

HeaderEdit = AddHeader | ChangeHeader | RemoveHeader


@dataclass(frozen=True, slots=True)
class Told:
    """A message as the mail server told of it.

    recipients: each with its address as it came, by which the server knows it.
    """

    raw: bytes
    envelope: Envelope
    recipients: Sequence[tuple[Recipient, bytes]]


def changes(judged: Judgement, told: Told, edits: Edits) -> tuple[bytes, Iterable[bytes]]:
    """What makes the one into the other; the packets of a new body apart. Raises Unsendable."""
    packets = list(_header(judged.edits, told.raw, edits))
    if judged.envelope is not told.envelope:
        packets.extend(_envelope(judged.envelope, told, edits))
    body: Iterable[bytes] = ()
    if any(isinstance(edit, ReplaceBody) for edit in judged.edits):
        new = judged.message.body
        if new != Message("", told.raw).body:
            body = edits.replace_body(new)
    return b"".join(packets), body


def _envelope(envelope: Envelope, told: Told, edits: Edits) -> Iterator[bytes]:
    if envelope.sender != told.envelope.sender:
        yield edits.change_sender(envelope.return_path.encode())
    remaining, known = set(envelope.recipients), {each for each, _ in told.recipients}
    gone = dict.fromkeys(octets for each, octets in told.recipients if each not in remaining)
    for octets in gone:
        yield edits.delete_recipient(octets)
    for recipient in envelope.recipients:
        if recipient not in known:
            yield edits.add_recipient(str(recipient).encode(), _parameters(recipient))


def _parameters(recipient: Recipient) -> bytes:
    """Its DSN parameters (RFC 3461 section 4)."""
    words = []
    if recipient.notify:
        words.append(f"NOTIFY={','.join(recipient.notify)}")
    if recipient.orcpt:
        words.append(f"ORCPT={recipient.orcpt}")
    return " ".join(words).encode()


@dataclass(slots=True, eq=False)
class _Field:
    """A field of the message as it leaves, or one that is gone.

    value: what follows the colon, but for the final line end. number: which one of that
    name it is for the mail server, from 1; 0 for a new one. came: as it was then.
    """

    name: str
    value: bytes
    number: int = 0
    came: tuple[str, bytes] = ("", b"")
    gone: bool = False


def _header(made: Sequence[Edit], raw: bytes, edits: Edits) -> Iterator[bytes]:
    if all(isinstance(edit, AddHeader) and edit.at_top for edit in made):  # the common case
        for edit in made:
            assert isinstance(edit, AddHeader)  # just seen
            yield edits.insert_header(TOP, edit.name.encode(), _octets(edit.value))
        return
    section = _Section(raw)
    for edit in made:
        match edit:
            case AddHeader() | ChangeHeader() | RemoveHeader():
                section.make(edit)
            case _:
                pass
    yield from section.differences(edits)


class _Section:
    """A header section, and what becomes of each field; parsed only when an edit asks for it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._original: Message | None = None
        self._fields: dict[str, list[_Field]] = {}  # by the name in lower case, top to bottom
        self._old: list[_Field] = []  # those of these names that came
        self._top: list[_Field] = []  # the lowest one first
        self._bottom: list[_Field] = []

    def make(self, edit: HeaderEdit) -> None:
        """Makes one edit, as mail.edits does."""
        fields = self._of(edit.name)
        match edit:
            case AddHeader(name, value, at_top):
                new = _Field(name, _octets(value))
                fields.insert(0 if at_top else len(fields), new)
                (self._top if at_top else self._bottom).append(new)
            case ChangeHeader(name, value, index):
                for each in fields[index : index + 1]:
                    each.name, each.value = name, _octets(value)
            case RemoveHeader(_, index):
                doomed = slice(None) if index is None else slice(index, index + 1)
                for each in fields[doomed]:
                    each.gone = True
                del fields[doomed]

    def _of(self, name: str) -> list[_Field]:
        key = name.lower()
        fields = self._fields.get(key)
        if fields is None:
            if self._original is None:
                self._original = Message("", self._raw)
            fields = []
            for number, header in enumerate(self._original.all(name), start=1):
                came = (header.name, header.raw.partition(b":")[2][:-2])
                fields.append(_Field(*came, number, came))
            self._fields[key] = fields
            self._old.extend(fields)
        return fields

    def differences(self, edits: Edits) -> Iterator[bytes]:
        """The packets, changes first. Raises Unsendable."""
        for each in sorted(self._old, key=lambda one: -one.number):
            if each.gone:
                yield edits.delete_header(each.name.encode("latin-1"), each.number)
            elif (each.name, each.value) != each.came:
                yield edits.change_header(each.name.encode(), each.number, each.value)
        present = {each.name.lower() for each in self._old}
        for each in self._top:
            if not each.gone:
                yield edits.insert_header(TOP, each.name.encode(), each.value)
                present.add(each.name.lower())
        for each in self._bottom:
            if each.gone:
                continue
            # Sendmail would put an added field above those of the same name.
            if each.name.lower() in present:
                yield edits.insert_header(BOTTOM, each.name.encode(), each.value)
            else:
                yield edits.add_header(each.name.encode(), each.value)
                present.add(each.name.lower())


def _octets(value: str) -> bytes:
    return b" " + value.encode("utf-8", "surrogateescape")

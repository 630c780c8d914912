"""The plugin `attachments` as mail meets it."""

import asyncio
import threading
from base64 import b64encode
from binascii import b2a_uu
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage
from hashlib import sha256
from typing import Any

import pytest
from filterrelay_plugins.attachments.archives import Objection

from filterrelay.plugin import AddHeader, Message, Pass, Quarantine, Reject
from filterrelay.plugin.discovery import BadOptions
from filterrelay.plugin.testing import a_message, running, within_cpu_budget
from tests.acceptance.peers.clamd import EICAR

from .test_archives import zipped


def with_file(content: bytes, name: str, kind: str = "application/octet-stream") -> Message:
    """A message that carries a file."""
    mail = EmailMessage()
    mail["Subject"] = "Order"
    mail.set_content("Please find it attached.")
    main, _, sub = kind.partition("/")
    mail.add_attachment(content, main, sub, filename=name)
    return a_message(mail.as_bytes())


async def test_a_message_without_attachments_is_clean() -> None:
    """Text for reading isn't looked into."""
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=a_message("Lunch?\n"))
    assert verdict == Pass(verdict.finding)
    assert verdict.finding.result == "clean"


async def test_a_message_without_attachments_costs_next_to_nothing() -> None:
    """A tenth of a millisecond at most, parsing included."""
    messages = [a_message("Lunch at noon?\n" * 700) for _ in range(200)]
    async with running("attachments") as plugin:
        with within_cpu_budget(200 * 0.1):
            for message in messages:
                await plugin.on_message(message=message)


@pytest.mark.parametrize(
    "message",
    [
        with_file(EICAR, "test.bin"),
        with_file(EICAR + b"\n", "test.txt", "text/plain"),
        with_file(zipped({"test.txt": EICAR}), "test.zip"),
        a_message(EICAR.decode() + "\n"),
    ],
    ids=["attached", "attached text", "zipped", "body"],
)
async def test_the_test_virus_is_refused_without_any_scanner(message: Message) -> None:
    """So that a new installation can be tried at once."""
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=message)
    assert isinstance(verdict, Reject)
    assert verdict.reply.code == 550
    assert verdict.reply.text.endswith("it is the EICAR test virus")


async def test_a_refusal_names_the_file_and_the_reason() -> None:
    """The sender's person can mend it."""
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=with_file(b"x", "setup.exe"))
    assert str(verdict.reply) == (
        "550 5.7.1 Attachment not accepted: setup.exe: .exe files are not accepted"
    )
    assert verdict.finding.details == (("setup.exe", ".exe files are not accepted"),)


async def test_a_document_with_macros_is_set_aside() -> None:
    """A person decides; that is what happens when nothing else is said."""
    document = zipped({"word/document.xml": b"<x/>", "word/vbaProject.bin": b"x"})
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=with_file(document, "offer.docm"))
    assert isinstance(verdict, Quarantine)
    assert verdict.reason == "offer.docm: it has macros"


@pytest.mark.parametrize(
    ("action", "kind"),
    [("allow", Pass), ("tag", Pass), ("quarantine", Quarantine), ("reject", Reject)],
)
async def test_the_operator_chooses_what_follows(action: str, kind: type) -> None:
    """For each kind of objection its own."""
    async with running("attachments", blocked=action) as plugin:
        verdict = await plugin.on_message(message=with_file(b"x", "setup.exe"))
    assert verdict.finding.result == "blocked"
    assert isinstance(verdict, kind)


async def test_a_tag_is_a_header() -> None:
    """For the recipient's own filters."""
    async with running("attachments", blocked="tag") as plugin:
        assert plugin.edits
        verdict = await plugin.on_message(message=with_file(b"x", "setup.exe"))
    assert verdict.edits == (
        AddHeader("X-Attachment-Warning", "blocked; setup.exe: .exe files are not accepted"),
    )


async def test_the_gravest_objection_decides() -> None:
    """A virus beside macros is refused, in whatever order they come."""
    content = zipped({"word/vbaProject.bin": b"x", "embedded.bin": EICAR})
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=with_file(content, "a.docm"))
    assert verdict.finding.result == "virus"
    assert isinstance(verdict, Reject)


async def test_a_virus_is_called_one_whatever_its_name() -> None:
    """That it ends in .com as well is the lesser news."""
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=with_file(EICAR, "eicar.com"))
    assert verdict.finding.result == "virus"


async def test_endings_can_be_allowed_and_blocked() -> None:
    """With or without a dot, in any letter case."""
    async with running(
        "attachments", blocked_extensions=[".PDF", "exe"], allowed_extensions=["EXE"]
    ) as plugin:
        exe = await plugin.on_message(message=with_file(b"x", "setup.exe"))
        pdf = await plugin.on_message(message=with_file(b"x", "a.pdf"))
    assert (type(exe), type(pdf)) == (Pass, Reject)


async def test_a_declared_type_can_be_blocked() -> None:
    """Whatever the content is."""
    async with running("attachments", blocked_types=["Audio/MPEG"]) as plugin:
        verdict = await plugin.on_message(message=with_file(b"x", "a.mp3", "audio/mpeg"))
    assert isinstance(verdict, Reject)


async def test_a_known_file_can_be_blocked_by_its_hash() -> None:
    """Also inside an archive."""
    content = b"a circular that nobody wants\n" * 100
    known = sha256(content).hexdigest()
    async with running("attachments", blocked_sha256=[known.upper()]) as plugin:
        verdict = await plugin.on_message(message=with_file(zipped({"a.txt": content}), "a.zip"))
    assert isinstance(verdict, Reject)


async def test_a_name_alone_makes_a_text_a_file() -> None:
    """An inline script is saved by a click as well."""
    mail = EmailMessage()
    mail.set_content("WScript.Echo(1)", subtype="plain", filename="run.js", disposition="inline")
    async with running("attachments") as plugin:
        assert isinstance(await plugin.on_message(message=a_message(mail.as_bytes())), Reject)


async def test_a_multipart_without_parts_is_judged_as_broken() -> None:
    """Set aside unless the operator says otherwise."""
    message = a_message(b"Content-Type: multipart/mixed; boundary=x\n\nno parts here\n")
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=message)
    assert verdict.finding.result == "broken"
    assert isinstance(verdict, Quarantine)


VIRUS = b64encode(EICAR).decode()
FILE = "Content-Type: application/octet-stream\n"
INNER = f"{FILE}Content-Disposition: attachment; filename=a.js\n\nx\n"


@pytest.mark.parametrize(
    "part",
    [
        *(
            f"{FILE}Content-Transfer-Encoding: {encoding}\n\n{VIRUS}\n"
            for encoding in ("base64 (c)", "(c) base64", "base64;", '"base64"')
        ),
        f"{FILE}Content-Transfer-Encoding: base64\n{VIRUS}\n",
        f"{FILE}Content-Transfer-Encoding: base64\n\n"
        f"{b64encode(EICAR[:4]).decode()}{b64encode(EICAR[4:]).decode()}\n",
        f"{FILE}Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n"
        f"{b2a_uu(EICAR[:45]).decode()}{b2a_uu(EICAR[45:]).decode()}`\nend\n",
        *(
            f"{FILE}Content-Disposition: {disposition}\n\nx\n"
            for disposition in (
                "attachment; filename=my doc.js",
                "attachment; filename=a.txt; filename*=utf-8''a.js",
                "attachment; filename=a.txt; filename=a.js",
                "attachment; (c) filename=a.js",
                "attachment filename=a.js",
                "attachment; filename=a.txt\nContent-Type: x/y; name=a.js",
            )
        ),
        f"Content-Type: message/rfc822; name=a.js\n\n{FILE}\nx\n",
        f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
        f"{b64encode(INNER.encode()).decode()}\n",
        f"{FILE}Content-Disposition: attachment; filename=a.eml\n\n{INNER}",
        f"Content-Type: (c) multipart/mixed; boundary=i\n\n--i\n{INNER}\n--i--\n",
        f'Content-Type: multipart/mixed; boundary="i "\n\n--i \n{INNER}\n--i --\n',
    ],
)
async def test_no_way_of_writing_it_hides_a_file(part: str) -> None:
    """What common mail programs would show is refused."""
    message = f"Content-Type: multipart/mixed; boundary=o\n\n--o\n{part}\n--o--\n"
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=a_message(message.encode()))
    assert isinstance(verdict, Reject)


@pytest.mark.parametrize(
    ("part", "finding"),
    [
        (f"{FILE}Content-Transfer-Encoding: yenc\n\nx\n", "broken"),
        (
            f"{FILE}Content-Transfer-Encoding: 7bit\n"
            f"Content-Transfer-Encoding: base64\n\n{VIRUS}\n",
            "broken",
        ),
        ("Content-Type: message/partial; id=x; number=1; total=2\n\nx\n", "unreadable"),
    ],
)
async def test_what_cannot_be_judged_is_set_aside(part: str, finding: str) -> None:
    """Programs may see anything in it, or together with other messages."""
    message = f"Content-Type: multipart/mixed; boundary=o\n\n--o\n{part}\n--o--\n"
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=a_message(message.encode()))
    assert verdict.finding.result == finding
    assert isinstance(verdict, Quarantine)


async def test_an_attached_message_in_an_archive_is_opened() -> None:
    """And the path to the file tells where it was found."""
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(
            message=with_file(zipped({"a.eml": INNER.encode()}), "a.zip")
        )
    assert verdict.finding.text == "a.zip/a.eml/a.js: .js files are not accepted"


async def test_archives_wait_for_each_other() -> None:
    """Each takes memory: no more than two are unpacked at a time."""
    at_once: list[int] = []
    running_now = 0

    async def in_thread(work: Callable[..., Any], /, *args: Any) -> Any:
        nonlocal running_now
        running_now += 1
        at_once.append(running_now)
        await asyncio.sleep(0)
        running_now -= 1
        return work(*args)

    message = with_file(zipped({"a.txt": b"x"}), "a.zip")
    async with running("attachments") as plugin:
        plugin._services = replace(plugin._services, in_thread=in_thread)
        await asyncio.gather(*(plugin.on_message(message=message) for _ in range(10)))
    assert max(at_once) == 2


async def test_parts_nested_beyond_looking_are_set_aside() -> None:
    """What can't be seen may be anything."""
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(30)
    )
    async with running("attachments") as plugin:
        verdict = await plugin.on_message(message=a_message(head + b"\nx\n"))
    assert verdict.finding.result == "beyond-limits"
    assert isinstance(verdict, Quarantine)


async def test_archives_are_looked_into_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other sessions don't wait for it."""
    threads: list[str] = []

    def inspect(*_: object) -> list[Objection]:
        threads.append(threading.current_thread().name)
        return []

    monkeypatch.setattr("filterrelay_plugins.attachments.plugin.Attachments._inspect", inspect)
    async with running("attachments") as plugin:
        await plugin.on_message(message=with_file(zipped({"a": b"x"}), "a.zip"))
        await plugin.on_message(message=with_file(b"small", "a.txt"))
    assert threads[0] != threading.main_thread().name
    assert threads[1] == threading.main_thread().name


async def test_an_action_that_is_none_is_refused() -> None:
    """At start, not at the first mail."""
    with pytest.raises(BadOptions, match="option macros"):
        async with running("attachments", macros="delete"):
            pass

"""Virus scanning by a real clamd."""

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import clamd
import pytest
from filterrelay_plugins.clamav import ClamAv, ClamAvOptions, Scanner
from pytest_mock import MockerFixture

from filterrelay.mail.endpoint import Endpoint
from filterrelay.plugin import AddHeader, Defer, Discard, Message, Pass, Quarantine, Reject
from filterrelay.plugin.testing import a_message, running
from tests.acceptance.peers.clamd import EICAR, HAND_MADE, HAND_MADE_NAME, Clamd, run_clamd


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    """clamd with a signature of EICAR and one of our own; streams end at 60 MB."""
    with run_clamd() as running_clamd:
        yield running_clamd


def with_attachment(content: bytes) -> Message:
    """A message that carries a file."""
    mail = EmailMessage()
    mail["Subject"] = "Invoice"
    mail.set_content("Please find it attached.")
    mail.add_attachment(content, "application", "octet-stream", filename="invoice.bin")
    return a_message(mail.as_bytes())


EICAR_NAME = "Eicar-Test-Signature.UNOFFICIAL"  # so clamd calls what isn't ClamAV's own
INFECTED = with_attachment(EICAR)
CLEAN = a_message("Lunch at noon?\n")
pytestmark = pytest.mark.peer("clamd")


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_an_infected_message_is_refused(daemon: Clamd, kind: str) -> None:
    """By either kind of socket; the reply names the signature."""
    address = f"unix:{daemon.socket}" if kind == "unix" else f"127.0.0.1:{daemon.port}"
    async with running("clamav", socket=address) as plugin:
        verdict = await plugin.on_message(message=INFECTED)
    assert verdict.finding.result == "infected"
    assert isinstance(verdict, Reject)
    assert str(verdict.reply) == f"550 5.7.1 Virus found: {EICAR_NAME}"


async def test_a_clean_message_passes(daemon: Clamd) -> None:
    """With a finding that says so."""
    async with running("clamav", socket=f"unix:{daemon.socket}") as plugin:
        verdict = await plugin.on_message(message=CLEAN)
    assert verdict.finding.result == "clean"
    assert isinstance(verdict, Pass)


async def test_a_virus_in_the_last_of_many_megabytes_is_found(daemon: Clamd) -> None:
    """Several chunks reach clamd whole and in order."""
    body = b"x" * 7_000_000 + HAND_MADE + b"\r\n"
    async with running("clamav", socket=f"unix:{daemon.socket}") as plugin:
        verdict = await plugin.on_message(message=Message("M", b"Subject: x\r\n\r\n" + body))
    assert verdict.finding.text == f"{HAND_MADE_NAME}.UNOFFICIAL"


def test_big_messages_are_not_copied(daemon: Clamd) -> None:
    """What is sent to clamd is sent from where it lies."""
    content = b"x" * 20_000_000
    scanner = Scanner(ClamAvOptions(socket=Endpoint(path=str(daemon.socket))))
    tracemalloc.start()
    try:
        scanner.scan_bytes(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("action", "kind"),
    [("reject", Reject), ("quarantine", Quarantine), ("discard", Discard), ("tag", Pass)],
)
async def test_the_operator_chooses_what_becomes_of_a_virus(
    daemon: Clamd, action: str, kind: type
) -> None:
    """Refused, set aside, thrown away, or let through with a mark."""
    async with running("clamav", socket=f"unix:{daemon.socket}", action=action) as plugin:
        verdict = await plugin.on_message(message=INFECTED)
    assert verdict.finding.result == "infected"
    assert isinstance(verdict, kind)


async def test_a_tagged_message_names_the_virus(daemon: Clamd) -> None:
    """In a header that the recipient's own filters can read."""
    async with running("clamav", socket=f"unix:{daemon.socket}", action="tag") as plugin:
        verdict = await plugin.on_message(message=INFECTED)
    assert verdict.edits == (AddHeader("X-Virus-Found", EICAR_NAME),)


@pytest.mark.parametrize(
    ("on_too_big", "kind"),
    [("accept", Pass), ("quarantine", Quarantine), ("defer", Defer), ("reject", Reject)],
)
async def test_a_message_beyond_max_size_is_not_scanned(
    daemon: Clamd, on_too_big: str, kind: type
) -> None:
    """The operator chooses between letting it through unscanned and refusing it."""
    async with running(
        "clamav", socket=f"unix:{daemon.socket}", max_size="1 KiB", on_too_big=on_too_big
    ) as plugin:
        verdict = await plugin.on_message(message=a_message("x" * 2000))
    assert verdict.finding.result == "too-big"
    assert isinstance(verdict, kind)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_a_message_beyond_clamds_own_limit_is_too_big(daemon: Clamd, kind: str) -> None:
    """clamd hangs up in the middle of it; a virus may be behind the padding, so it is set aside."""
    address = f"unix:{daemon.socket}" if kind == "unix" else f"127.0.0.1:{daemon.port}"
    async with running("clamav", socket=address) as plugin:
        verdict = await plugin.on_message(message=Message("M", b"\r\n" + b"x" * 64_000_000))
    assert verdict.finding.result == "too-big"
    assert isinstance(verdict, Quarantine)


async def test_twenty_messages_at_once_get_their_own_verdicts(daemon: Clamd) -> None:
    """Clean and infected ones, mixed."""
    messages = [INFECTED if n % 3 == 0 else CLEAN for n in range(20)]
    async with running("clamav", socket=f"unix:{daemon.socket}") as plugin:
        verdicts = await asyncio.gather(*(plugin.on_message(message=m) for m in messages))
    assert [isinstance(v, Reject) for v in verdicts] == [m is INFECTED for m in messages]


@pytest.mark.parametrize(("options", "limit"), [({}, "60"), ({"max_size": "5 MiB"}, "5")])
async def test_clamd_is_asked_for_its_version_and_limit(
    daemon: Clamd, options: dict[str, Any], limit: str, mocker: MockerFixture
) -> None:
    """`filterrelay check` shows what isn't scanned, and what becomes of it."""
    async with running("clamav", socket=f"unix:{daemon.socket}", **options) as plugin:
        said = await plugin.probe()
        asked = mocker.spy(Scanner, "longest_stream")
        assert await plugin.probe() == said
        asked.assert_not_called()  # clamd's log tells of each time
    assert said.startswith("ClamAV ")
    assert said.endswith(f" scans up to {limit} MiB; beyond: quarantine")


async def test_a_clamd_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """The filter's on_error decides what becomes of mail meanwhile."""
    async with running("clamav", socket=f"unix:{tmp_path}/none") as plugin:
        with pytest.raises(clamd.ConnectionError, match="No such file"):
            await plugin.on_message(message=CLEAN)


@asynccontextmanager
async def odd_clamd(path: Path, answer: bytes | None) -> AsyncIterator[None]:
    """A server that reads a scan and answers as told; None keeps it silent."""

    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0\0\0\0")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()
        ended.set()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield
        await ended.wait()


@pytest.mark.parametrize(
    "answer", [b"stream: Can't open file or directory ERROR\n", b"", b"what?\n"]
)
async def test_an_answer_that_is_no_verdict_is_an_error(tmp_path: Path, answer: bytes) -> None:
    """Never taken for a clean bill."""
    address = f"unix:{tmp_path}/s"
    async with running("clamav", socket=address) as plugin, odd_clamd(tmp_path / "s", answer):
        with pytest.raises(clamd.ClamdError):
            await plugin.on_message(message=CLEAN)


async def test_a_signature_with_foreign_letters_is_a_virus(tmp_path: Path) -> None:
    """Whoever writes signatures may write Latin-1."""
    address, answer = f"unix:{tmp_path}/s", b"stream: Gr\xfc\xdfe.Virus FOUND\n"
    async with running("clamav", socket=address) as plugin, odd_clamd(tmp_path / "s", answer):
        verdict = await plugin.on_message(message=CLEAN)
    assert str(verdict.reply) == r"550 5.7.1 Virus found: Gr\xfc\xdfe.Virus"


async def test_a_silent_clamd_is_an_error_after_the_timeout(tmp_path: Path) -> None:
    """The message isn't held up any longer than said."""
    address = f"unix:{tmp_path}/s"
    async with (
        running("clamav", socket=address, read_timeout="50ms") as plugin,
        odd_clamd(tmp_path / "s", None),
    ):
        with pytest.raises(clamd.ConnectionError, match="timed out"):
            await plugin.on_message(message=CLEAN)


async def test_a_scan_given_up_frees_its_thread(tmp_path: Path) -> None:
    """When the chain's time is over, the connection is cut and clamd sees it."""
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    async with server, running("clamav", socket=f"unix:{tmp_path}/s") as plugin:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await plugin.on_message(message=CLEAN)
        async with asyncio.timeout(5):
            await left.wait()


def test_a_clamd_on_this_machine_is_found(
    tmp_path: Path, daemon: Clamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its usual socket, and only when it answers."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    places = (str(tmp_path / "stale"), str(tmp_path / "none"), str(daemon.socket))
    monkeypatch.setattr("filterrelay_plugins.clamav.SOCKETS", places)
    assert ClamAv.found_here() == {"socket": f"unix:{daemon.socket}"}


def test_a_machine_without_clamd_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the filter isn't switched on."""
    monkeypatch.setattr("filterrelay_plugins.clamav.SOCKETS", (str(tmp_path / "none"),))
    assert ClamAv.found_here() is None

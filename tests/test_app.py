"""The composition root: the parts fit, and a message goes all the way through them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiosmtplib import SMTP
from prometheus_client import CollectorRegistry

from filterrelay.app import Background, _submitting, open_doors, running_core, server_tls
from filterrelay.demo.upstream import Upstream, upstream
from filterrelay.doors.admission import Admission
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import a_session, an_envelope
from filterrelay.settings import Settings, TlsFiles
from filterrelay.spool.store import SpoolBroken, State
from filterrelay.supervisor.sockets import listen
from filterrelay.wire.certificate import self_signed
from tests.delivery.far_side import far_side

from .delivery.far_side import far_side as taking_mail


@pytest.fixture
async def provider() -> AsyncIterator[tuple[Upstream, str]]:
    """An upstream and where it listens."""
    async with upstream() as running:
        yield running


def settings_for(tmp_path: Path, address: str) -> Settings:
    """One listener and one next hop."""
    listener = {
        "kind": "smtp",
        "name": "smtp",
        "address": "127.0.0.1:0",
        "trusted_networks": ["127.0.0.0/8"],
    }
    return Settings.model_validate(
        {
            "hostname": "relay.office.example",
            "state_dir": tmp_path,
            "listener": [listener],
            "upstream": [{"name": "provider", "hosts": [address], "tls": "none"}],
            "spool": {"url": f"sqlite:///{tmp_path}/spool.sqlite", "free_space": 0},
        }
    )


async def test_a_message_goes_from_the_door_to_the_next_hop(
    tmp_path: Path, provider: tuple[Upstream, str]
) -> None:
    """One process, everything real but for the processes around it."""
    far_side, address = provider
    sock = listen("127.0.0.1:0")
    settings = settings_for(tmp_path, address)
    metrics = Metrics(CollectorRegistry())
    stop = asyncio.Event()
    async with running_core(settings, owner="w", metrics=metrics, clock=SystemClock()) as core:
        delivering = asyncio.create_task(core.deliver_until(stop))
        admission = Admission(1).for_worker(0)
        doors = await open_doors(core, {"127.0.0.1:0": sock}, admission, None)
        port = sock.getsockname()[1]
        async with SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
            reply = await client.sendmail("a@b.example", ["c@d.example"], b"A: 1\r\n\r\nHello\r\n")
        assert "queued as" in str(reply)
        assert await far_side.wait_for(1, timeout=10)
        for door in doors:
            await door.drain(1)
        await core.scheduler.drain(1)
        stop.set()
        await delivering
    assert far_side.arrivals[0].raw.endswith(b"A: 1\r\n\r\nHello\r\n")


async def test_a_stop_lets_delivery_go_on_until_it_is_drained(
    tmp_path: Path, provider: tuple[Upstream, str]
) -> None:
    """The doors finish in between, and what they accept is sent, under leases that are kept."""
    far_side, address = provider
    stop = asyncio.Event()
    stop.set()
    settings, metrics = settings_for(tmp_path, address), Metrics(CollectorRegistry())
    async with running_core(settings, owner="w", metrics=metrics, clock=SystemClock()) as core:
        await core.deliver_until(stop)
        assert core.budget.total == 256 * 1024**2
        reply = await core.intake.receive(
            a_session(listener="smtp", trusted=True),
            an_envelope(),
            b"A: 1\r\n\r\nHello\r\n",
            core.budget.reservation(),
        )
        assert reply.code == 250
        assert await far_side.wait_for(1, timeout=10)
        await core.scheduler.drain(1)


async def test_the_end_says_goodbye_to_every_next_hop(tmp_path: Path) -> None:
    """Also where all mail was a destination's, which leaves the connections to others."""
    slow = {"name": "slow", "domains": ["partner.example"]}
    async with taking_mail() as side:
        given = settings_for(tmp_path, side.host).model_dump(exclude_unset=True)
        settings = Settings.model_validate(given | {"destination": [slow]})
        metrics = Metrics(CollectorRegistry())
        async with running_core(settings, owner="w", metrics=metrics, clock=SystemClock()) as core:
            delivering = core.scheduler.start()
            await core.intake.receive(
                a_session(listener="smtp", trusted=True),
                an_envelope(),
                b"A: 1\r\n\r\nHello\r\n",
                core.budget.reservation(),
            )
            async with asyncio.timeout(5):
                while not side.received:  # noqa: ASYNC110  # it sets no event
                    await asyncio.sleep(0.01)
            await core.scheduler.drain(1)
            await delivering
        await asyncio.wait_for(side.closed.wait(), 5)
        assert side.verbs()[-1] == "QUIT"


async def test_a_report_that_is_spooled_already_is_not_spooled_again(
    tmp_path: Path, provider: tuple[Upstream, str]
) -> None:
    """Neither while it waits, nor when it has gone, for as long as the trace knows it."""
    settings, metrics = settings_for(tmp_path, provider[1]), Metrics(CollectorRegistry())
    report = an_envelope(), b"A: 1\r\n\r\nHello\r\n", "REPORT"
    async with running_core(settings, owner="w", metrics=metrics, clock=SystemClock()) as core:
        submit = _submitting(core)
        await submit(*report)
        await submit(*report)
        assert (await core.spool.get("REPORT")).session["door"] == "report"
        await core.spool.delete(["REPORT"], core.clock.now())
        await submit(*report)
        assert (await core.spool.depth()).messages[State.QUEUED] == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_spool_whose_writer_has_died_ends_the_process(
    tmp_path: Path, provider: tuple[Upstream, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing could be accepted or settled any more; a new process can."""

    def die(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("filterrelay.spool.writer._Session._write_group", die)
    settings, metrics = settings_for(tmp_path, provider[1]), Metrics(CollectorRegistry())
    async with running_core(settings, owner="w", metrics=metrics, clock=SystemClock()) as core:
        with pytest.raises(SpoolBroken):
            await asyncio.wait_for(core.deliver_until(asyncio.Event()), 10)
        await core.scheduler.drain(1)


async def test_background_work_is_finished_at_the_end() -> None:
    """Nobody waits for it, and yet it isn't lost; a failure is only logged."""
    background, done = Background(), []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(True)

    async def fails() -> None:
        raise ValueError("odd")

    background(work())
    background(fails())
    await background.finish(timeout=5)
    assert done == [True]


async def test_background_work_that_takes_too_long_is_ended() -> None:
    """A stop isn't held up for ever."""
    background, ended = Background(), asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    background(endless())
    await background.finish(timeout=0.01)
    async with asyncio.timeout(5):
        await ended.wait()


def test_the_doors_speak_the_configured_tls_versions(tmp_path: Path) -> None:
    """TLS 1.2 or newer, or 1.3 alone; without a certificate none at all."""
    certificate, key = self_signed(["relay.office.example"], SystemClock().now())
    (tmp_path / "cert").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    files = TlsFiles(certificate=tmp_path / "cert", key=tmp_path / "key", minimum_version="1.3")
    context = server_tls(files)
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert server_tls(TlsFiles()) is None


def proxy_for(tmp_path: Path, address: str) -> Settings:
    """One proxy listener, and its next hop."""
    settings = settings_for(tmp_path, address)
    own = (ip_network("127.0.0.0/8"),)
    changes = {"kind": "proxy", "name": "proxy", "upstream": "provider", "xclient_from": own}
    listener = settings.listener[0].model_copy(update=changes)
    return settings.model_copy(update={"listener": (listener,)})


@pytest.mark.parametrize("eight_bit", [True, False])
async def test_a_proxy_passes_mail_on_while_its_client_waits(
    tmp_path: Path, *, eight_bit: bool
) -> None:
    """The next hop has it before the client hears of it, in the form that it takes."""
    extensions = ["PIPELINING", *(["8BITMIME"] if eight_bit else [])]
    raw = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode()
    metrics, clock = Metrics(CollectorRegistry()), SystemClock()
    async with (
        far_side(extensions=extensions) as side,
        running_core(
            proxy_for(tmp_path, side.host), owner="w", metrics=metrics, clock=clock
        ) as core,
    ):
        sock = listen("127.0.0.1:0")
        admission = Admission(1).for_worker(0)
        doors = await open_doors(core, {"127.0.0.1:0": sock}, admission, None)
        port = sock.getsockname()[1]
        async with SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
            await client.sendmail("a@b.example", ["c@d.example"], raw)
        (received,) = side.received
        assert received.data.endswith(raw) is eight_bit
        assert received.data.isascii() is not eight_bit
        for door in doors:
            await door.drain(1)
        id_ = received.data.partition(b" id ")[2].partition(b";")[0].split()[0].decode()
        async with asyncio.timeout(5):
            while len(events := await core.spool.events(id_)) < 2:  # noqa: ASYNC110  # by a thread
                await asyncio.sleep(0.01)
        assert [event.kind for event in events] == ["received", "attempt"]

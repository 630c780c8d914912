"""Metrics and health over HTTP, of the real program and of the control process alone."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from tempfile import TemporaryDirectory

import pytest

from filterrelay import __version__
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Listener, Settings
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import Backlog, SpoolFull, SpoolUnavailable
from filterrelay.supervisor import control
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.control import Control, Health

from .conftest import Relay, until, wait_until


def test_health_and_readiness_are_answered(relay: Relay) -> None:
    """/healthz says that it lives, /readyz that it can take mail, anything else is 404."""
    relay.start()
    assert relay.ask("/healthz") == (200, "alive\n")
    assert relay.ask("/readyz") == (200, "ready\n")
    assert relay.ask("/else")[0] == 404


def test_metrics_come_from_all_processes(relay: Relay) -> None:
    """In one answer: a worker's connections, looks at the spool, what each is and what it takes."""
    began = time.time()
    relay.start()
    relay.greeting()
    assert relay.told('filterrelay_connections_total{listener="smtp",result="accepted"}') == 1
    assert relay.told('filterrelay_spool_messages{state="queued"}') == 0
    assert relay.told(f'filterrelay_build_info{{version="{__version__}"}}') == 1
    assert relay.told("filterrelay_ready") == 1
    assert relay.told('filterrelay_workers{standing="ready"}') == 1
    assert relay.told("filterrelay_in_flight_limit_bytes") == 256 * 1024**2
    assert began < (relay.told("filterrelay_configured_timestamp_seconds") or 0) < time.time()
    assert began < (relay.told("filterrelay_time_seconds") or 0) < time.time()
    assert relay.told("filterrelay_open_files_limit") == getrlimit(RLIMIT_NOFILE)[0]
    for process in ("worker", "control"):
        for series in ("cpu_seconds_total", "resident_bytes", "open_files"):
            assert (relay.told(f'filterrelay_{series}{{process="{process}"}}') or 0) > 0, series
    assert relay.told('filterrelay_upstream_hosts_down{upstream="provider"}') == 0
    assert relay.told("filterrelay_certificate_expiry_timestamp_seconds") is None
    wait_until(lambda: (relay.told("filterrelay_loop_lag_seconds_count") or 0) > 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_strict_umask_hides_no_metrics(relay: Relay) -> None:
    """What root counts can be read by whom the relay becomes, also after a reload."""
    before = os.umask(0o077)
    try:
        with TemporaryDirectory() as reachable:
            relay.configuration.rename(Path(reachable, relay.configuration.name))
            relay.directory = Path(reachable)
            relay.directory.chmod(0o755)
            relay.configuration.chmod(0o644)
            relay.change('user = "root"', 'user = "nobody"')
            relay.start()
            assert relay.ask("/metrics")[0] == 200
            relay.reload()
            wait_until(lambda: "generation_ended" in relay.log())
            assert relay.ask("/metrics")[0] == 200
            relay.stop()
    finally:
        os.umask(before)


def test_a_relay_without_disk_space_is_not_ready(relay: Relay) -> None:
    """It says why, so that a load balancer and a person know."""
    text = relay.configuration.read_text()
    relay.configuration.write_text(f'{text}[spool]\nfree_space = "1000000 GiB"\n')
    try:
        relay.start()
    except AssertionError:
        status, answer = relay.ask("/readyz")
    assert status == 503
    assert "nearly full" in answer


def test_a_damaged_spool_ends_the_start(relay: Relay) -> None:
    """Better no relay than one that can keep nothing."""
    state = relay.directory / "state"
    state.mkdir()
    (state / "spool.sqlite").write_bytes(b"this is no database, it is a text" * 100)
    try:
        relay.start()
    except AssertionError:
        wait_until(relay.exited)
    assert "Traceback" not in relay.log()
    assert relay.process is not None
    assert relay.process.returncode == 1


class AilingSpool(MemorySpool):
    """Answers every question, and keeps nothing when it is in trouble."""

    trouble: Exception | None = None

    async def probe(self) -> None:
        if isinstance(self.trouble, TimeoutError):
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def spool() -> AilingSpool:
    """One without trouble so far."""
    return AilingSpool(SystemClock())


@asynccontextmanager
async def looked_after(spool: AilingSpool, directory: Path) -> AsyncIterator[Health]:
    """What a control process with one ready worker says of this spool."""
    settings = Settings(listener=(Listener(kind="smtp", address="127.0.0.1:0"),))
    board, stop = Board(1), asyncio.Event()
    board.mark(0, Standing.READY)
    kept = Control(settings, board, spool, Metrics(), directory, SystemClock())
    running = asyncio.create_task(kept.run(None, stop))
    yield kept.health
    stop.set()
    await running


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (SpoolFull(0), "nearly full"),
        (SpoolUnavailable("OperationalError: attempt to write a readonly database"), "readonly"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (TimeoutError(), "no answer"),
    ],
)
async def test_a_spool_that_can_only_be_read_is_not_ready(
    tmp_path: Path,
    spool: AilingSpool,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
    said: str,
) -> None:
    """Ready means that mail can be stored, which is found out by storing; it may pass."""
    monkeypatch.setattr(control, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(control, "LOOK_WITHIN", 0.05)
    async with looked_after(spool, tmp_path) as health:
        await until(lambda: not health.troubles())
        spool.trouble = trouble
        await until(lambda: said in "".join(health.troubles()))
        spool.trouble = None
        await until(lambda: not health.troubles())


async def test_a_long_clean_up_holds_up_nothing(
    tmp_path: Path, spool: AilingSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool is looked at meanwhile, and the end doesn't wait for it."""

    async def endless(*_: object) -> int:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(spool, "expire", endless)
    monkeypatch.setattr(control, "LOOK_EVERY", 0.01)
    async with asyncio.timeout(5), looked_after(spool, tmp_path) as health:
        await until(lambda: not health.troubles())
        spool.trouble = SpoolFull(0)
        await until(lambda: "nearly full" in "".join(health.troubles()))


async def test_a_queue_that_is_long_to_count_is_no_trouble(
    tmp_path: Path, spool: AilingSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mail can be stored meanwhile, and so the relay is ready."""
    counting = asyncio.Event()

    async def endless(**_: object) -> list[Backlog]:
        counting.set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(spool, "backlogs", endless)
    monkeypatch.setattr(control, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(control, "LOOK_WITHIN", 0.05)
    async with asyncio.timeout(5), looked_after(spool, tmp_path) as health:
        await counting.wait()
        await until(lambda: not health.troubles())
        await asyncio.sleep(0.2)
        assert not health.troubles()


async def test_a_clean_up_that_fails_is_tried_again(
    tmp_path: Path, spool: AilingSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so in the log; mail is taken all the same."""
    times: list[object] = []

    async def failing(*_: object) -> int:
        times.append(_)
        raise SpoolUnavailable("OperationalError: database is locked")

    monkeypatch.setattr(spool, "expire", failing)
    monkeypatch.setattr(control, "CLEAN_EVERY", 0.01)
    async with looked_after(spool, tmp_path) as health:
        await until(lambda: len(times) > 2)
        assert not health.troubles()


def test_a_worker_that_cannot_store_mail_makes_it_not_ready() -> None:
    """Its clients hear 451, however well the others fare."""
    board = Board(3)
    health = Health(board)
    health.spool_trouble = ""
    assert health.troubles() == ["no worker is ready"]
    board.mark(0, Standing.READY)
    assert health.troubles() == []
    board.mark(2, Standing.AILING)
    assert health.troubles() == ["1 of 3 workers can't store mail"]


def test_workers_that_all_hang_make_it_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs leaves new clients to the others."""
    board, now = Board(2), time.monotonic()
    health = Health(board)
    health.spool_trouble = ""
    board.mark(0, Standing.READY)
    board.mark(1, Standing.READY)
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    assert health.troubles() == ["all workers hang"]
    board.mark(0, Standing.READY)
    assert health.troubles() == []

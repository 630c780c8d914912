"""A disk that fills up: no new mail is promised, what is there goes out, and all heals."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .peers.conversation import Answer, greeted
from .peers.process import wait_until, workplace
from .peers.program import Program
from .peers.sink import Sink

MIB = 1024**2
FLOOR = 16  # MiB that must stay free
WAITING = 20  # messages


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk of its own."""
    with workplace("disk") as directory:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=48m", "none", directory],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no disk of its own: {done.stderr.decode().strip()}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)


def _fill(disk: Path, leave: int) -> None:
    """Takes all but so many octets."""
    with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while (free := os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize) > leave:
            ballast.write(bytes(min(free - leave, MIB)))


def _say(program: Program, subject: str) -> Answer:
    """What the door answers to a message."""

    async def deliver() -> Answer:
        text = f"Subject: {subject}\r\n\r\n".encode() + b"Line.\r\n" * 1000
        async with greeted(program.ports["open"]) as conversation:
            return await conversation.deliver("ann@office.example", ["b@partner.example"], text)

    return asyncio.run(deliver())


@pytest.mark.parametrize("leave", [(FLOOR - 1) * MIB, 0])
def test_a_full_disk_loses_nothing_and_heals_by_itself(
    program: Program, sink: Sink, disk: Path, leave: int
) -> None:
    """Nearly full, the queue is delivered meanwhile; with not an octet left, afterwards."""
    program.config["state_dir"] = str(disk / "state")
    program.config["spool"] = {"free_space": f"{FLOOR} MiB"}
    program.config["delivery"] = {"retry": "1s", "retry_max": "1s"}
    program.start()
    sink.down()
    for number in range(WAITING):
        assert _say(program, f"waiting {number}.").code == 250
    _fill(disk, leave)
    wait_until(lambda: _say(program, "refused").enhanced == "4.3.1", "452 4.3.1 at the door")
    sink.up()
    if leave:
        sink.wait_for("Subject: waiting", WAITING)
        wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue")
        assert _say(program, "refused").code == 452
    (disk / "ballast").unlink()
    wait_until(lambda: _say(program, "after all").code == 250, "an open door")
    wait_until(lambda: program.json_command("queue", "list") == [], "an empty queue")
    assert program.stop() == 0
    assert [len(sink.about(f"Subject: waiting {n}.")) for n in range(WAITING)] == [1] * WAITING
    assert len(sink.about("after all")) == 1

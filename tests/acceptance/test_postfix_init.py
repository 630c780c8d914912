"""`filterrelay init --postfix` says what a real Postfix needs, and with that mail is signed."""

import getpass
import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .peers.conversation import submit
from .peers.postfix import Postfix, run_postfix
from .peers.process import LOOPBACK, Process, free_port, run, wait_until, workplace
from .peers.program import program_path
from .peers.sink import Sink

pytestmark = pytest.mark.peer("postfix")


@pytest.fixture
def postfix(sink: Sink) -> Iterator[Postfix]:
    """A Postfix as Debian has it: what asks milters may see the queue directory only."""
    settings = {"relay_transport": f"smtp:[{LOOPBACK}]:{sink.port}", "mynetworks": "127.0.0.0/8"}
    with run_postfix({"smtp": {}}, settings) as running:
        change = ["-F", "cleanup/unix/chroot=y"]
        assert run(["postconf", "-c", str(running.directory / "etc"), *change]).returncode == 0
        yield running


def follow(said: str, postfix: Postfix) -> None:
    """Does what a postmaster reads there: makes the folder, appends the lines, reloads."""
    (folder,) = re.findall(
        r"^   install -d -o filterrelay -g postfix -m 2750 (.*)$", said, re.MULTILINE
    )
    assert folder == str(postfix.directory / "queue" / "filterrelay")
    Path(folder).mkdir(mode=0o750)
    shutil.chown(folder, group="postfix")
    lines = re.findall(r"^(\w+ = .*)$", said, re.MULTILINE)
    main = postfix.directory / "etc" / "main.cf"
    main.write_text(main.read_text() + "".join(f"{line}\n" for line in lines))
    done = run(["postfix", "-c", str(main.parent), "reload"])
    assert done.returncode == 0, done.stderr


def adapt(file: Path) -> int:
    """Lets the file be served beside others on this machine; the metrics' port."""
    port = free_port()
    text = f'user = "{getpass.getuser()}"\n{file.read_text()}'
    default = '# address = "127.0.0.1:9325"'
    assert default in text
    file.write_text(text.replace(default, f'address = "{LOOPBACK}:{port}"'))
    return port


def is_ready(port: int) -> bool:
    """Whether filterrelay says so."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_what_init_prints_is_all_that_postfix_needs(postfix: Postfix, sink: Sink) -> None:
    """Three lines and a folder later, what goes through Postfix has our signature."""
    with workplace("init") as home:
        etc = postfix.directory / "etc"
        options = ["--postfix-config", str(etc), "--hostname", "relay.office.example"]
        done = run([program_path(), "init", str(home), *options])
        assert done.returncode == 0, done.stderr
        follow(done.stdout, postfix)
        metrics = adapt(home / "filterrelay.toml")
        command = [program_path(), "serve", "-c", str(home / "filterrelay.toml")]
        process = Process(command, home / "program.log")
        try:
            wait_until(lambda: is_ready(metrics), "filterrelay is ready")
            letter = b"From: <ann@office.example>\r\nSubject: signed\r\n\r\nText.\r\n"
            submit(postfix.ports["smtp"], ["user@partner.example"], letter)
            (arrival,) = sink.wait_for("Subject: signed")
            assert b"d=office.example" in arrival.message
            assert process.stop() == 0
        finally:
            process.kill_group()
        again = run([program_path(), "init", str(home / "again"), *options])
        assert "_milters = " not in again.stdout, "nothing is said that Postfix has already"

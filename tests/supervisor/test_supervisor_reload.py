"""SIGHUP: the next generation serves, and who is in a session of the last one notices nothing."""

import os
import signal
import socket
import stat
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from filterrelay.observe.metrics import RELOAD_RESULTS
from filterrelay.plugin.testing import SOME_TIME
from filterrelay.wire.certificate import VALID_FOR, self_signed
from tests.acceptance.peers.process import free_port, listens
from tests.acceptance.peers.sink import run_sink

from .conftest import Relay, begin, greeted, say, wait_until

DRAIN = 2  # seconds, as in the configuration
HANGING = """
import asyncio, pathlib
from filterrelay.supervisor import parent
work = parent.work
async def hangs(child):
    if pathlib.Path("hang").exists():
        await asyncio.Event().wait()
    await work(child)
parent.work = hangs
"""
ODD = """
import pathlib, time
from filterrelay.chain import loader
from filterrelay.supervisor import supervisor
load, supervisor.LOAD_WITHIN = loader.load_plugins, 1.0
def odd(*arguments):
    if pathlib.Path("odd").exists():
        raise ValueError("nobody foresaw this")
    if pathlib.Path("slow").exists():
        time.sleep(60)
    return load(*arguments)
loader.load_plugins = odd
"""


def test_sessions_of_before_go_on_to_their_own_end(relay: Relay) -> None:
    """Longer than the drain time: one within its message, and an idle one that sends one later."""
    relay.start()
    with greeted(relay) as idle, greeted(relay) as sending:
        begin(sending)
        relay.change("relay.office", "new.office")
        relay.reload()
        assert relay.greeting().startswith(b"220 new.office.example")
        time.sleep(DRAIN + 0.5)  # that they are given more than that is what is tested
        assert say(sending, "Subject: slow\n\nText.\n.").startswith("250")
        begin(idle)
        assert say(idle, "Subject: later\n\nText.\n.").startswith("250")
        begin(idle)
        assert say(idle, "Subject: once more\n\nText.\n.").startswith("250")
        assert say(idle, "QUIT").startswith("221")
        assert "generation_ended" not in relay.log()
        assert say(sending, "QUIT").startswith("221")
    wait_until(lambda: "generation_ended" in relay.log())
    assert relay.stop() == 0


def test_a_stop_ends_sessions_of_all_generations(relay: Relay) -> None:
    """SIGTERM drains those that were replaced, too."""
    relay.start()
    with greeted(relay) as before:
        relay.reload()
        with greeted(relay) as after:
            relay.signal(signal.SIGTERM)
            assert before.recv(1000).startswith(b"421 4.3.2")
            assert after.recv(1000).startswith(b"421 4.3.2")
    assert relay.stop() == 0


def test_many_reloads_end_the_oldest_sessions_only(relay: Relay) -> None:
    """Four generations live at once at most; a fifth comes when the first has been drained."""
    relay.start()
    clients, name = [greeted(relay)], "relay.office"
    for number in range(4):
        relay.change(name, name := f"g{number}.office")
        relay.reload()
        clients.append(greeted(relay, by=name))
    assert clients[0].recv(1000).startswith(b"421 4.3.2")
    assert all(say(client, "NOOP").startswith("250") for client in clients[1:])
    for client in clients:
        client.close()
    wait_until(lambda: relay.log().count("generation_ended") == 4)
    assert len(relay.children()) == 2


def test_limits_count_what_was_before(relay: Relay) -> None:
    """A client gets no second set of connections by a reload."""
    relay.change("[delivery]", "[limits]\nconnections_per_client = 1\n[delivery]")
    relay.start()
    with greeted(relay) as client:
        relay.reload()
        assert relay.greeting().startswith(b"421 4.7.0")
        say(client, "QUIT")
    wait_until(lambda: relay.greeting().startswith(b"220"))


def test_addresses_are_opened_and_closed(relay: Relay) -> None:
    """One that was removed isn't listened on, whatever sessions last; it can be put back."""
    relay.start()
    old, new = relay.smtp, free_port()
    with greeted(relay):
        relay.change(str(old), str(new))
        relay.reload()
        relay.smtp = new
        assert relay.greeting().startswith(b"220 ")
        wait_until(lambda: not listens(old))
        relay.change(str(new), str(old))
        relay.reload()
        relay.smtp = old
        assert relay.greeting().startswith(b"220 ")
        wait_until(lambda: not listens(new))


def test_a_missing_file_changes_nothing(relay: Relay) -> None:
    """A mount that is late or an editor that renames doesn't end the mail."""
    relay.start()
    relay.configuration.rename(relay.directory / "aside")
    relay.signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in relay.log())
    assert "can't be read" in relay.log()
    (relay.directory / "aside").rename(relay.configuration)
    relay.reload()
    assert relay.greeting().startswith(b"220 ")


def test_a_sockets_rights_are_not_ignored(relay: Relay) -> None:
    """They are given when it is made; a reload that would leave them as they are is refused."""
    path = relay.directory / "milter.sock"
    with relay.configuration.open("a") as file:
        file.write(f'[[listener]]\nkind = "milter"\naddress = "unix:{path}"\nmode = "0600"\n')
    relay.start()
    relay.change('"0600"', '"0666"')
    relay.signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in relay.log())
    assert f"mode and group of the listener at unix:{path}" in relay.log()
    assert relay.stop() == 0
    relay.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


@pytest.mark.parametrize(
    ("trouble", "said"), [("odd", "nobody foresaw this"), ("slow", "within 1 s")]
)
def test_a_plugin_that_can_t_be_loaded_changes_nothing(
    relay: Relay, trouble: str, said: str
) -> None:
    """Whatever it raises, and however long it takes."""
    relay.start(ODD)
    (relay.directory / trouble).touch()
    relay.signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in relay.log())
    assert said in relay.log()
    (relay.directory / trouble).unlink()
    relay.reload()
    assert relay.greeting().startswith(b"220 ")


def test_a_generation_that_never_comes_holds_up_nothing(relay: Relay) -> None:
    """While it is waited for, crashed workers are replaced and SIGTERM is heard."""
    relay.start(HANGING)
    victim = relay.children()[0]
    (relay.directory / "hang").touch()
    relay.signal(signal.SIGHUP)
    wait_until(lambda: len(relay.children()) == 4)
    (relay.directory / "hang").unlink()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in relay.children() and len(relay.children()) == 4)
    wait_until(lambda: relay.ask("/readyz")[0] == 200)
    began = time.monotonic()
    assert relay.stop() == 0
    assert time.monotonic() - began < DRAIN + 3


def test_a_generation_that_dies_changes_nothing(relay: Relay) -> None:
    """A filter that can't start is found out before the old one is given up."""
    relay.start(HANGING)
    before = relay.children()
    (relay.directory / "hang").touch()
    relay.signal(signal.SIGHUP)
    wait_until(lambda: len(relay.children()) == 4)
    os.kill(max(set(relay.children()) - set(before)), signal.SIGKILL)
    wait_until(lambda: "reload_refused" in relay.log())
    wait_until(lambda: relay.children() == before)
    assert relay.greeting().startswith(b"220 ")


def test_mail_goes_where_the_new_file_says(relay: Relay) -> None:
    """Also what a session of before sends: it keeps its worker, not the old way out."""
    relay.start()
    with greeted(relay) as before, run_sink() as sink:
        text = relay.configuration.read_text()
        old = text.partition('hosts = ["')[2].partition('"')[0]
        relay.change(old, f"127.0.0.1:{sink.port}")
        relay.reload()
        begin(before)
        assert say(before, "Subject: late\n\nText.\n.").startswith("250")
        sink.wait_for("Subject: late")
        assert "generation_ended" not in relay.log()


def test_the_mail_of_a_replaced_worker_that_crashes_is_freed(relay: Relay) -> None:
    """It doesn't wait until its lease runs out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a next hop that never says a word
        relay.change("tls = ", "connect_timeout = '1h'\ntls = ")
        text = relay.configuration.read_text()
        port = silent.getsockname()[1]
        relay.configuration.write_text(
            text.replace(text.partition('hosts = ["')[2].partition('"')[0], f"127.0.0.1:{port}")
        )
        relay.start()
        before = relay.children()
        with greeted(relay) as client:
            begin(client)
            assert say(client, "Subject: stuck\n\nText.\n.").startswith("250")
            relay.reload()
            wait_until(lambda: len(relay.children()) == 3)
            (old,) = set(before) & set(relay.children())
            os.kill(old, signal.SIGKILL)
            wait_until(lambda: "leases_recovered" in relay.log())


def test_the_log_follows_the_file(relay: Relay) -> None:
    """More is logged once the file says so, by the supervisor and the workers."""
    relay.start()
    relay.greeting()
    relay.change('format = "json"', 'format = "json"\nlevel = "debug"')
    relay.reload()
    assert '"session_ended"' not in relay.log()

    def told() -> bool:
        relay.greeting()  # perhaps still by the former generation
        return '"session_ended"' in relay.log()

    wait_until(told)


def test_metrics_outlive_reloads(relay: Relay) -> None:
    """Counters never go back, the spool stays known, and no files pile up."""
    accepted = 'filterrelay_connections_total{listener="smtp",result="accepted"}'
    relay.start()
    for number in range(3):
        relay.greeting()
        assert relay.told(accepted) == number + 1
        relay.reload()
        ended = number + 1
        wait_until(lambda: relay.log().count("generation_ended") == ended)  # noqa: B023  # at once
        assert relay.told(accepted) == number + 1
        wait_until(lambda: relay.told('filterrelay_spool_messages{state="queued"}') == 0)
        assert (relay.told("filterrelay_spool_free_bytes") or 0) > 0
    files = [path.name for path in Path(relay.directory, "state", "metrics").iterdir()]
    owners = {name.rpartition("_")[2] for name in files}
    assert owners == {"supervisor.db", "gone.db", "g3w0.db", "g3control.db"}


def test_the_certificate_that_is_served_counts_not_the_one_on_disk(relay: Relay) -> None:
    """One that was renewed, and then not reloaded, still ends."""
    soon, later = SOME_TIME, SOME_TIME + timedelta(days=90)

    def renew(at: datetime) -> None:
        for name, pem in zip(("cert.pem", "key.pem"), self_signed(["relay"], at), strict=True):
            (relay.directory / name).write_bytes(pem)

    def end() -> float | None:
        return relay.told("filterrelay_certificate_expiry_timestamp_seconds")

    renew(soon)
    relay.change("[[upstream]]", '[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n[[upstream]]')
    relay.start()
    assert end() == (soon + VALID_FOR).timestamp()
    renew(later)
    assert end() == (soon + VALID_FOR).timestamp()
    configured = relay.told("filterrelay_configured_timestamp_seconds")
    relay.reload()
    assert end() == (later + VALID_FOR).timestamp()
    assert relay.told("filterrelay_configured_timestamp_seconds") != configured
    (relay.directory / "cert.pem").write_text("this is no certificate")
    relay.signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in relay.log())
    counted = [relay.told(f'filterrelay_reloads_total{{result="{r}"}}') for r in RELOAD_RESULTS]
    assert (counted, end()) == ([1, 1], (later + VALID_FOR).timestamp())


PROBED = """
from filterrelay.chain import probing
from filterrelay_plugins.auth_file import AuthFile
probing.EVERY = 0.1
async def probe(self):
    if self._options.path.name != "users":
        raise ValueError("nobody answers")
AuthFile.probe = probe
"""
AUTH = '[[auth]]\nuse = "auth-file"\n[auth.options]\npath = "{}"\n[[upstream]]'


def test_what_plugins_depend_on_is_asked_by_the_generation_that_serves(relay: Relay) -> None:
    """One that was replaced, and still has a session, knows nothing of what is now."""
    for name in ("users", "others"):
        (relay.directory / name).touch()
    relay.change("[[upstream]]", AUTH.format("others"))
    relay.start(PROBED)
    up = 'filterrelay_plugin_up{plugin="auth-file"}'
    wait_until(lambda: relay.told(up) == 0)
    with greeted(relay):
        relay.change('"others"', '"users"')
        relay.reload()
        wait_until(lambda: relay.told(up) == 1)
        time.sleep(0.5)  # it would ask again
        assert relay.told(up) == 1
    assert relay.log().count("plugin_unavailable") == 1

"""The door takes connections one by one, turns too many away, and drains in bounded time."""

import asyncio
import errno
import gc
import socket
import ssl
import weakref
from pathlib import Path

import pytest

from filterrelay.doors import server
from tests.doors.conftest import OpenDoor, held


async def test_implicit_tls_greets_inside_tls(open_door: OpenDoor) -> None:
    """At an implicit TLS listener AUTH is offered at once and STARTTLS never."""
    running = await open_door(tls="implicit", auth="required")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = await running.connect(ssl=context)
    offered = await client.say("EHLO client.example")
    assert "AUTH PLAIN LOGIN" in offered
    assert "STARTTLS" not in offered
    assert (await client.say("STARTTLS")).startswith("503 ")


async def test_plain_text_at_an_implicit_tls_listener_is_cut_off(open_door: OpenDoor) -> None:
    """Who doesn't speak TLS there gets no session."""
    running = await open_door(tls="implicit")
    client = await running.connect(greeted=False)
    client.send(b"EHLO client.example\r\n")
    assert b"220" not in await client.reader.read()
    await running.until(lambda: any(e["event"] == "connection_refused" for e in running.logs))


async def test_trusted_networks_are_trusted(open_door: OpenDoor) -> None:
    """A client from there may relay without a login."""
    running = await open_door(trusted_networks=("127.0.0.0/8",))
    client = await running.connect()
    await client.begin()
    await client.say("DATA", "a: b\r\n\r\n.")
    assert running.intake.messages[0].session.trusted
    assert running.intake.messages[0].session.client_ip == "127.0.0.1"


async def test_a_unix_socket_serves_local_clients(open_door: OpenDoor, tmp_path: Path) -> None:
    """A client on a unix socket has no address."""
    running = await open_door()
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "smtp.sock"))
    sock.listen()
    await running.drain(1)
    again = await open_door(sock=sock)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "smtp.sock"))
    assert (await reader.readline()).startswith(b"220 ")
    (session,) = again.sessions()
    assert session.client.client_ip == ""
    writer.close()
    await writer.wait_closed()


async def test_too_many_connections_are_turned_away(open_door: OpenDoor) -> None:
    """limits.connections counts all; when one goes there is room again."""
    running = await open_door(limits={"connections": 2})
    first = await running.connect()
    await running.connect()
    third = await running.connect(greeted=False)
    assert (await third.answer()).startswith("421 4.7.0 ")
    assert await third.ended()
    await first.say("QUIT")
    await running.until(lambda: len(running.sessions()) == 1)
    await running.connect()
    name = "filterrelay_connections_total"
    assert running.count(name, listener="submission", result="too_many") == 1
    assert running.count(name, listener="submission", result="accepted") == 3


async def test_one_client_may_not_take_all_connections(open_door: OpenDoor) -> None:
    """limits.connections_per_client leaves room for the others."""
    running = await open_door(limits={"connections_per_client": 1})
    await running.connect()
    second = await running.connect(greeted=False)
    assert "from you" in await second.answer()
    await running.connect(local_addr=("127.0.0.2", 0))


async def test_proxied_clients_are_known_by_their_own_address(open_door: OpenDoor) -> None:
    """The PROXY header's address counts for limits, trust and trace."""
    running = await open_door(
        proxy_protocol=True,
        trusted_networks=("192.0.2.0/24",),
        limits={"connections_per_client": 1},
    )
    for last in (1, 2):
        client = await running.connect(greeted=False)
        client.send(b"PROXY TCP4 192.0.2.%d 198.51.100.1 4711 25\r\n" % last)
        assert (await client.answer()).startswith("220 ")
    addresses = {session.client.client_ip for session in running.sessions()}
    assert addresses == {"192.0.2.1", "192.0.2.2"}
    assert all(session.client.trusted for session in running.sessions())


async def test_the_proxy_header_comes_before_tls(open_door: OpenDoor) -> None:
    """Also ahead of implicit TLS the header is plain."""
    running = await open_door(proxy_protocol=True, tls="implicit")
    client = await running.connect(greeted=False)
    client.send(b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 465\r\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    await client.writer.start_tls(context)
    assert (await client.answer()).startswith("220 ")
    assert running.sessions()[0].client.client_ip == "2001:db8::1"


async def test_without_a_proxy_header_there_is_no_session(open_door: OpenDoor) -> None:
    """A client that comes around the proxy is not served."""
    running = await open_door(proxy_protocol=True)
    client = await running.connect(greeted=False)
    client.send(b"EHLO client.example\r\n")
    assert await client.ended()


async def test_a_silent_proxy_is_hung_up_on(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header has to come soon."""
    monkeypatch.setattr(server, "PROXY_TIMEOUT", 0.01)
    running = await open_door(proxy_protocol=True)
    client = await running.connect(greeted=False)
    assert await client.ended()


async def test_a_stranger_s_proxy_header_is_not_read(open_door: OpenDoor) -> None:
    """Who reaches the port around the load balancer can't name itself a trusted client."""
    running = await open_door(
        proxy_protocol=True, proxy_from=("127.9.0.0/16",), trusted_networks=("10.0.0.0/8",)
    )
    stranger = await running.connect(greeted=False)
    stranger.send(b"PROXY TCP4 10.0.0.1 198.51.100.1 4711 25\r\n")
    assert await stranger.ended()
    proxy = await running.connect(greeted=False, local_addr=("127.9.0.1", 0))
    proxy.send(b"PROXY TCP4 10.0.0.1 198.51.100.1 4711 25\r\n")
    assert (await proxy.answer()).startswith("220 ")
    (refused,) = [entry for entry in running.logs if entry["event"] == "connection_refused"]
    assert refused["client"] == "127.0.0.1"
    assert "proxy_from" in refused["reason"]


async def test_connections_without_a_header_yet_are_counted(open_door: OpenDoor) -> None:
    """limits.connections holds from the first moment, and once only for each."""
    running = await open_door(proxy_protocol=True, limits={"connections": 2})
    header = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\r\n"
    first = await running.connect(greeted=False)
    second = await running.connect(greeted=False)
    third = await running.connect(greeted=False)
    assert (await third.answer()).startswith("421 4.7.0 ")
    for client in (first, second):
        client.send(header)
        assert (await client.answer()).startswith("220 ")
    await first.say("QUIT")
    await running.until(lambda: len(running.door._sessions) == 1)
    again = await running.connect(greeted=False)
    again.send(header)
    assert (await again.answer()).startswith("220 ")


async def test_accepting_pauses_when_files_are_spent(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file to spare the door waits a moment instead of spinning or dying."""
    monkeypatch.setattr(server, "BREATHER", 0.01)
    running = await open_door()
    real, tries = running.door._sock, []

    class Spent:
        def accept(self) -> object:
            tries.append(1)
            if len(tries) == 1:
                raise OSError(errno.EMFILE, "too many open files")
            return real.accept()

        def fileno(self) -> int:
            return int(real.fileno())

        def close(self) -> None:
            real.close()

    monkeypatch.setattr(running.door, "_sock", Spent())
    await running.connect()
    assert len(tries) == 2
    assert any(entry["event"] == "cannot_accept" for entry in running.logs)


async def test_idle_sessions_hear_421_when_the_door_drains(open_door: OpenDoor) -> None:
    """Who has nothing under way is sent elsewhere at once."""
    running = await open_door()
    client = await running.connect()
    await client.say("EHLO client.example")
    assert "sessions_cut" not in await running.drain(5)
    assert (await client.answer()).startswith("421 4.3.2 ")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*running.address)


async def test_a_transaction_under_way_is_finished(open_door: OpenDoor) -> None:
    """A slow sender may end its message within the grace, and hears 421 after the 250."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    draining = asyncio.create_task(running.drain(10))
    assert (await client.say("DATA")).startswith("354 ")
    assert (await client.say("a: b\r\n\r\n.")).startswith("250 ")
    assert (await client.answer()).startswith("421 4.3.2 ")
    assert "sessions_cut" not in await draining
    assert len(running.intake.messages) == 1


async def test_who_is_not_through_in_time_hears_421(open_door: OpenDoor) -> None:
    """The grace is kept, whatever clients do."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    await client.say("DATA")
    assert "sessions_cut" in await running.drain(0.1)
    assert (await client.answer()).startswith("421 4.3.2 ")
    assert await client.ended()
    assert running.budget.used == 0


async def test_an_intake_that_hangs_is_cut(open_door: OpenDoor) -> None:
    """Even a filter that never answers can't keep the process from ending."""
    running = await open_door()
    async with held(running.intake, "receive"):
        client = await running.connect()
        await client.begin()
        await client.say("DATA")
        client.send(b"a: b\r\n\r\n.\r\n")
        await running.until(lambda: "receive" in running.intake.asked)
        assert "sessions_cut" in await running.drain(0.1)
        assert await client.ended()
    assert running.budget.used == 0


async def test_a_handshake_under_way_does_not_hold_up_the_drain(open_door: OpenDoor) -> None:
    """A client that never speaks TLS is gone soon."""
    running = await open_door(tls="implicit")
    client = await running.connect(greeted=False)
    await running.until(lambda: bool(running.door._sessions))
    assert "sessions_cut" not in await running.drain(5)
    assert await client.ended()


async def test_a_session_without_a_greeting_yet_is_drained(open_door: OpenDoor) -> None:
    """A client that a plugin still looks at hears 421 in place of more."""
    running = await open_door()
    async with held(running.intake, "on_connect") as greeting:
        client = await running.connect(greeted=False)
        await running.until(lambda: bool(running.sessions()))
        draining = asyncio.create_task(running.drain(5))
        await running.until(lambda: running.door._draining)
        greeting.set_result(None)
        assert (await client.answer()).startswith("421 4.3.2 ")
        assert "sessions_cut" not in await draining


async def test_a_retired_door_lets_its_sessions_go_on(open_door: OpenDoor) -> None:
    """No new client comes in; who is there sends as much as it likes, and says QUIT itself."""
    running = await open_door()
    idle, sending = await running.connect(), await running.connect()
    await sending.begin()
    retiring = asyncio.create_task(running.door.retire())
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*running.address)
    assert (await sending.say("DATA")).startswith("354 ")
    assert (await sending.say("a: b\r\n\r\n.")).startswith("250 ")
    await idle.begin()
    assert (await idle.say("QUIT")).startswith("221 ")
    assert not retiring.done()
    assert (await sending.say("NOOP", "QUIT")).startswith("221 ")
    async with asyncio.timeout(10):
        await retiring


async def test_a_retired_door_can_still_be_drained(open_door: OpenDoor) -> None:
    """When the relay stops, or after too long a time, its sessions hear 421 after all."""
    running = await open_door()
    client = await running.connect()
    retiring = asyncio.create_task(running.door.retire())
    await asyncio.sleep(0)
    await running.drain(5)
    assert (await client.answer()).startswith("421 4.3.2 ")
    await retiring


async def test_open_sessions_are_counted(open_door: OpenDoor) -> None:
    """The gauge goes up and down with the connections."""
    running = await open_door()
    client = await running.connect()
    assert running.count("filterrelay_sessions", listener="submission") == 1
    await client.say("QUIT")
    await running.until(lambda: not running.sessions())
    assert running.count("filterrelay_sessions", listener="submission") == 0


@pytest.mark.parametrize("tls", ["none", "starttls"])
@pytest.mark.parametrize("ending", ["QUIT", "close", "timeout"])
async def test_a_session_that_ended_is_gone_at_once(
    open_door: OpenDoor, tls: str, ending: str
) -> None:
    """A circle of references would keep each session's buffers until the collector runs."""
    limits = {"command_timeout": "1s"} if ending == "timeout" else {}
    running = await open_door(tls=tls, limits=limits)
    client = await running.connect()
    if tls == "starttls":
        await client.start_tls()
    gc.disable()
    try:
        session = weakref.ref(running.sessions()[0])
        if ending == "QUIT":
            await client.say("QUIT")
        if ending != "timeout":
            await client.close()
        await running.until(lambda: not running.sessions())
        await running.until(lambda: session() is None)
    finally:
        gc.enable()


async def test_a_session_s_lines_in_the_log_have_its_id(open_door: OpenDoor) -> None:
    """From the connection to its end one word finds them all, and the message's line, too."""
    running = await open_door(tls="starttls", auth="optional")
    client = await running.connect()
    await client.start_tls()
    await client.say("AUTH PLAIN AGFubmEAd3Jvbmc=")
    running.intake.answers["on_helo"] = RuntimeError("a bug")
    await client.say("EHLO client.example", "QUIT")
    assert await client.ended()
    await running.until(lambda: not running.sessions())
    wanted = ["connection_accepted", "login", "intake_failed", "session_ended"]
    assert [entry["event"] for entry in running.logs] == wanted
    assert {entry["session"] for entry in running.logs} == {running.intake.closed[0].id}

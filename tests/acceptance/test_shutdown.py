"""Stopping and reloading are everyday acts: no client notices more than it must."""

import asyncio
import re
import signal

from .peers.conversation import Answer, Closed, connect, greeted, trusting_context
from .peers.load import arrived, under_load
from .peers.process import LOOPBACK, listens, wait_until
from .peers.program import USERS, Program
from .peers.sink import Sink

GRACE = 6  # seconds that sessions under way may take
TEXT = b"From: <ann@office.example>\r\nSubject: slow\r\n\r\n"


async def test_sigterm_lets_the_slow_finish_and_bids_the_idle_farewell(
    program: Program, sink: Sink
) -> None:
    """The idle get 421, a message under way gets its 250, and the exit code is 0."""
    program.config["delivery"] = {"drain": f"{GRACE}s"}
    program.start()
    port = program.ports["open"]
    async with greeted(port) as idle, greeted(port) as slow:
        await slow.ask(b"MAIL FROM:<ann@office.example>")
        await slow.ask(b"RCPT TO:<user@partner.example>")
        assert (await slow.ask(b"DATA")).code == 354
        await slow.send(TEXT)
        program.process.signal(signal.SIGTERM)
        farewell = await idle.read()
        assert (farewell.code, farewell.enhanced[:2]) == (421, "4.")
        assert await idle.is_closed()
        await asyncio.to_thread(wait_until, lambda: not listens(port), "a closed door")
        for _ in range(10):
            await slow.send(b"a line at a time\r\n")
            await asyncio.sleep(0.1)  # slowness is what is tested
        await slow.send(b".\r\n")
        answer = await slow.read()
        assert answer.code == 250, answer
        assert await slow.is_closed(), "one message is finished, not begun anew"
    assert await asyncio.to_thread(program.process.wait, GRACE + 5) == 0
    assert len(sink.about("Subject: slow")) == 1


async def test_sigterm_waits_no_longer_than_its_grace(program: Program, sink: Sink) -> None:
    """Who never finishes is cut off after delivery.drain; nothing of its message goes on."""
    program.config["delivery"] = {"drain": "2s"}
    program.start()
    async with greeted(program.ports["open"]) as endless:
        await endless.ask(b"MAIL FROM:<ann@office.example>")
        await endless.ask(b"RCPT TO:<user@partner.example>")
        await endless.ask(b"DATA")
        await endless.send(TEXT)
        program.process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(program.process.wait, 10) == 0
        assert await endless.is_closed()
    assert sink.arrivals == []


def test_sigterm_under_load_loses_nothing(program: Program, sink: Sink) -> None:
    """Whatever was acknowledged before the end is upstream, or is after the next start."""
    program.config["delivery"] = {"drain": f"{GRACE}s", "retry": "1s"}
    program.start()
    with under_load(program.ports["open"], clients=8) as load:
        load.wait_for(100)
        assert program.stop(GRACE + 10) == 0
    assert all(refusal.startswith("421 4.") for refusal in load.refusals), load.refusals
    program.start()
    acknowledged = set(load.acknowledged)
    wait_until(lambda: acknowledged <= set(arrived(sink)), "all that was acknowledged", 30)
    assert program.stop() == 0
    assert sorted(arrived(sink)) == sorted(load.acknowledged)


async def _greeting(port: int) -> str:
    async with connect(port) as conversation:
        return (await conversation.read()).text


def _wait_for_name(port: int, name: str) -> None:
    wait_until(lambda: name in asyncio.run(_greeting(port)), f"a greeting by {name}", 30)


async def test_sighup_takes_the_new_file_and_drops_no_session(program: Program, sink: Sink) -> None:
    """A session from before goes on to its end; new ones meet the new configuration."""
    program.config["delivery"] = {"drain": f"{GRACE}s"}
    program.start()
    port = program.ports["open"]
    async with greeted(port) as before, greeted(port) as idle:
        assert (await before.ask(b"MAIL FROM:<ann@office.example>")).code == 250
        program.config["hostname"] = "renamed.office.example"
        program.write_config()
        program.reload()
        await asyncio.to_thread(_wait_for_name, port, "renamed.office.example")
        assert (await before.ask(b"RCPT TO:<user@partner.example>")).code == 250
        assert (await before.ask(b"DATA")).code == 354
        await before.send(b"Subject: across a reload\r\n\r\n")
        await asyncio.sleep(GRACE + 1)  # longer than a stop would wait
        await before.send(b"Text.\r\n.\r\n")
        assert (await before.read()).code == 250
        later = await idle.deliver(
            "ann@office.example", ["user@partner.example"], b"Subject: long after\r\n\r\nText.\r\n"
        )
        assert later.code == 250
    await asyncio.to_thread(sink.wait_for, "across a reload")
    await asyncio.to_thread(sink.wait_for, "long after")
    assert await asyncio.to_thread(program.stop) == 0


async def test_sighup_ends_no_lock_out(program: Program) -> None:
    """Who guesses passwords isn't forgotten by a reload."""
    program.config["limits"] = {"login_failures": 1}
    program.start()
    port = program.ports["submission"]
    assert (await _login(port, "a wrong guess")).code == 535
    program.config["hostname"] = "renamed.office.example"
    program.write_config()
    program.reload()
    await asyncio.to_thread(_wait_for_name, port, "renamed.office.example")
    assert (await _login(port, USERS["ann@office.example"])).code != 235


async def _login(port: int, password: str) -> Answer:
    async with greeted(port) as conversation:
        await conversation.ask(b"STARTTLS")
        await conversation.start_tls(trusting_context())
        await conversation.ask(b"EHLO client.office.example")
        return await conversation.log_in("ann@office.example", password)


def test_sighup_under_load_breaks_nothing(program: Program, sink: Sink) -> None:
    """Three reloads while clients send: not one of them is refused or cut off."""
    program.start()
    port = program.ports["open"]
    with under_load(port) as load:
        for turn in range(3):
            name = f"turn{turn}.office.example"
            program.config["hostname"] = name
            program.write_config()
            load.wait_for(20)
            program.reload()
            _wait_for_name(port, name)
            load.wait_for(20)
    assert load.broken == []
    assert load.refusals == []
    acknowledged = set(load.acknowledged)
    wait_until(lambda: acknowledged <= set(arrived(sink)), "all that was acknowledged", 30)
    assert sorted(arrived(sink)) == sorted(load.acknowledged)
    assert program.stop() == 0


BAD_FILES = {
    "an unknown key": 'no_such_key = "x"\n',
    "no TOML at all": "hostname = = \n",
    "a filter that doesn't exist": '[[filter]]\nuse = "no-such-filter"\n',
    "a wrong type": 'workers = "many"\n',
}


async def test_sighup_with_a_bad_file_changes_nothing(program: Program, sink: Sink) -> None:
    """The old configuration goes on serving, and the log says what is wrong with the new one."""
    program.start()
    port = program.ports["open"]
    good = program.file.read_text()
    for number, (what, line) in enumerate(BAD_FILES.items()):
        bad = line + good if line[0] != "[" else good + line
        program.file.write_text(bad.replace("relay.office.example", "bad.office.example"))
        program.reload()
        await asyncio.to_thread(_wait_for_complaint, program, number + 1, what)
        assert "relay.office.example" in await _greeting(port)
        async with greeted(port) as conversation:
            answer = await conversation.deliver(
                "ann@office.example", ["user@partner.example"], f"Subject: {what}\r\n".encode()
            )
            assert answer.code == 250
        await asyncio.to_thread(sink.wait_for, what)
    program.file.write_text(good.replace("relay.office.example", "good.office.example"))
    program.reload()
    await asyncio.to_thread(_wait_for_name, port, "good.office.example")
    assert await asyncio.to_thread(program.stop) == 0


def _complaints(program: Program) -> list[str]:
    """The log's errors about a configuration that was not taken."""
    found = []
    for event in program.log_events():
        serious = event.get("level") in {"error", "critical", "warning"}
        if serious and re.search("reload|config", str(event), re.IGNORECASE):
            found.append(str(event))
    return found


def _wait_for_complaint(program: Program, count: int, what: str) -> None:
    wait_until(lambda: len(_complaints(program)) >= count, f"a complaint about {what}")


async def test_a_second_sigterm_does_no_harm(program: Program) -> None:
    """An impatient operator, or a service manager, may ask twice."""
    program.config["delivery"] = {"drain": "2s"}
    program.start()
    async with greeted(program.ports["open"]) as idle:
        program.process.signal(signal.SIGTERM)
        program.process.signal(signal.SIGTERM)
        assert (await idle.read()).code == 421
    assert await asyncio.to_thread(program.process.wait, 10) == 0
    assert not listens(program.ports["open"])


async def test_the_port_is_free_at_once(program: Program) -> None:
    """A restart finds its own address free, even while old connections linger."""
    program.start()
    async with greeted(program.ports["open"]) as lingering:
        await asyncio.to_thread(program.stop)
        await asyncio.to_thread(program.start)
        assert await lingering.is_closed()
    try:
        async with greeted(program.ports["open"]):
            pass
    except Closed as error:
        raise AssertionError(f"nobody at {LOOPBACK} after the restart") from error

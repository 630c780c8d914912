"""Logins work over TLS only, one at a time, and guessing is slow and soon over."""

import base64

import pytest

from filterrelay.doors.login import MOST_TARPIT
from filterrelay.intake.stages import AuthUnavailable, LoginOver
from filterrelay.mail.session import Identity
from tests.doors.conftest import OpenDoor, RawClient, RunningDoor


def b64(text: str) -> str:
    """The text as AUTH sends it."""
    return base64.b64encode(text.encode()).decode()


GOOD = "AUTH PLAIN " + b64("\0anna\0sesame")
BAD = "AUTH PLAIN " + b64("\0anna\0wrong")


async def over_tls(
    open_door: OpenDoor, limits: dict[str, int] | None = None
) -> tuple[RunningDoor, RawClient]:
    """A door and a client that may log in now."""
    running = await open_door(tls="starttls", auth="required", limits=limits)
    client = await running.connect()
    await client.start_tls()
    return running, client


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ((GOOD,), "235 2.7.0"),
        (("auth plain " + b64("\0anna\0sesame"),), "235 2.7.0"),
        (("AUTH PLAIN", b64("\0anna\0sesame")), "235 2.7.0"),
        (("AUTH PLAIN", b64("anna\0anna\0sesame")), "235 2.7.0"),
        (("AUTH LOGIN", b64("anna"), b64("sesame")), "235 2.7.0"),
        (("AUTH LOGIN " + b64("anna"), b64("sesame")), "235 2.7.0"),
        ((BAD,), "535 5.7.8"),
        (("AUTH LOGIN", b64("anna"), b64("wrong")), "535 5.7.8"),
        (("AUTH PLAIN " + b64("root\0anna\0sesame"),), "535 5.7.8"),
        (("AUTH PLAIN " + b64("\0anna\0"),), "535 5.7.8"),
        (("AUTH PLAIN " + b64("\0\0sesame"),), "535 5.7.8"),
        (("AUTH PLAIN", "*"), "501 5.7.0"),
        (("AUTH LOGIN", "*"), "501 5.7.0"),
        (("AUTH LOGIN", b64("anna"), "*"), "501 5.7.0"),
        (("AUTH PLAIN =",), "501 5.5.2"),
        (("AUTH PLAIN !!!!",), "501 5.5.2"),
        (("AUTH PLAIN ÄÖÜ",), "501 5.5.2"),
        (("AUTH PLAIN " + b64("anna\0sesame"),), "501 5.5.2"),
        (("AUTH PLAIN " + b64("\0anna\0sesame\0"),), "501 5.5.2"),
        (("AUTH PLAIN " + b64("\0anna\r\nevil\0sesame"),), "501 5.5.2"),
        (("AUTH PLAIN /w==",), "501 5.5.2"),
        (("AUTH PLAIN " + base64.b64encode(b"\0\xff\0x").decode(),), "501 5.5.2"),
        (("AUTH PLAIN", "MAIL FROM:<a@office.example>"), "501 5.5.2"),
        (("AUTH",), "501 5.5.4"),
        (("AUTH PLAIN a b",), "501 5.5.4"),
        (("AUTH CRAM-MD5",), "504 5.5.4"),
        (("AUTH PLA\u0131N",), "504 5.5.4"),
        (("AUTH PLAIN", "A" * 20_000), "500 5.5.6"),
    ],
)
async def test_each_exchange_has_its_end(
    open_door: OpenDoor, lines: tuple[str, ...], last: str
) -> None:
    """PLAIN and LOGIN, with and without initial response, good, bad, broken and cancelled."""
    _, client = await over_tls(open_door)
    for line in lines:
        reply = await client.say(line)
    assert reply.startswith(last)
    assert (await client.say("NOOP")).startswith("250 ")


async def test_a_login_is_known_to_what_follows(open_door: OpenDoor) -> None:
    """Messages carry the identity; the password shows nowhere."""
    running, client = await over_tls(open_door)
    await client.say(GOOD)
    await client.begin()
    await client.say("DATA", "a: b\r\n\r\n.")
    assert running.intake.messages[0].session.login == "anna"
    assert "sesame" not in repr(running.intake.credentials)


async def test_rset_and_ehlo_keep_the_login(open_door: OpenDoor) -> None:
    """Only STARTTLS and the end forget who logged in."""
    _, client = await over_tls(open_door)
    await client.say(GOOD, "RSET", "EHLO client.example")
    assert (await client.say(GOOD)).startswith("503 5.5.1 ")


async def test_no_password_in_plain_text(open_door: OpenDoor) -> None:
    """Without TLS AUTH is refused before anything is looked at (RFC 4954 section 4)."""
    running = await open_door(tls="starttls", auth="required")
    client = await running.connect()
    await client.say("EHLO client.example")
    assert (await client.say(GOOD)).startswith("538 5.7.11 ")
    assert running.intake.credentials == []


async def test_no_login_where_none_is_wanted(open_door: OpenDoor) -> None:
    """A listener with auth = none has no AUTH."""
    running = await open_door(tls="starttls", auth="none")
    client = await running.connect()
    await client.start_tls()
    assert (await client.say(GOOD)).startswith("503 5.5.1 ")


async def test_ehlo_comes_before_auth(open_door: OpenDoor) -> None:
    """AUTH is an extension: it wants EHLO inside TLS, HELO won't do."""
    running = await open_door(tls="starttls", auth="optional")
    client = await running.connect()
    await client.start_tls(ehlo=False)
    assert (await client.say(GOOD)).startswith("503 5.5.1 ")
    assert (await client.say("HELO client.example", GOOD)).startswith("503 5.5.1 ")


async def test_no_login_within_a_transaction(open_door: OpenDoor) -> None:
    """The sender isn't changed under a message (RFC 4954 section 4)."""
    running = await open_door(tls="starttls", auth="optional")
    client = await running.connect()
    await client.start_tls()
    await client.begin()
    assert (await client.say(GOOD)).startswith("503 5.5.1 ")


async def test_too_many_failures_lock_out(open_door: OpenDoor) -> None:
    """After limits.login_failures even the right password has to wait, unasked."""
    running, client = await over_tls(open_door, {"login_failures": 3})
    for _ in range(3):
        assert (await client.say(BAD)).startswith("535 ")
    asked = len(running.intake.credentials)
    assert (await client.say(GOOD)).startswith("454 4.7.0 ")
    another = await running.connect()
    await another.start_tls()
    assert (await another.say(GOOD)).startswith("454 4.7.0 ")
    assert len(running.intake.credentials) == asked
    assert running.count("filterrelay_logins_total", listener="submission", result="locked") == 2


async def test_a_frozen_account_s_phone_locks_nobody_out(open_door: OpenDoor) -> None:
    """Its right password isn't guessing: it is refused, logged and counted by its own name."""
    running, client = await over_tls(open_door, {"login_failures": 2})
    running.intake.answers["authenticate"] = Identity("anna", frozen=True)
    for _ in range(3):
        assert (await client.say(GOOD)).startswith("525 5.7.13 ")
    running.intake.answers.clear()
    assert (await client.say(GOOD)).startswith("235 ")
    logins = [entry["result"] for entry in running.logs if entry["event"] == "login"]
    assert logins == ["frozen"] * 3 + ["ok"]
    assert running.count("filterrelay_logins_total", listener="submission", result="frozen") == 3


async def test_a_neighbours_wrong_password_shuts_nobody_else_out(open_door: OpenDoor) -> None:
    """One phone with an old password doesn't stop the mail of a whole office behind one address."""
    _, client = await over_tls(open_door, {"login_failures": 2})
    for _ in range(2):
        assert (await client.say("AUTH PLAIN " + b64("\0bert\0old"))).startswith("535 ")
    assert (await client.say("AUTH PLAIN " + b64("\0bert\0old"))).startswith("454 ")
    assert (await client.say(GOOD)).startswith("235 ")


async def test_a_failing_authenticator_is_our_fault(open_door: OpenDoor) -> None:
    """A directory that is down makes nobody's password wrong, and locks nobody out."""
    running, client = await over_tls(open_door, {"login_failures": 1})
    for error in (AuthUnavailable("ldap", "down"), RuntimeError("secret")):
        running.intake.answers["authenticate"] = error
        reply = await client.say(GOOD)
        assert reply.startswith("45")
        assert "secret" not in reply
    running.intake.answers.clear()
    assert (await client.say(GOOD)).startswith("235 ")


async def test_each_failure_makes_the_next_answer_later(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tarpit doubles with each failure, up to a bound."""
    waited: list[float] = []

    async def pause(_: object, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("filterrelay.doors.smtp.SmtpSession.pause", pause)
    running = await open_door(
        tls="starttls", auth="required", policy={"tarpit": 1.0}, limits={"login_failures": 50}
    )
    client = await running.connect()
    await client.start_tls()
    for _ in range(6):
        await client.say(BAD)
    assert waited == [1.0, 2.0, 4.0, MOST_TARPIT, MOST_TARPIT, MOST_TARPIT]


async def test_the_tarpit_ends_with_the_door(open_door: OpenDoor) -> None:
    """A drain doesn't wait for a client that is being slowed down."""
    running = await open_door(tls="starttls", auth="required", policy={"tarpit": 60.0})
    client = await running.connect()
    await client.start_tls()
    client.send(f"{BAD}\r\n".encode())
    await running.until(lambda: "authenticate" in running.intake.asked)
    assert "sessions_cut" not in await running.drain(5)
    assert (await client.answer()).startswith("421 4.3.2 ")


async def test_logins_are_logged_without_passwords(open_door: OpenDoor) -> None:
    """Who logged in, from where and with what result; never with what."""
    running, client = await over_tls(open_door)
    await client.say(BAD)
    await client.say(GOOD)
    logins = [entry for entry in running.logs if entry["event"] == "login"]
    assert [entry["result"] for entry in logins] == ["bad", "ok"]
    assert "sesame" not in repr(running.logs)
    assert running.count("filterrelay_logins_total", listener="submission", result="ok") == 1


async def test_a_plugin_s_identity_counts(open_door: OpenDoor) -> None:
    """A plugin may know the login by another name, and that name may be asked for."""
    running, client = await over_tls(open_door)
    running.intake.answers["authenticate"] = Identity("anna@office.example")
    line = "AUTH PLAIN " + b64("anna@office.example\0anna\0sesame")
    assert (await client.say(line)).startswith("235 ")


async def test_a_login_that_is_over_sends_no_more(open_door: OpenDoor) -> None:
    """Who was frozen meanwhile is cut off at the next message, with all that came with it."""
    running, client = await over_tls(open_door)
    await client.say(GOOD)
    await client.begin()
    running.intake.answers["reconfirm"] = LoginOver("anna")
    assert (await client.say("DATA", "a: b\r\n\r\n.")).startswith("250 ")
    client.send(b"MAIL FROM:<anna@office.example>\r\nRCPT TO:<b@partner.example>\r\nDATA\r\n")
    assert (await client.answer()).startswith("421 4.7.0 ")
    assert await client.answer() == ""
    assert len(running.intake.messages) == 1


async def test_what_a_login_may_do_changes_within_its_connection(open_door: OpenDoor) -> None:
    """The next message is judged by what the account may do by now."""
    running, client = await over_tls(open_door)
    await client.say(GOOD)
    running.intake.answers["reconfirm"] = Identity("anna", ("sales@office.example",))
    await client.begin()
    await client.say("DATA", "a: b\r\n\r\n.")
    identity = running.intake.messages[0].session.identity
    assert identity is not None
    assert identity.senders == ("sales@office.example",)


@pytest.mark.parametrize("error", [AuthUnavailable("ldap", "down"), RuntimeError("secret")])
async def test_a_login_that_can_t_be_looked_at_waits(open_door: OpenDoor, error: Exception) -> None:
    """No mail is taken of somebody who may have been shut out; nor is anybody cut off for that."""
    running, client = await over_tls(open_door)
    await client.say(GOOD)
    running.intake.answers["reconfirm"] = error
    reply = await client.say("MAIL FROM:<anna@office.example>")
    assert reply.startswith("45")
    assert "secret" not in reply
    running.intake.answers.clear()
    assert (await client.say("MAIL FROM:<anna@office.example>")).startswith("250 ")

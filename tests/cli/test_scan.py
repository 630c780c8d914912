"""`filterrelay scan` shows what the filters would say."""

from pathlib import Path

import pytest

from filterrelay.cli import scan
from filterrelay.mail.session import Session
from filterrelay.settings import Settings
from filterrelay.settings.file import load

from .conftest import Run
from .stored_mail import GTUBE


def a_dkim_only(configuration: Path) -> None:
    """One filter, and a name server that nobody listens on."""
    text = configuration.read_text()
    configuration.write_text(
        f'{text}[[filter]]\nuse = "dkim"\n[dns]\nservers = ["127.0.0.1:9"]\ntimeout = "1s"\n'
    )


def test_it_prints_each_plugins_turn(configuration: Path, filterrelay: Run) -> None:
    """A stored message with bare line feeds is judged, and nothing is sent or kept."""
    a_dkim_only(configuration)
    message = configuration.parent / "one.eml"
    message.write_bytes(b"From: a@office.example\nSubject: x\n\nHello\n")
    ran = filterrelay("scan", "--json", "one.eml")
    assert ran.code == 0, ran.err
    (result,) = ran.json
    assert (result["file"], result["verdict"]) == ("one.eml", "pass")
    assert result["steps"][0]["plugin"] == "dkim"
    assert result["steps"][0]["finding"]["result"] == "none"
    assert not (configuration.parent / "state" / "spool.sqlite").exists()


def test_a_person_gets_a_table(configuration: Path, filterrelay: Run) -> None:
    """Verdict first, then who said what."""
    a_dkim_only(configuration)
    (configuration.parent / "one.eml").write_bytes(b"Subject: x\n\nHello\n")
    ran = filterrelay("scan", "one.eml")
    assert "one.eml: pass" in ran.out
    assert "dkim" in ran.out


def test_what_would_not_pass_is_exit_code_1(configuration: Path, filterrelay: Run) -> None:
    """A script can ask whether the filters would take a message, also on standard input."""
    text = configuration.read_text()
    configuration.write_text(f'{text}[[filter]]\nuse = "spam"\n')
    (configuration.parent / "good.eml").write_bytes(b"Subject: x\n\nHello\n")
    ran = filterrelay("scan", "good.eml", "-", "--json", stdin=f"Subject: x\n\n{GTUBE.decode()}")
    assert ran.code == 1
    assert [(one["file"], one["verdict"]) for one in ran.json] == [
        ("good.eml", "pass"),
        ("-", "reject"),
    ]
    assert filterrelay("scan", "good.eml").code == 0


def test_wrong_usage_is_said(configuration: Path, filterrelay: Run) -> None:
    """A missing file, a wrong address, an unknown listener: exit code 2."""
    (configuration.parent / "one.eml").write_bytes(b"Subject: x\n\nHello\n")
    assert filterrelay("scan", "missing.eml").code == 2
    assert filterrelay("scan", "one.eml", "--from", "no address").code == 2
    assert filterrelay("scan", "one.eml", "--listener", "nowhere").code == 2
    assert filterrelay("scan", "one.eml", "--client", "banana").code == 2


LISTENERS = """
[[listener]]
kind = "milter"
address = "127.0.0.1:2526"
[[listener]]
kind = "smtp"
name = "printers"
address = "127.0.0.1:2527"
trusted_networks = ["10.1.0.0/16"]
"""


@pytest.mark.parametrize(
    ("options", "trusted"),
    [
        (("--listener", "printers", "--client", "10.1.2.3"), True),
        (("--listener", "printers", "--client", "192.0.2.1"), False),
        (("--client", "10.1.2.3"), False),
    ],
)
def test_a_client_is_trusted_as_the_listener_would(
    configuration: Path, options: tuple[str, ...], trusted: bool
) -> None:
    """What the filters do with friends and strangers is shown as it would be at the door."""
    configuration.write_text(f"{configuration.read_text()}{LISTENERS}")
    session = session_of(load(configuration, {}), *options)
    assert session.trusted is trusted


def session_of(settings: Settings, *options: str) -> Session:
    """The session that scan would judge with."""
    said = dict(zip(options[::2], options[1::2], strict=True))
    listener = scan.listener_of(settings, said.get("--listener", ""))
    return scan._session(settings, listener, said["--client"], "")


def test_without_a_name_it_is_the_first_smtp_listener(configuration: Path) -> None:
    """Whatever other doors stand before it in the file."""
    text = configuration.read_text()
    milter = '[[listener]]\nkind = "milter"\naddress = "127.0.0.1:2526"\n[[listener]]'
    configuration.write_text(text.replace("[[listener]]", milter, 1))
    session = session_of(load(configuration, {}), "--client", "")
    assert (session.listener, session.door) == ("smtp", "smtp")


def test_nothing_foreign_commands_the_terminal(configuration: Path, filterrelay: Run) -> None:
    """Neither the message file's name nor what a sender called an attachment."""
    text = configuration.read_text()
    configuration.write_text(f'{text}[[filter]]\nuse = "attachments"\n')
    name = "[bold]\x1b[31mred.eml"
    (configuration.parent / name).write_bytes(
        b"Subject: x\nMIME-Version: 1.0\nContent-Type: application/octet-stream\n"
        b"Content-Disposition: attachment; filename*=utf-8''a%1B%5B2J%C2%9B.exe\n\nMZ\n"
    )
    shown = filterrelay("scan", name).out
    assert "[bold] [31mred.eml: reject" in shown
    assert "[2J?.exe" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_json_is_one_document_beside_what_a_plugin_logs(
    configuration: Path, filterrelay: Run
) -> None:
    """A plugin that has something to say at start doesn't spoil it."""
    text = configuration.read_text()
    configuration.write_text(f'{text}[[filter]]\nuse = "spam"\n')
    (configuration.parent / "one.eml").write_bytes(b"Subject: x\n\nHello\n")
    assert filterrelay("learn", "ham", "one.eml").code == 0
    ran = filterrelay("scan", "--json", "one.eml")
    assert ran.json[0]["file"] == "one.eml"

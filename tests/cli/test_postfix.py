"""What a Postfix needs to ask us, from what it says of itself."""

from pathlib import Path

import pytest

from filterrelay.cli.postfix import NoPostfix, Postfix, read_postfix

OURS = "unix:filterrelay/milter.sock"
HOSTNAME = "mx.office.example"
SMTPD = "smtp inet n - y - - smtpd"
POSTCONF = """\
#!/bin/sh
case "$*" in
*/broken*) echo "fatal: open main.cf" >&2; exit 1;;
*-x*) printf '/queue\\nnobody\\nmx.office.example\\n127.0.0.0/8\\n';;
*-n) printf 'smtpd_milters = inet:localhost:8891, $x=y\\nempty =\\n';;
*-M) printf 'smtp inet n - n - - smtpd -o a=b -o c=d\\ncleanup unix n - n - 0 cleanup\\n';;
*-P) printf 'submission/inet/smtpd_milters = unix:/a\\n';;
esac
"""


def postfix(*services: str, overrides: dict[str, str] | None = None, **settings: str) -> Postfix:
    """A Postfix with these services, chrooted when nothing is said, and these settings."""
    rows = [row.split() for row in services or (SMTPD,)]
    return Postfix(settings, rows, overrides or {}, Path("/queue"), "root", HOSTNAME)


def test_a_plain_postfix_needs_three_lines() -> None:
    """While filterrelay is down, nothing may pass unfiltered."""
    assert list(postfix().lines()) == [
        f"smtpd_milters = {OURS}",
        "non_smtpd_milters = $smtpd_milters",
        "milter_default_action = tempfail",
    ]


def test_milters_that_are_there_stay_and_come_first() -> None:
    """So that ours signs what they have made of the message."""
    lines = list(postfix(smtpd_milters="inet:localhost:8891", non_smtpd_milters="unix:/x").lines())
    assert lines[:2] == [
        f"smtpd_milters = inet:localhost:8891, {OURS}",
        f"non_smtpd_milters = unix:/x, {OURS}",
    ]


def test_what_is_there_already_is_not_said_again() -> None:
    """A second run prints nothing to add."""
    there = postfix(
        smtpd_milters=f"unix:/x, {OURS}",
        non_smtpd_milters="$smtpd_milters",
        milter_default_action="accept",
    )
    assert list(there.lines()) == []


def test_an_old_protocol_is_lifted() -> None:
    """Versions before 6 lack what we ask for."""
    assert "milter_protocol = 6" in postfix(milter_protocol="2").lines()
    assert "milter_protocol = 6" not in postfix(milter_protocol="6").lines()


@pytest.mark.parametrize(
    ("services", "level", "chrooted"),
    [
        ((SMTPD,), "3.6", True),
        (("smtp inet n - n - - smtpd",), "3.6", False),
        (("smtp inet n - n - - smtpd", "cleanup unix n - y - 0 cleanup"), "3.6", True),
        (("smtp inet n - n - - smtpd", "pickup unix n - y 60 1 pickup"), "3.6", False),
        (("smtp inet n - - - - smtpd",), "3.6", False),
        (("smtp inet n - - - - smtpd",), "0", True),
    ],
)
def test_the_socket_lies_where_postfix_can_see_it(
    services: tuple[str, ...], level: str, chrooted: bool
) -> None:
    """Below the queue directory when anything that asks milters is chrooted."""
    server = postfix(*services, compatibility_level=level)
    expected = "/queue/filterrelay" if chrooted else "/run/filterrelay"
    assert str(server.socket) == f"{expected}/milter.sock"
    assert server.milter == (OURS if chrooted else "unix:/run/filterrelay/milter.sock")


@pytest.mark.parametrize(
    ("mynetworks", "found"),
    [
        ("10.1.0.0/16, [2001:db8::]/32 [::1]/128", ["10.1.0.0/16", "2001:db8::/32", "::1/128"]),
        ("hash:/etc/networks, 192.0.2.7", ["192.0.2.7/32"]),
        ("!10.2.0.0/16", ["127.0.0.0/8", "::1/128"]),
        ("", ["127.0.0.0/8", "::1/128"]),
    ],
)
def test_mynetworks_are_those_whose_mail_is_signed(mynetworks: str, found: list[str]) -> None:
    """What is looked up elsewhere, or left out there, is left out; none is the machine itself."""
    assert postfix(mynetworks=mynetworks).networks == found


def test_services_with_milters_of_their_own_are_named() -> None:
    """main.cf doesn't count for them; one that has none on purpose keeps none."""
    overrides = {
        "submission/inet/smtpd_milters": "unix:/a",
        "10026/inet/smtpd_milters": "",
        "submission/inet/syslog_name": "x",
    }
    (note,) = postfix(overrides=overrides).notes()
    assert f"postconf -P 'submission/inet/smtpd_milters=unix:/a, {OURS}'" in note


def test_networks_that_cannot_be_taken_over_are_named() -> None:
    """Or an exception from one of them would be trusted, unseen."""
    (note,) = postfix(mynetworks="!10.2.0.0/16 10.0.0.0/8 cidr:/etc/mine").notes()
    assert note.startswith("mynetworks has !10.2.0.0/16, cidr:/etc/mine in it")


@pytest.mark.parametrize("action", ["reject", "quarantine"])
def test_choices_that_hold_or_return_all_mail_are_named(action: str) -> None:
    """An outage of ours is no reason to return mail."""
    (note,) = postfix(milter_default_action=action).notes()
    assert f"milter_default_action is {action}" in note


def test_choices_that_pass_mail_unfiltered_are_named() -> None:
    """They may be on purpose."""
    notes = list(postfix(milter_default_action="accept", smtpd_milter_maps="cidr:/x").notes())
    assert ["accept" in note for note in notes] == [False, True]


def test_the_group_is_that_of_its_processes() -> None:
    """Or bears the owner's name, where the machine doesn't know it."""
    assert postfix().group == "root"
    server = Postfix({}, [], {}, Path("/queue"), "no-such-user", HOSTNAME)
    assert server.group == "no-such-user"


@pytest.fixture
def postconf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A postconf that answers by heart."""
    program = tmp_path / "postconf"
    program.write_text(POSTCONF)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("postconf")
def test_postconf_is_read() -> None:
    """Settings, services and what single services set."""
    server = read_postfix(None)
    assert server.settings == {
        "smtpd_milters": "inet:localhost:8891, $x=y",
        "empty": "",
        "mynetworks": "127.0.0.0/8",  # also where it follows from mynetworks_style
    }
    assert server.services[0][:8] == ["smtp", "inet", "n", "-", "n", "-", "-", "smtpd"]
    assert server.overrides == {"submission/inet/smtpd_milters": "unix:/a"}
    assert (server.queue, server.owner) == (Path("/queue"), "nobody")
    assert server.hostname == HOSTNAME
    assert not server.is_chrooted


@pytest.mark.usefixtures("postconf")
def test_what_postconf_complains_of_is_told() -> None:
    """A directory without main.cf."""
    with pytest.raises(NoPostfix, match=r"fatal: open main\.cf"):
        read_postfix(Path("/broken"))

"""`filterrelay route` says which way mail goes, and why."""

from pathlib import Path
from textwrap import dedent

import pytest

from .conftest import Run

ROUTES = """\
[[upstream]]
name = "partner"
hosts = ["mx1.partner.example:25", "mx2.partner.example"]
tls = "opportunistic"
[[route]]
recipients = ["*@closed.example"]
upstream = "reject"
reply = "550 5.1.1 This office is closed"
[[route]]
recipients = ["*@nowhere.example"]
upstream = "discard"
[[route]]
recipients = ["*@partner.example"]
senders = ["*@office.example"]
logins = ["alice"]
upstream = "partner"
tls = "required"
[[destination]]
name = "slow"
domains = ["partner.example"]
rate = "10/s"
"""
PLUGIN = '''
    from filterrelay.plugin import Route, hook

    class Router:
        """Knows whose mail is urgent."""

        def __init__(self, options):
            pass

        @hook
        async def route(self, envelope, recipient):
            if recipient.address.local == "vip":
                return Route("partner", "a very important person")
            return None
'''


@pytest.fixture
def routed(configuration: Path) -> Path:
    """The configuration with routes; the first of them stands on line 15."""
    configuration.write_text(configuration.read_text() + ROUTES)
    return configuration


@pytest.mark.usefixtures("routed")
def test_the_rule_is_named_with_its_line_and_where_it_leads(filterrelay: Run) -> None:
    """Sender and login count, too."""
    asked = ("route", "bob@partner.example", "--sender", "ann@office.example", "--login", "alice")
    ran = filterrelay(*asked)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "address  bob@partner.example",
        "goes to  partner (smtp)",
        "because  route 3: recipients *@partner.example; senders *@office.example; "
        "logins alice (line 22)",
        "hosts    mx1.partner.example:25, mx2.partner.example",
        "tls      required",
        "limits   slow: rate 10/s",
    ]
    (told,) = filterrelay(*asked, "--json").json
    assert (told["upstream"], told["line"], told["hop"]) == ("partner", 22, "partner+required#slow")
    assert told["limits"] == {"rate": "10/s"}


@pytest.mark.usefixtures("routed")
def test_what_no_route_means_goes_to_the_first_upstream(filterrelay: Run) -> None:
    """It has no line."""
    (told,) = filterrelay("route", "bob@elsewhere.example", "--json").json
    assert (told["upstream"], told["line"]) == ("provider", None)


@pytest.mark.usefixtures("routed")
def test_a_closed_destination_is_exit_code_1(filterrelay: Run) -> None:
    """Beside one whose mail is thrown away on purpose, which is none."""
    assert filterrelay("route", "x@nowhere.example").code == 0
    ran = filterrelay("route", "x@nowhere.example", "x@closed.example")
    assert ran.code == 1
    assert "answer   550 5.1.1 This office is closed" in ran.out


@pytest.mark.usefixtures("routed")
def test_what_is_no_address_is_wrong_usage(filterrelay: Run) -> None:
    """And so is a listener that isn't there."""
    for wrong in (("bob",), ("b@x.example", "--sender", "@"), ("b@x.example", "--listener", "no")):
        assert filterrelay("route", *wrong).code == 2


def test_a_plugin_that_routes_is_asked_first(filterrelay: Run, routed: Path) -> None:
    """As it would be before delivery."""
    home = routed.parent
    (home / "router.py").write_text(dedent(PLUGIN))
    about = home / "router-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: router\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[filterrelay.plugins]\nrouter = router:Router\n")
    routed.write_text(routed.read_text() + '[[filter]]\nuse = "router"\n')
    told = filterrelay("route", "vip@closed.example", "bob@x.example", "--json").json
    assert [(each["upstream"], each["reason"]) for each in told] == [
        ("partner", "a very important person"),
        ("provider", "no route matches: the default upstream"),
    ]


def test_check_warns_of_routes_that_never_match(filterrelay: Run, routed: Path) -> None:
    """And of upstreams that nothing leads to."""
    more = '[[route]]\nrecipients = ["boss@closed.example"]\nupstream = "provider"\n'
    routed.write_text(routed.read_text() + more)
    found = [each["text"] for each in filterrelay("check", "--json").json["checks"]]
    (warning,) = [text for text in found if "never match" in text]
    assert warning.endswith("route 1 (line 15) matches all that it does")

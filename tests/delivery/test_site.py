"""The mail servers of a destination."""

from filterrelay.delivery.site import NoWay, Site
from filterrelay.mail.reply import Reply


def test_domains_with_the_same_servers_and_demands_have_the_same_site() -> None:
    """It is a value, by which their mail is put together."""
    hosts = (("mx1.host.example", "mx2.host.example"), ("backup.host.example",))
    assert len({Site("host", hosts), Site("host", hosts)}) == 1
    assert Site("host", hosts) != Site("host", hosts, "required")


def test_no_way_says_what_the_recipients_are_told() -> None:
    """For the log."""
    assert "takes no mail" in str(NoWay(Reply(556, "5.1.10", "takes no mail")))

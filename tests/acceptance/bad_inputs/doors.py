"""The doors that the bad inputs knock at: the program's, or Postfix's for comparison."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ..peers.certificates import Certificates, make_dkim_key
from ..peers.dovecot import run_dovecot
from ..peers.postfix import login_settings, run_postfix, tls_settings
from ..peers.process import LOOPBACK
from ..peers.program import USERS, run_program
from ..peers.sink import Sink
from ..peers.stub_dns import run_dns
from .messages import LARGEST

CHOICE = "FILTERRELAY_DOOR"  # `postfix` plays the bad inputs against Postfix instead


@dataclass(frozen=True)
class Door:
    """ports: by listener name. is_empty: whether nothing waits for delivery any more."""

    ports: Mapping[str, int]
    is_empty: Callable[[], bool]


def wants_postfix() -> bool:
    """Whether Postfix shall be tested instead of the program."""
    return os.environ.get(CHOICE, "") == "postfix"


@contextmanager
def open_doors(certificates: Certificates, sink: Sink) -> Iterator[Door]:
    """The doors that were chosen, with the sink behind them."""
    chosen = _postfix if wants_postfix() else _filterrelay
    with chosen(certificates, sink) as door:
        yield door


@contextmanager
def _filterrelay(certificates: Certificates, sink: Sink) -> Iterator[Door]:
    with run_program(certificates, sink.port) as program:
        program.config["limits"] = {
            "message_size": LARGEST,
            "commands": 200,
            "login_failures": 1000,  # the cases share two logins; lock-outs have tests of their own
            "command_timeout": "60s",
            "data_timeout": "60s",
        }
        # Each filter that reads messages reads the absurd ones, too; what it thinks is its own.
        filters = ("spf", "dkim", "attachments", "spam")
        program.config["filter"] = [{"use": name, "mode": "shadow"} for name in filters]
        program.sign_with(make_dkim_key("office.example"))
        with run_dns({}) as dns:
            program.config["dns"] = {"servers": [dns.address]}
            program.start()
            yield Door(program.ports, lambda: program.json_command("queue", "list") == [])
            assert program.stop() == 0


@contextmanager
def _postfix(certificates: Certificates, sink: Sink) -> Iterator[Door]:
    """Postfix as a careful postmaster would set it up for the same doors."""
    owners = " ".join(f"{{{user}={user}}}" for user in USERS)
    settings = {
        **tls_settings(certificates),
        "mynetworks": "127.0.0.0/8",
        "message_size_limit": str(LARGEST),
        "relay_domains": "office.example",
        "parent_domain_matches_subdomains": "",
        "relayhost": f"[{LOOPBACK}]:{sink.port}",
        "relay_transport": f"smtp:[{LOOPBACK}]:{sink.port}",
        "smtpd_helo_required": "yes",
        "smtpd_recipient_limit": "100",
        "smtpd_forbid_bare_newline": "normalize",
        "smtpd_forbid_bare_newline_exclusions": "",
        "strict_rfc821_envelopes": "yes",
        "strict_smtputf8": "yes",
        "message_strip_characters": r"\0",
        "disable_vrfy_command": "yes",
        "smtpd_sender_login_maps": f"inline:{{ {owners} }}",
    }
    with run_dovecot(certificates, USERS) as dovecot:
        settings |= login_settings(dovecot.ports["auth"])
        strangers = "permit_sasl_authenticated, reject_unauth_destination"
        submission = {
            "smtpd_client_restrictions": "",
            "smtpd_sender_restrictions": "reject_sender_login_mismatch",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_delay_reject": "yes",
        }
        services = {
            "open": {"smtpd_relay_restrictions": "permit_mynetworks, reject"},
            "guarded": {"smtpd_relay_restrictions": strangers},
            "submission": submission,
            "smtps": {**submission, "smtpd_tls_wrappermode": "yes"},
        }
        with run_postfix(services, settings) as postfix:
            yield Door(postfix.ports, postfix.queue_is_empty)

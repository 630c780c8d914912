"""Everything that a plugin's author imports.

from filterrelay.plugin import Options, Pass, Reject, hook
"""

from filterrelay.mail.address import Address, AddressPattern, any_matches
from filterrelay.mail.edits import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    RemoveHeader,
    RemoveRecipient,
    ReplaceBody,
)
from filterrelay.mail.endpoint import Endpoint, parse_endpoint
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.message import Header, Message
from filterrelay.mail.mime import Part
from filterrelay.mail.outcome import Attempt, Outcome, Route
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Credentials, Identity, Session, Tls
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject, Verdict
from filterrelay.plugin.hooks import Reads, hook
from filterrelay.plugin.options import Duration, Options, Secret, Size
from filterrelay.plugin.services import DnsError, Resolver, Services

__all__ = [
    "AddHeader",
    "AddRecipient",
    "Address",
    "AddressPattern",
    "Attempt",
    "AuthResult",
    "ChangeHeader",
    "ChangeSender",
    "Credentials",
    "Defer",
    "Discard",
    "DnsError",
    "Duration",
    "Edit",
    "Endpoint",
    "Envelope",
    "Finding",
    "Header",
    "Identity",
    "Message",
    "Options",
    "Outcome",
    "Part",
    "Pass",
    "Quarantine",
    "Reads",
    "Recipient",
    "Reject",
    "RemoveHeader",
    "RemoveRecipient",
    "ReplaceBody",
    "Reply",
    "Resolver",
    "Route",
    "Secret",
    "Services",
    "Session",
    "Size",
    "Tls",
    "Verdict",
    "any_matches",
    "hook",
    "parse_endpoint",
]

"""The names of routes that lead to no upstream of the file, and what a closed one answers."""

import re

from filterrelay.mail.reply import Reply
from filterrelay.settings.outbound import RouteRule

DIRECT = "mx"
DISCARD = "discard"
REJECT = "reject"

_CLOSED = Reply(550, "5.7.1", "No mail is taken for this recipient here")
_REPLY = re.compile(r"(5\d\d) (5\.\d{1,3}\.\d{1,3}) ([ -~]{1,400})")


def refusal_of(rule: RouteRule | None) -> Reply:
    """What those are told whom the rule refuses; ValueError when its `reply` is no refusal."""
    if rule is None or not rule.reply:
        return _CLOSED
    found = _REPLY.fullmatch(rule.reply)
    if found is None:
        raise ValueError(
            f'{rule.reply!r} is no refusal, such as "550 5.1.1 This mailbox is closed"'
        )
    return Reply(int(found[1]), found[2], found[3])

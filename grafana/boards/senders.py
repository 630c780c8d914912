"""Senders: who sends, who is refused, and who tries to get in."""

from filterrelay.observe.metrics import LOGIN_RESULTS, TOP_LOGINS
from grafana import look
from grafana.board import Board, Row
from grafana.panels import listing, shape, tiles, trend
from grafana.query import STEP, buckets, increase, quantile, rate, total
from grafana.series import BYTES, M

from .states import EXEMPLAR, KEYS_IN_TROUBLE, KEYS_OK

FAILED = tuple(result for result in LOGIN_RESULTS if result != "ok")
WHO = Row(
    "Who sends?",
    (
        tiles(
            "Messages in an hour",
            "Messages whose end was received. None at work hours: clients can't reach or enter the"
            " relay.",
            increase(M.messages, window="1h"),
            look.nothing("NONE"),
            first=look.BLUE,
            decimals=0,
        ),
        tiles(
            "Refused in an hour",
            "The share of messages that were refused for good. Above 20 %: spam from within, or a"
            " filter that is too strict.",
            increase(M.messages, verdict="reject", window="1h").share_of(
                increase(M.messages, window="1h")
            ),
            look.nothing("NO MAIL"),
            levels=[(0.05, look.AMBER), (0.2, look.RED)],
            decimals=1,
        ),
        tiles(
            "Put off in an hour",
            "The share of messages answered 4xx: our own trouble or a filter's. Senders try again,"
            " but people wait; see Filters and Capacity.",
            increase(M.messages, verdict="defer", window="1h").share_of(
                increase(M.messages, window="1h")
            ),
            look.nothing("NO MAIL"),
            levels=[(0.01, look.AMBER), (0.1, look.RED)],
            decimals=1,
            runbook="mail-deferred",
        ),
        tiles(
            "Failed logins in 10 minutes",
            "Wrong or locked logins. Above 50 somebody guesses passwords, or a program has an old"
            " one: the log names login and address.",
            increase(M.logins, result=("bad", "locked"), window="10m"),
            look.nothing("NONE", look.GREEN),
            levels=[(10, look.AMBER), (50, look.RED)],
            decimals=0,
            runbook="login-attack",
        ),
        tiles(
            "Connections open",
            "Clients connected now. Near limits.connections new ones get 421.",
            total(M.sessions).in_unit("connections"),
            look.nothing("NONE"),
            first=look.BLUE,
            decimals=0,
        ),
        tiles(
            "DKIM keys in DNS",
            "Domains whose key isn't published, and how many are. MISSING: its mail fails DKIM, and"
            " with a strict DMARC policy is refused; `filterrelay dkim record` prints what to"
            " publish.",
            KEYS_IN_TROUBLE,
            look.value(0, "MISSING", look.RED),
            look.nothing("NO KEYS"),
            runbook="dkim-key-unpublished",
            sound=KEYS_OK,
        ),
        listing(
            "Logins of the last hour",
            "The logins with most messages, and all others together. One that never sends so much:"
            " `filterrelay trace --sender` has its mail, `filterrelay user freeze` stops it.",
            {
                "accepted": total(TOP_LOGINS, "login", outcome="accepted"),
                "refused": total(TOP_LOGINS, "login", outcome="refused"),
            },
            runbook="sender-burst",
        ),
        trend(
            "Mail in, by listener",
            "Which door mail comes through, whatever became of it there.",
            rate(M.messages, "listener"),
            stacked=True,
            runbook="sender-burst",
        ).height(8),
    ),
)
VOLUME = Row(
    "How much?",
    (
        trend(
            "Recipients accepted, by listener",
            "Far more recipients than messages: a mailing, or a login that was stolen.",
            rate(M.recipients, "listener"),
            stacked=True,
            runbook="sender-burst",
        ),
        trend(
            "Octets, by listener",
            "Traffic of messages, refused ones included. Large mail fills memory and disk: see"
            " Capacity.",
            rate(M.message_bytes, "listener"),
            stacked=True,
        ),
        trend(
            "Mean size, by listener",
            "A jump: somebody sends large files, which filters scan slowly.",
            increase(M.message_bytes, "listener", window=STEP).over(
                increase(M.messages, "listener", window=STEP), BYTES
            ),
        ),
        trend(
            "Connections open, by listener",
            "Lines that only grow: clients that never quit; limits.command_timeout ends them.",
            total(M.sessions, "listener").in_unit("connections"),
        ),
    ),
)
REFUSED = Row(
    "Who is turned away?",
    (
        trend(
            "Refused messages, by listener",
            "The share of messages that weren't taken, for good or for now. High at one door: its"
            " senders send what a filter refuses.",
            rate(M.messages, "listener", verdict=("reject", "defer")).share_of(
                rate(M.messages, "listener")
            ),
            runbook="mail-deferred",
        ),
        trend(
            "Refused before a message, by hook",
            "At which command clients, senders or recipients were refused. on_recipient: unknown"
            " or foreign addresses; on_sender: a login that may not send as that.",
            rate(M.refusals, "hook"),
            stacked=True,
        ),
        trend(
            "Logins, by result",
            "`bad` is a wrong password, `locked` too many of them, `frozen` an operator's doing,"
            " `unavailable` a directory that doesn't answer: then nobody gets in.",
            rate(M.logins, "result"),
            stacked=True,
            runbook="login-unavailable",
        ),
        trend(
            "Failed logins, by listener",
            "The share of login attempts that failed. Always high: a program with an old password.",
            rate(M.logins, "listener", result=FAILED).share_of(rate(M.logins, "listener")),
            runbook="login-attack",
        ),
        trend(
            "Connections, by result",
            "`refused` by a rule, `too_many` at a limit, `broken` off by the client or the"
            " network.",
            rate(M.connections, "result"),
            stacked=True,
        ),
        trend(
            "Connections that failed, by listener",
            "Connections refused, beyond a limit or broken off. One door alone: who may come there"
            " is too narrow, or somebody knocks who shouldn't.",
            rate(M.connections, "listener", result=("refused", "too_many", "broken")),
            stacked=True,
        ),
    ),
)
TALK = Row(
    "How do they talk?",
    (
        trend(
            "Commands, by verb",
            "What clients say. Many `auth` without `mail` are guesses; many `rset` or `noop` a"
            " client that is astray.",
            rate(M.commands, "command"),
            stacked=True,
            runbook="login-attack",
        ),
        trend(
            "Time to 250, p95 by listener",
            "How long clients of each listener wait for their reply." + EXEMPLAR,
            quantile(0.95, M.accept_seconds, "listener"),
            levels=[(5, look.AMBER)],
            runbook="slo-acceptance",
        ),
        shape(
            "Spread of the times to 250",
            "A second band far above the first is mail that waits for a filter." + EXEMPLAR,
            buckets(M.accept_seconds),
            runbook="slo-acceptance",
        ).span(24),
    ),
)
SENDERS = Board(
    "senders",
    "Senders",
    "Who sends, who is refused, and who tries to get in?",
    (WHO, VOLUME, REFUSED, TALK),
)

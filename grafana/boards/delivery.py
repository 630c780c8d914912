"""Delivery: does mail leave, how fast, how safely, and if not, where does it stop?"""

from filterrelay.observe.metrics import ATTEMPT_RESULTS, TOP_DESTINATIONS, TOP_WAITING
from grafana import look
from grafana.board import Board, Row
from grafana.panels import listing, shape, tiles, trend
from grafana.query import buckets, increase, quantile, rate, total, within
from grafana.series import M

from .states import (
    EXEMPLAR,
    LONGEST_WAITS,
    NO_LONG_WAIT,
    OLDEST,
    UPSTREAM_WORDS,
    UPSTREAMS,
    WAIT_LEVELS,
)

TRIED = increase(M.deliveries, window="1h")
LEAVING = Row(
    "Does mail leave?",
    (
        tiles(
            "Upstreams now",
            "What became of recipients tried in 15 minutes. PUTS OFF: `filterrelay queue summary`"
            " has the upstream's words. HOST DOWN, or HANGS when it takes connections and says"
            " nothing: mail waits and goes when it is back.",
            UPSTREAMS,
            *UPSTREAM_WORDS,
            runbook="upstream-failing",
        ).span(10),
        tiles(
            "Oldest that waits",
            "The age of the oldest queued message at the upstreams where one waits longest, from a"
            " minute on: how long somebody has waited.",
            LONGEST_WAITS,
            levels=WAIT_LEVELS,
            decimals=0,
            runbook="oldest-message",
            sound=NO_LONG_WAIT,
        ).span(6),
        tiles(
            "Bounced in an hour",
            "The share of tried recipients that went back to the sender. Above 10 %: old"
            " addresses, a stolen login, or our address on a block list.",
            increase(M.deliveries, result="bounced", window="1h").share_of(TRIED),
            look.nothing("NO MAIL"),
            levels=[(0.05, look.AMBER), (0.1, look.RED)],
            decimals=1,
            runbook="bounce-ratio",
        ),
        tiles(
            "Hosts down",
            "Hosts of upstreams that failed when they were last tried: with others in `hosts` mail"
            " still goes; with none it waits.",
            total(M.hosts_down),
            look.value(0, "NONE", look.GREEN),
            levels=[(1, look.RED)],
            decimals=0,
            runbook="upstream-host-down",
        ),
    ),
)
RESULTS = Row(
    "What becomes of it?",
    (
        trend(
            "Mail out, by result",
            "Recipients tried. `deferred` waits and is tried again, `bounced` went back.",
            rate(M.deliveries, "result"),
            stacked=True,
            runbook="upstream-failing",
        ),
        trend(
            "Not delivered, by upstream",
            "The share of recipients tried that were put off or bounced. At 100 % nothing leaves"
            " that way.",
            rate(M.deliveries, "upstream", result=("deferred", "bounced")).share_of(
                rate(M.deliveries, "upstream")
            ),
            runbook="upstream-failing",
        ),
        trend(
            "Waiting messages, by upstream",
            "Queued ones, which are tried again by themselves, and held ones, which wait for an"
            " operator's `queue release`.",
            total(M.queue_messages, "upstream"),
            stacked=True,
            runbook="mail-held",
        ),
        trend(
            "Oldest message, by upstream",
            "How long the oldest queued message has waited. A line that climbs as time does:"
            " nothing leaves that way. Amber is an hour.",
            OLDEST,
            levels=[(3600, look.AMBER)],
            runbook="oldest-message",
        ),
        trend(
            "Replies, by class",
            "How next hops answered. `none`: they couldn't be reached, or broke off; `4xx`: they"
            " put us off; `5xx`: they refuse, mostly for one recipient or what the mail holds.",
            rate(M.deliveries, "reply"),
            stacked=True,
        ),
        trend(
            "Failed transactions, by stage",
            "How far they came. `connect`, `tls` and `login` are between us and the next hop:"
            " network, certificate or password. From `mail` on it is about this mail.",
            rate(M.attempt_failures, "upstream", "stage"),
            stacked=True,
            runbook="upstream-failing",
        ),
        trend(
            "Reports in an hour, by kind",
            "Messages that the relay wrote: `failure` is a bounce, `delay` a notice that mail"
            " waits.",
            increase(M.reports, "kind", window="1h"),
            runbook="bounce-ratio",
        ).height(8),
        listing(
            "Destinations of the last hour",
            "The domains with most recipients, and all others together. Deferred at one domain"
            " only: theirs to mend; `filterrelay queue list --recipient` has their words.",
            {
                result: total(TOP_DESTINATIONS, "destination", result=result)
                for result in ATTEMPT_RESULTS
            }
            | {"waiting": total(TOP_WAITING, "destination").in_unit("recipients")},
            sort_by="deferred",
            widths=dict.fromkeys((*ATTEMPT_RESULTS, "waiting"), 90),
        ),
    ),
)
SPEED = Row(
    "How fast?",
    (
        trend(
            "Time to delivery, p95 by upstream",
            "From acceptance to the next hop's 250. Minutes: mail was put off at least once."
            + EXEMPLAR,
            quantile(0.95, M.delivery_seconds, "upstream"),
            levels=[(300, look.AMBER)],
            runbook="slo-delivery",
        ),
        shape(
            "Spread of the times to delivery",
            "The band below is mail that went at once; spots above it were put off, as greylisting"
            " does." + EXEMPLAR,
            buckets(M.delivery_seconds),
            runbook="slo-delivery",
        ),
        trend(
            "Time of an attempt, p95 by upstream",
            "From taking a connection to the last reply. Slow: the next hop scans mail while we"
            " wait, or the line is full.",
            quantile(0.95, M.attempt_seconds, "upstream"),
        ),
        trend(
            "Wait for a connection, p95 by upstream",
            "For a kept one's turn, or for TCP, TLS and login. Above a second: `connections` is"
            " too low, or the next hop is slow to greet.",
            quantile(0.95, M.connection_seconds, "upstream"),
        ),
        trend(
            "Delivered by the first and third try",
            "The share of delivered recipients that took no more. First far below 100 %: next hops"
            " put mail off regularly, as greylisting does; third, too: see who does.",
            within(1, M.delivery_attempts).named("first try"),
            within(3, M.delivery_attempts).named("third try"),
        ).max(1),
        trend(
            "Busy connections, by upstream",
            "Those that carry mail now. At the upstream's `connections` all the time: mail waits"
            " for a turn.",
            total(M.pool, "upstream", state="busy"),
            stacked=True,
        ),
    ),
)
SAFETY = Row(
    "How safely?",
    (
        trend(
            "New connections, by what proved the name",
            "`plain` went unprotected and `unverified` to anybody who claims the name: set the"
            " upstream's `tls`. `failed` is a certificate or policy that doesn't hold.",
            rate(M.tls_sessions, "result"),
            stacked=True,
            runbook="upstream-failing",
        ),
        trend(
            "New connections, by TLS version",
            "`none` is plain text. TLSv1.2 is sound, if old.",
            rate(M.tls_sessions, "version"),
            stacked=True,
        ),
    ),
)
DELIVERY = Board(
    "delivery",
    "Delivery",
    "Does mail leave, how fast and how safely, and if not, where does it stop?",
    (LEAVING, RESULTS, SPEED, SAFETY),
)

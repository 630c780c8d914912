"""Delivery: does mail leave, how fast, how safely, and if not, where does it stop?"""

from filterrelay.observe.metrics import ATTEMPT_RESULTS, TOP_DESTINATIONS, TOP_WAITING
from grafana import look
from grafana.board import Board, Row
from grafana.panels import listing, shape, tiles, trend
from grafana.query import buckets, highest, increase, quantile, quantiles, rate, total
from grafana.series import M

from .states import EXEMPLAR, UPSTREAM_WORDS, unwell

TRIED = increase(M.deliveries, window="1h")
LEAVING = Row(
    "Does mail leave?",
    (
        tiles(
            "Upstreams now",
            "What became of recipients tried in 15 minutes. PUTS OFF: `filterrelay queue summary`"
            " has the upstream's words. HOST DOWN, or HANGS when it takes connections and says"
            " nothing: mail waits and goes when it is back.",
            unwell("15m"),
            *UPSTREAM_WORDS,
            runbook="upstream-failing",
        ).span(8),
        tiles(
            "Oldest that waits",
            "The age of the oldest queued message, by upstream: how long somebody has waited.",
            highest(M.queue_oldest, "upstream", state="queued"),
            levels=[(900, look.AMBER), (3600, look.RED)],
            decimals=0,
            runbook="oldest-message",
        ).span(8),
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
            highest(M.hosts_down, "upstream"),
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
            "Results, by upstream",
            "Recipients tried. `deferred` waits and is tried again, `bounced` went back.",
            rate(M.deliveries, "upstream", "result"),
            stacked=True,
            runbook="upstream-failing",
        ),
        trend(
            "Not delivered at a try, by upstream",
            "The share of recipients put off or bounced. At 100 % nothing leaves that way.",
            rate(M.deliveries, "upstream", result=("deferred", "bounced")).share_of(
                rate(M.deliveries, "upstream")
            ),
            runbook="upstream-failing",
        ),
        trend(
            "Replies, by class",
            "How next hops answered. `none`: they couldn't be reached, or broke off; `4xx`: they"
            " put us off; `5xx`: they refuse, mostly for one recipient or what the mail holds.",
            rate(M.deliveries, "upstream", "reply"),
            stacked=True,
        ),
        trend(
            "How far failed transactions came",
            "`connect`, `tls` and `login` are between us and the next hop: network, certificate or"
            " password. From `mail` on it is about this mail.",
            rate(M.attempt_failures, "upstream", "stage"),
            stacked=True,
            runbook="upstream-failing",
        ),
        trend(
            "Waiting messages, by upstream",
            "`queued` is tried again by itself, `held` waits for an operator's `queue release`.",
            total(M.queue_messages, "upstream", "state"),
            stacked=True,
            runbook="mail-held",
        ),
        trend(
            "Age of the oldest message, by upstream",
            "A line that climbs as time does: nothing leaves that way. Amber is an hour.",
            highest(M.queue_oldest, "upstream", "state"),
            levels=[(3600, look.AMBER)],
            runbook="oldest-message",
        ),
        trend(
            "Bounces, delay notices and other reports in an hour",
            "Messages that the relay wrote: `failure` is a bounce, `delay` a notice that mail"
            " waits.",
            increase(M.reports, "kind", window="1h"),
            runbook="bounce-ratio",
        ),
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
        ),
    ),
)
SPEED = Row(
    "How fast?",
    (
        trend(
            "Time to delivery, by upstream",
            "From acceptance to the next hop's 250, p95. Minutes: mail was put off at least once."
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
            "Attempts until delivery",
            "p50 is 1 when mail goes at once. A p95 above 1: next hops put mail off regularly.",
            *quantiles(M.delivery_attempts),
        ),
        trend(
            "Connections, by upstream",
            "`busy` ones carry mail now, `idle` ones are kept. Busy at `connections` all the time:"
            " mail waits for a turn.",
            total(M.pool, "upstream", "state"),
            stacked=True,
        ),
    ),
)
SAFETY = Row(
    "How safely?",
    (
        trend(
            "TLS of new connections, by what proved the name",
            "`plain` went unprotected and `unverified` to anybody who claims the name: set the"
            " upstream's `tls`. `failed` is a certificate or policy that doesn't hold.",
            rate(M.tls_sessions, "upstream", "result"),
            stacked=True,
            runbook="upstream-failing",
        ),
        trend(
            "TLS of new connections, by version",
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

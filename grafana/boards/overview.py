"""Overview: is mail flowing, and if not, whose?"""

from filterrelay.observe.metrics import TOP_DESTINATIONS, TOP_LOGINS
from grafana import links, look
from grafana.board import Board, Row
from grafana.panels import listing, tiles, trend
from grafana.query import formula, increase, quantiles, rate, select, total
from grafana.series import (
    ALERTS,
    ALERTS_SINCE,
    BUDGETS,
    BURN_WINDOWS,
    MISSED,
    OBJECTIVES,
    RULES,
    SECONDS,
    M,
)

from .states import (
    EXEMPLAR,
    FILTER_WORDS,
    FILTERS_IN_TROUBLE,
    FILTERS_OK,
    LONGEST_WAITS,
    NO_LONG_WAIT,
    OLDEST,
    READINESS,
    READINESS_WORDS,
    UPSTREAM_WORDS,
    UPSTREAMS_IN_TROUBLE,
    UPSTREAMS_OK,
    WAIT_LEVELS,
)

REFUSED = total(TOP_LOGINS, "login", outcome="refused").where("> 0")
TROUBLED = total(TOP_DESTINATIONS, "destination", result=("deferred", "bounced")).where("> 0")

FLOWING = Row(
    "Is mail flowing?",
    (
        tiles(
            "Takes mail",
            "Whether every relay takes mail, as /readyz says. NO: clients are put off; `curl`"
            " /readyz for the reason. NO ANSWER: nothing can be scraped, so most likely nothing"
            " runs.",
            READINESS,
            *READINESS_WORDS,
            runbook="not-ready",
        ).span(3),
        tiles(
            "Mail leaves by",
            "Upstreams that put off a tenth of the recipients tried in 15 minutes, and how many"
            " don't. PUTS OFF, HOST DOWN or HANGS (no attempt has ended for 3 minutes): its mail"
            " waits and is tried again; see the dashboard Delivery.",
            UPSTREAMS_IN_TROUBLE,
            *UPSTREAM_WORDS,
            sound=UPSTREAMS_OK,
            runbook="upstream-failing",
            leads_to=links.from_tile("delivery", "upstream"),
        ).span(6),
        tiles(
            "Filters",
            "Filters that don't answer, and how many do. LEFT ALONE or DAEMON DOWN: mail gets what"
            " the filter's on_error says, which by default puts it off; see the dashboard Filters.",
            FILTERS_IN_TROUBLE,
            *FILTER_WORDS,
            sound=FILTERS_OK,
            runbook="scanner-down",
            leads_to=links.from_tile("filters", "plugin"),
        ).span(6),
        tiles(
            "Oldest that waits",
            "The age of the oldest queued message at the upstreams where one waits longest, from a"
            " minute on. Above an hour somebody will ask: `filterrelay queue summary` says why.",
            LONGEST_WAITS,
            runbook="oldest-message",
            leads_to=links.from_tile("delivery", "upstream"),
            levels=WAIT_LEVELS,
            decimals=0,
            sound=NO_LONG_WAIT,
        ).span(6),
        tiles(
            "Alerts",
            "How many alerts are firing. The table below names them, and leads to what to do. NO"
            " RULES: Prometheus has not loaded those of grafana/alerts, so nobody would be called.",
            formula(
                "alerts",
                "count({alerts}) or 0 * count({rules})",
                alerts=select(ALERTS, alertstate="firing"),
                rules=select(RULES),
            ),
            look.value(0, "NONE", look.GREEN),
            look.nothing("NO RULES", look.RED),
            levels=[(1, look.RED)],
        ).span(3),
    ),
)
WHOSE = Row(
    "Whose mail?",
    (
        listing(
            "Firing and pending alerts",
            "Every alert of this relay, by the name of its runbook page: click it for what to do."
            " On several relays: since when the first one has it.",
            {
                "for": formula(
                    SECONDS,
                    "max by (alertname, alertstate, severity, subject) (label_join({alerts}"
                    ' * ignoring (alertstate) group_left () (time() - {since}), "subject", " ",'
                    ' "plugin", "upstream", "listener", "login", "domain"))',
                    "alertname",
                    alerts=select(ALERTS),
                    since=select(ALERTS_SINCE),
                )
            },
            links_of={"alertname": links.to_page()},
            mappings=[links.alert_names()],
            words={
                "alertstate": {"firing": look.RED, "pending": look.AMBER},
                "severity": {"page": look.RED, "ticket": look.AMBER},
            },
            widths={"alertname": 200, "alertstate": 90, "severity": 80, "for": 80},
        )
        .no_value("None")
        .span(10),
        listing(
            "Senders whose mail was refused",
            "Logins of the last hour with refused messages. Many at one login: a program that"
            " sends what a filter refuses, or a stolen password; freeze it with `filterrelay user"
            " freeze`.",
            {
                "refused": REFUSED,
                "accepted": total(TOP_LOGINS, "login", outcome="accepted").only_with(REFUSED),
            },
            runbook="sender-burst",
            widths={"refused": 90, "accepted": 90},
        )
        .no_value("None")
        .span(7),
        listing(
            "Destinations with trouble",
            "Domains by recipients put off or bounced in the last hour. One domain: their trouble,"
            " or theirs with us. All: ours; `filterrelay trace --recipient` has their words.",
            {
                result: total(TOP_DESTINATIONS, "destination", result=result).only_with(TROUBLED)
                for result in ("deferred", "bounced", "delivered")
            },
            runbook="upstream-failing",
            widths={"deferred": 80, "bounced": 80, "delivered": 80},
        )
        .no_value("None")
        .span(7),
    ),
)
TRENDS = Row(
    "How it went",
    (
        trend(
            "Mail in, by verdict",
            "Messages whose end was received. A rise of `defer` is our own trouble, most often a"
            " filter's; a rise of `reject` is a sender's. Nothing at all at work hours: look at"
            " Senders.",
            rate(M.messages, "verdict"),
            stacked=True,
            runbook="mail-deferred",
        ),
        trend(
            "Mail out, by result",
            "Recipients tried. `deferred` waits and is tried again, `bounced` went back to the"
            " sender.",
            rate(M.deliveries, "result"),
            stacked=True,
            runbook="bounce-ratio",
        ),
        trend(
            "Waiting messages, by upstream",
            "Queued and not yet delivered; `none` were never tried. A line that only grows: its"
            " upstream takes less than comes in.",
            total(M.queue_messages, "upstream", state="queued"),
            stacked=True,
            runbook="queue-growing",
        ),
        trend(
            "Oldest message, by upstream",
            "How long somebody's mail has waited. An hour is dashed amber; after"
            " delivery.warn_after its sender gets a delay notice.",
            OLDEST,
            levels=[(3600, look.AMBER)],
            runbook="oldest-message",
        ),
        trend(
            "Time to 250",
            "From the final dot to the reply: clients wait so long. Above 5 s (dashed) people"
            " notice; the dashboard Filters says which plugin it is, Capacity whether it is the"
            " disk." + EXEMPLAR,
            *quantiles(M.accept_seconds),
            levels=[(5, look.AMBER)],
            runbook="slo-acceptance",
        ),
        trend(
            "Time to delivery",
            "From acceptance to the next hop's 250. Minutes: mail was put off, see Delivery."
            + EXEMPLAR,
            *quantiles(M.delivery_seconds),
            levels=[(300, look.AMBER)],
            runbook="slo-delivery",
        ),
        trend(
            "Reports in an hour, by kind",
            "Messages that the relay wrote: `failure` is a bounce, `delay` says that mail still"
            " waits. Many bounces: somebody sends to an old list.",
            increase(M.reports, "kind", window="1h"),
            runbook="bounce-ratio",
        ),
        trend(
            "Refused before a message, by whom",
            "Clients, senders and recipients that were refused, and by whom. `plugin` and `policy`"
            " are this relay's rules, `next-hop` is what the server behind a proxy listener said.",
            rate(M.refusals, "by"),
            stacked=True,
        ),
    ),
)
LEFT = [(0.0, look.AMBER), (0.25, look.GREEN)]  # of a budget
ALLOWED = 0.01  # what an objective of 99 % leaves, as in alerts/slo.yaml
AGREED = {
    "acceptance": "99 % of messages are answered within 5 s",
    "delivery": "99 % of recipients have their mail within 5 minutes",
}
PROMISED = Row(
    "Objectives",
    (
        *(
            tiles(
                f"Budget of {objective}",
                f"What is left of what 30 days may miss, over all machines: {AGREED[objective]}."
                " Below 0: the objective is missed; mend what spends it before all else.",
                total(BUDGETS[objective]),
                look.nothing("NO RULES"),
                levels=LEFT,
                first=look.RED,
                decimals=0,
                runbook=f"slo-{objective}",
            )
            .height(7)
            .span(4)
            for objective in OBJECTIVES
        ),
        *(
            trend(
                f"Burn rate of {objective}",
                "How many times faster than the budget lasts it is spent, over three windows. 1"
                " lasts the month; 6 over 6 hours, or 14 over one, wakes somebody. A fall to 0:"
                " the trouble is over.",
                *(
                    formula(
                        "times",
                        f"{{missed}} / {ALLOWED}",
                        missed=select(MISSED[objective, window]),
                    ).named(window)
                    for window in BURN_WINDOWS
                ),
                levels=[(1, look.AMBER), (6, look.RED)],
                runbook=f"slo-{objective}",
            ).span(8)
            for objective in OBJECTIVES
        ),
    ),
)
OVERVIEW = Board(
    "overview",
    "Overview",
    "Is mail flowing, and if not, whose?",
    (FLOWING, WHOSE, PROMISED, TRENDS),
)

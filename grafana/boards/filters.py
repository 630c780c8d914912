"""Filters: what each plugin says of mail, how long it takes, and whether it can."""

from filterrelay.observe.metrics import FAILURES, VERDICTS
from grafana import links, look
from grafana.board import Board, Row
from grafana.panels import listing, shape, states, tiles, trend
from grafana.query import Query, buckets, increase, lowest, quantile, quantiles, rate
from grafana.series import WORD, M

from .states import FILTER_WORDS, FILTERS, FILTERS_IN_TROUBLE, FILTERS_OK

UNKIND = tuple(verdict for verdict in VERDICTS if verdict != "pass")


def not_passed(mode: str) -> Query:
    """The share of a plugin's verdicts that would keep mail from going on."""
    unkind = rate(M.plugin_verdicts, "plugin", mode=mode, verdict=UNKIND, window="15m")
    return unkind.share_of(
        rate(M.plugin_verdicts, "plugin", mode=mode, verdict=VERDICTS, window="15m")
    )


WORKING = Row(
    "Do the filters work?",
    (
        tiles(
            "Filters now",
            "LEFT ALONE: it failed so often that it is asked again only every now and then. DAEMON"
            " DOWN: what it depends on doesn't answer. Until then mail gets what on_error says.",
            FILTERS_IN_TROUBLE,
            *FILTER_WORDS,
            runbook="scanner-down",
            sound=FILTERS_OK,
        ).span(12),
        tiles(
            "Without a verdict in 15 minutes",
            "How often an enforced filter gave no verdict. Above 0 mail was put off, let through"
            " or set aside by on_error, unlooked at.",
            increase(M.plugin_failures, window="15m", mode="enforce"),
            look.nothing("NONE", look.GREEN),
            levels=[(1, look.AMBER), (20, look.RED)],
            decimals=0,
            runbook="scanner-down",
        ).span(6),
        tiles(
            "Daemons that answer",
            "The filter whose daemon is worst off. DOWN: start it; filterrelay finds it within a"
            " minute.",
            lowest(M.plugin_up).in_unit(WORD),
            look.value(1, "ALL", look.GREEN),
            look.value(0, "DOWN", look.RED),
            look.nothing("NONE NEEDED"),
            runbook="scanner-down",
        ).span(6),
        states(
            "Filters over time",
            "When each filter could not be asked. Bands that come and go: its daemon restarts or"
            " is overloaded.",
            FILTERS,
            *FILTER_WORDS,
            runbook="scanner-down",
        )
        .span(24)
        .height(9),
    ),
)
VERDICTS_ROW = Row(
    "What do they say?",
    (
        listing(
            "Each filter in the time shown",
            "Verdicts and failures of each filter, shadow ones included. A filter without any"
            " verdict isn't asked: look at applies_to and its place in the file.",
            {
                verdict: increase(M.plugin_verdicts, "plugin", "mode", verdict=verdict)
                for verdict in VERDICTS
            }
            | {
                failure: increase(M.plugin_verdicts, "plugin", "mode", verdict=failure)
                for failure in FAILURES
            },
            widths={"mode": 90},
            links_of={"plugin": links.to_board("filters", "plugin")},
        )
        .span(24)
        .height(12),
        trend(
            "Verdicts of enforced filters",
            "What filters answered, all hooks together. A wave of `reject`: spam, or a rule that"
            " is too strict; `filterrelay trace` of one message says which.",
            rate(M.plugin_verdicts, "verdict", mode="enforce", verdict=VERDICTS),
            stacked=True,
        ),
        trend(
            "Verdicts of shadow filters",
            "What filters on trial would have said: mail passes whatever they say.",
            rate(M.plugin_verdicts, "verdict", mode="shadow", verdict=VERDICTS),
            stacked=True,
            runbook="shadow-disagreement",
        ),
        trend(
            "Not passed, shadow against enforced",
            "The share of verdicts other than `pass` in 15 minutes. A shadow filter far above the"
            " enforced ones would stop mail that passes today: read its log before you enforce it.",
            not_passed("enforce"),
            not_passed("shadow").named("(shadow)"),
            runbook="shadow-disagreement",
        ),
        trend(
            "Refusals, by filter",
            "Enforced verdicts that refused, put off or set aside mail: who is it? Choose one at"
            " the top for the rest of this page.",
            rate(M.plugin_verdicts, "plugin", mode="enforce", verdict=UNKIND),
            stacked=True,
        ),
    ),
)
TIMES = Row(
    "How long do they take?",
    (
        trend(
            "Time of a call, p95 by filter",
            "Mail waits for its slowest filter. Close to the filter's timeout, calls fail: the"
            " daemon is overloaded.",
            quantile(0.95, M.plugin_seconds, "plugin"),
            runbook="slo-acceptance",
        ),
        trend(
            "Time of a call, p95 by hook",
            "on_message reads the whole mail and may take long; at the other hooks a client waits"
            " at each command.",
            quantile(0.95, M.plugin_seconds, "hook"),
        ),
        shape(
            "Spread of the times",
            "How calls spread: two bands are two kinds of mail, such as small and scanned. A band"
            " that climbs is a daemon that tires. Choose a filter at the top.",
            buckets(M.plugin_seconds),
        ),
        trend(
            "Time of a call, all filters chosen",
            "p50 is the usual call, p99 the slowest of a hundred. Far apart: few mails are dear.",
            *quantiles(M.plugin_seconds),
        ),
    ),
)
FAILING = Row(
    "How do they fail?",
    (
        trend(
            "Failures, by filter",
            "Calls without a verdict, those on trial included. The table above has their kinds:"
            " `error` is a wrong answer, which the log tells, `timeout` one too late; `skipped`"
            " was left alone after failures in a row.",
            rate(M.plugin_failures, "plugin"),
            stacked=True,
            runbook="scanner-down",
        ),
        trend(
            "Failures, by what mail got instead",
            "What on_error made of enforced filters' failures: `defer` waits at the client, `pass`"
            " went on unchecked, `quarantine` was set aside.",
            rate(M.plugin_failures, "verdict", mode="enforce"),
            stacked=True,
            runbook="scanner-down",
        ),
    ),
)
FILTERS_BOARD = Board(
    "filters",
    "Filters",
    "Does each filter work, what does it say of mail, and how long does it take?",
    (WORKING, VERDICTS_ROW, TIMES, FAILING),
)

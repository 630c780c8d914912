"""What is told in words on more than one dashboard."""

from dataclasses import replace

from filterrelay.observe.metrics import READY
from grafana import look
from grafana.query import Query, formula, highest, increase, lowest, select
from grafana.series import UP, WORD, M

EXEMPLAR = (
    " Each dot is a message: its ID leads to `filterrelay trace ID`, which tells where its time"
    " went."
)


def sound(states: Query, trouble: str, name: str) -> Query:
    """How many of the states aren't in trouble.

    trouble: a comparison as `> 0`. name: what they are states of.
    """
    expr = f"count({states.expr} unless {states.where(trouble).expr})"
    return Query(expr, "OK", (), name)


READINESS = formula(
    WORD,
    "min({ready} or on (job, instance) ({up} - 1))",
    ready=select(READY),
    up=select(UP),
)
READINESS_WORDS = (
    look.value(1, "YES", look.GREEN),
    look.value(0, "NO", look.RED),
    look.value(-1, "NO ANSWER", look.RED),
    look.nothing("NO DATA", look.RED),
)

FILTERS = formula(
    WORD,
    "((min by (plugin) ({up}) == 0) + 3 or max by (plugin) ({breaker}))",
    "plugin",
    up=select(M.plugin_up),
    breaker=select(M.breaker),
)
FILTER_WORDS = (
    look.value(0, "WORKS", look.GREEN),
    look.value(1, "TRIED AGAIN", look.AMBER),
    look.value(2, "LEFT ALONE", look.RED),
    look.value(3, "DAEMON DOWN", look.RED),
    look.nothing("NO FILTERS"),
)
FILTERS_IN_TROUBLE = FILTERS.where("> 0")
FILTERS_OK = sound(FILTERS, "> 0", "filters")


def _put_off(window: str) -> Query:
    """How much of what was tried was put off, by upstream; 2 where a host is left alone.

    3 where connections have been at work for three minutes and no attempt has ended.
    """
    tried = increase(M.deliveries, "upstream", window=window)
    put_off = increase(M.deliveries, "upstream", result="deferred", window=window)
    down = highest(M.hosts_down, "upstream")
    return formula(
        WORD,
        "((sum by (upstream) (min_over_time({busy}[3m])) > 0"
        " unless sum by (upstream) (increase({tried}[3m])) > 0) * 0 + 3"
        " or ({down} > 0) * 0 + 2 or {share})",
        "upstream",
        busy=select(M.pool, state="busy"),
        tried=select(M.deliveries),
        down=down.expr,
        share=put_off.share_of(tried).expr,
    )


UPSTREAM_WORDS = (
    look.between(0, 0.1, "FLOWS", look.GREEN),
    look.between(0.1, 0.5, "SOME WAITS", look.AMBER),
    look.between(0.5, 1, "PUTS OFF", look.RED),
    look.value(2, "HOST DOWN", look.RED),
    look.value(3, "HANGS", look.RED),
    look.nothing("NO MAIL"),
)
UPSTREAMS = _put_off("15m")
UPSTREAMS_IN_TROUBLE = UPSTREAMS.where(">= 0.1")
UPSTREAMS_OK = sound(UPSTREAMS, ">= 0.1", "upstreams")

OLDEST = highest(M.queue_oldest, "upstream", state="queued")
LONGEST_WAITS = replace(OLDEST, expr=f"topk(3, {OLDEST.where('>= 60').expr})")
NO_LONG_WAIT = Query(f"max({OLDEST.expr}) < 60", OLDEST.unit, (), "all upstreams")
WAIT_LEVELS = [(900, look.AMBER), (3600, look.RED)]  # seconds

KEYS = lowest(M.dkim_key_published, "domain", "selector").in_unit(WORD)
KEYS_IN_TROUBLE = KEYS.where("== 0")
KEYS_OK = sound(KEYS, "== 0", "keys")

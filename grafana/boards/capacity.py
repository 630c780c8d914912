"""Capacity: how much more can it take, and what gives way first?"""

from filterrelay.observe.metrics import TIME, WORKERS
from grafana import look
from grafana.board import Board, Row
from grafana.panels import LIMIT, listing, shape, tiles, trend
from grafana.query import (
    buckets,
    formula,
    highest,
    increase,
    lowest,
    mean,
    quantiles,
    rate,
    select,
    total,
)
from grafana.series import SECONDS, M

from .states import READINESS, READINESS_WORDS

DAY = 86400  # seconds
ROOM = Row(
    "Is there room?",
    (
        tiles(
            "Takes mail",
            "Whether every relay takes mail, as /readyz says; `curl` it for the reason of a NO.",
            READINESS,
            *READINESS_WORDS,
            runbook="not-ready",
        ),
        tiles(
            "Workers",
            "The processes that do the work. `ailing` ones don't answer the supervisor, `absent`"
            " ones ended and start again: the log says why.",
            total(WORKERS, "standing").where("> 0"),
            decimals=0,
            runbook="workers-ailing",
        ),
        tiles(
            "Memory for messages",
            "How much of limits.in_flight_memory is used. Above 80 % clients wait at DATA, then"
            " get 452 4.3.1: raise it, or find the slow filter that holds mail.",
            total(M.memory).share_of(total(M.memory_limit)),
            look.nothing("NO DATA", look.RED),
            levels=[(0.6, look.AMBER), (0.8, look.RED)],
            decimals=0,
            runbook="memory-spent",
        ),
        tiles(
            "Spool disk free",
            "How much of the disk is left. Below spool.free_space no mail is taken: free some, or"
            " `filterrelay quarantine delete` what is old.",
            lowest(M.spool_free).share_of(lowest(M.spool_disk)),
            look.nothing("NO DATA", look.RED),
            levels=[(0.1, look.AMBER), (0.2, look.GREEN)],
            first=look.RED,
            decimals=0,
            runbook="spool-disk-low",
        ),
        tiles(
            "Certificate ends in",
            "How long tls.certificate is good for. After that clients can't send: renew it and"
            " reload.",
            formula(SECONDS, "min({expiry} > 0) - time()", expiry=select(M.certificate_expiry)),
            look.nothing("NONE"),
            levels=[(7 * DAY, look.AMBER), (21 * DAY, look.GREEN)],
            first=look.RED,
            decimals=0,
            runbook="certificate-expiring",
        ),
        tiles(
            "Clock off by",
            "How far the relay's clock is from Prometheus'. Above a few seconds, TLS, DKIM and the"
            " trace's times go wrong: see to NTP.",
            formula(SECONDS, "max(abs({clock} - timestamp({clock})))", clock=select(TIME)),
            look.nothing("NO DATA", look.RED),
            levels=[(2, look.AMBER), (30, look.RED)],
            decimals=1,
            runbook="clock-skew",
        ),
    ),
)
PROCESSES = Row(
    "Processes",
    (
        trend(
            "CPU, by process",
            "CPUs in use. Workers at as many as the machine has: it takes no more mail; see which"
            " filter is dear.",
            rate(M.cpu_seconds, "process"),
            stacked=True,
        ),
        trend(
            "Memory, by process",
            "Resident memory; shared pages count in each. A line that only grows is a leak: say so"
            " with the log.",
            total(M.resident, "process"),
            stacked=True,
        ),
        trend(
            "Open files",
            "Of the process that has most. At the limit connections fail: raise LimitNOFILE.",
            highest(M.open_files, "process"),
            lowest(M.open_files_limit).named(LIMIT),
            runbook="open-files-near-limit",
        ),
        trend(
            "Lag of the event loop",
            "How late a worker comes to what is due. Above 0.1 s something blocks it, or the CPU"
            " is short: all its clients wait.",
            *quantiles(M.loop_lag),
            levels=[(0.1, look.AMBER)],
            runbook="event-loop-late",
        ),
        trend(
            "Workers, by standing",
            "All `ready` is well. See the log for the others.",
            total(WORKERS, "standing"),
            stacked=True,
            runbook="workers-ailing",
        ),
        trend(
            "Worker restarts in an hour",
            "Workers that ended unasked. Mail in the spool is safe; the log says what ended them.",
            formula(
                "restarts",
                "sum by (instance) (increase({restarts}[1h]))",
                "instance",
                restarts=select(M.worker_restarts),
            ),
            runbook="worker-restarts",
        ),
    ),
)
MEMORY = Row(
    "Memory and disk",
    (
        trend(
            "Messages held in memory",
            "Octets of messages under way. At the limit, clients wait.",
            total(M.memory).named("in memory"),
            total(M.memory_limit).named(LIMIT),
            runbook="memory-spent",
        ),
        trend(
            "Space left for the spool",
            "At the dashed line no mail is taken: 452 4.3.1.",
            lowest(M.spool_free).named("free"),
            highest(M.spool_reserve).named(LIMIT),
            runbook="spool-disk-low",
        ),
        trend(
            "Spooled messages, by state",
            "`quarantined` ones go after quarantine.keep, `held` ones only by an operator.",
            total(M.spool_messages, "state"),
            stacked=True,
            runbook="queue-growing",
        ),
        trend(
            "Oldest message, by state",
            "`queued` beyond delivery.give_up_after can't be: it bounces.",
            highest(M.spool_oldest, "state"),
            runbook="oldest-message",
        ),
    ),
)
COMMITS = Row(
    "Commits to disk",
    (
        trend(
            "Time of a commit",
            "Every 250 waits for one. Above 0.1 s the disk is slow or shared: a battery-backed"
            " cache or an SSD helps.",
            *quantiles(M.commit_seconds),
            levels=[(0.1, look.AMBER)],
            runbook="slo-acceptance",
        ),
        shape(
            "Spread of the commits' times",
            "A second band far above the first: the disk stalls now and then.",
            buckets(M.commit_seconds),
        ),
        trend(
            "Mean changes in a commit",
            "More under load is well: many sessions share one fsync.",
            mean(M.commit_batch).named("changes"),
        ),
        shape(
            "Spread of the changes in a commit",
            "At the top for long: the disk is the bottleneck.",
            buckets(M.commit_batch),
        ),
    ),
)
RUNNING = Row(
    "What runs",
    (
        listing(
            "Versions and configurations",
            "What each relay runs, and how long ago it loaded what it serves. Two versions: an"
            " update that isn't finished. Older than your last change: reload, and look whether it"
            " was refused.",
            {
                "loaded ago": formula(
                    SECONDS,
                    "(time() - max by (instance) ({loaded} > 0))"
                    " * on (instance) group_right () max by (instance, version) ({build})",
                    "instance",
                    "version",
                    loaded=select(M.configured),
                    build=select(M.build_info),
                )
            },
            runbook="reload-refused",
        ).height(7),
        trend(
            "Reloads in an hour, by result",
            "`refused`: the new configuration is bad and the old one goes on; the log says the"
            " line.",
            increase(M.reloads, "result", window="1h"),
            runbook="reload-refused",
        ),
    ),
)
CAPACITY = Board(
    "capacity",
    "Capacity",
    "How much more can it take, and what gives way first?",
    (ROOM, PROCESSES, MEMORY, COMMITS, RUNNING),
)

"""Where panels lead: pages of the runbook, and the dashboard that knows more."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from . import look

TAG = "filterrelay"
PAGES = (  # of docs/runbook, one for each alert
    *("not-ready", "workers-ailing", "worker-restarts", "reload-refused", "clock-skew"),
    *("queue-growing", "oldest-message", "mail-held", "spool-disk-low"),
    *("upstream-failing", "upstream-host-down", "bounce-ratio"),
    *("scanner-down", "shadow-disagreement", "mail-deferred"),
    *("certificate-expiring", "dkim-key-unpublished"),
    *("login-attack", "login-unavailable", "sender-burst"),
    *("memory-spent", "open-files-near-limit", "event-loop-late"),
    *("slo-acceptance", "slo-delivery"),
)


class WrongLink(ValueError):
    """It leads nowhere."""


def runbook(page: str) -> build.DashboardLink:
    """A panel's link to a page of docs/runbook. Raises WrongLink."""
    if page not in PAGES:
        raise WrongLink(f"the runbook has no page {page}")
    return (
        build.DashboardLink(f"Runbook: {page.replace('-', ' ')}")
        .type(model.DashboardLinkType.LINK)
        .url(f"${{runbook}}/{page}.md")
        .target_blank(True)
    )


def dashboards() -> build.DashboardLink:
    """The menu of all dashboards, which keeps what is chosen and the time."""
    return (
        build.DashboardLink("filterrelay")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def to_board(board: str, label: str, value: str = "__value.raw") -> build.DashboardLink:
    """A link to another dashboard, narrowed to one value of a label.

    value: which, in Grafana's words; a table's cell unless said.
    """
    chosen = f"${{{value}}}"
    return (
        build.DashboardLink(f"{chosen} on the dashboard {board.capitalize()}")
        .type(model.DashboardLinkType.LINK)
        .url(f"/d/filterrelay-{board}?var-{label}={chosen}&${{__url_time_range}}")
    )


def from_tile(board: str, label: str) -> build.DashboardLink:
    """A tile's link to the dashboard that knows more of what the tile is about."""
    return to_board(board, label, f"__field.labels.{label}")


def to_page() -> build.DashboardLink:
    """An alert's link to its page; the cell's text is the page's name."""
    return (
        build.DashboardLink("Runbook: ${__value.text}")
        .type(model.DashboardLinkType.LINK)
        .url("${runbook}/${__value.text}.md")
        .target_blank(True)
    )


def alert_names() -> model.ValueMapping:
    """Shows an alert by the name of its page: FilterrelayQueueGrowing is queue-growing."""
    return look.names((alert(page), page) for page in PAGES)


def alert(page: str) -> str:
    """The name of the alert that a page is about."""
    return "Filterrelay" + "".join(part.capitalize() for part in page.split("-"))

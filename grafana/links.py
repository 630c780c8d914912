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


def to_board(board: str, label: str) -> dict[str, object]:
    """A table cell's link to another dashboard, narrowed to the cell's value."""
    return {
        "title": f"${{__value.raw}} on the dashboard {board.capitalize()}",
        "url": f"/d/filterrelay-{board}?var-{label}=${{__value.raw}}&${{__url_time_range}}",
    }


def to_page() -> dict[str, object]:
    """An alert's link to its page; the cell's text is the page's name."""
    return {"title": "Runbook: ${__value.text}", "url": "${runbook}/${__value.text}.md"}


def alert_names() -> model.ValueMapping:
    """Shows an alert by the name of its page: FilterrelayQueueGrowing is queue-growing."""
    return look.names((alert(page), page) for page in PAGES)


def alert(page: str) -> str:
    """The name of the alert that a page is about."""
    return "Filterrelay" + "".join(part.capitalize() for part in page.split("-"))

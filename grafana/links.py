"""Where panels lead: pages of the runbook, and the dashboard that knows more."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from . import look

TAG = "filterrelay"
PAGES: Mapping[str, str] = {
    "not-ready": "Not ready",
    "queue-growing": "Queue growing",
    "oldest-message": "Oldest message",
    "upstream-failing": "Upstream failing",
    "scanner-down": "Scanner down",
    "shadow-disagreement": "Shadow disagreement",
    "spool-disk-low": "Spool disk low",
    "certificate-expiring": "Certificate expiring",
    "dkim-key-unpublished": "DKIM key unpublished",
    "login-attack": "Login attack",
    "sender-burst": "Sender burst",
    "bounce-ratio": "Bounce ratio",
    "clock-skew": "Clock skew",
    "worker-restarts": "Worker restarts",
    "slo-acceptance": "SLO: time to 250",
    "slo-delivery": "SLO: delivered in time",
}


def runbook(page: str) -> build.DashboardLink:
    """A panel's link to a page of docs/runbook."""
    return (
        build.DashboardLink(f"Runbook: {PAGES[page]}")
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

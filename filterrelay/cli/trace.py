"""`filterrelay trace ID`: everything known of one message."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filterrelay.cli.common import (
    ConfigOption,
    JsonOption,
    command,
    iso,
    load_settings,
    print_json,
    refuse,
    run,
    safe,
)
from filterrelay.cli.stored import opened_spool

if TYPE_CHECKING:
    from filterrelay.settings import Settings
    from filterrelay.spool.store import Event

app = command()


@app.command()
def trace(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="From the 250 reply.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell all that is known of one message: client, filters, signature, each attempt."""
    settings = load_settings(config)
    events = run(_events(settings, message_id.strip().upper()))
    if not events:
        refuse(
            f"nothing is known of {message_id}; traces are kept for {settings.spool.history.days} "
            "days after the message is gone"
        )
    if as_json:
        print_json({"id": events[0].message_id, "events": [_plain(e) for e in events]})
    else:
        _show(events)


async def _events(settings: "Settings", message_id: str) -> "list[Event]":
    async with opened_spool(settings) as (spool, _):
        return await spool.events(message_id)


def _plain(event: "Event") -> dict[str, Any]:
    return {"at": event.at, "kind": event.kind, **event.data}


def _show(events: "Sequence[Event]") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"[bold]{events[0].message_id}[/bold]")
    for event in events:
        console.print(f"\n[cyan]{iso(event.at)}[/cyan]  [bold]{event.kind}[/bold]")
        if event.kind == "received":
            show_received(console, event.data)
        else:
            for name, value in event.data.items():
                console.print(safe(f"  {name}: {_text(value)}"), markup=False)


def show_received(console: Any, data: Any) -> None:
    """Prints how a message came in and what each plugin made of it."""
    session = data["session"]
    who = (session.get("identity") or {}).get("login") or "no login"
    tls = (session.get("tls") or {}).get("version", "no TLS")
    by = f" by {data['by']}" if data["by"] else ""
    for line in (
        f"from {data['sender'] or '<>'} to {', '.join(data['recipients'])}",
        f"client {session['client_ip'] or 'local'} ({session['helo']}), {who}, {tls}, "
        f"listener {session['listener']}, {data['size']} bytes",
        f"verdict {data['verdict']}{by}: {data['reply']}",
    ):
        console.print(f"  {safe(line)}", markup=False)
    show_steps(console, data["steps"])


def show_steps(console: Any, steps: Iterable[Any]) -> None:
    """Prints a table of the plugins' turns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("  plugin", "hook", "ms", "verdict", "finding and edits"):
        table.add_column(title, justify="right" if title == "ms" else "left")
    for step in steps:
        finding = step.get("finding", {})
        particulars = [
            finding.get("result", ""),
            finding.get("text", "") or step.get("text", ""),
            *(f"{name}: {value}" for name, value in finding.get("details", ())),
            *step.get("edits", ()),
            step.get("error", ""),
        ]
        mode = " (shadow)" if step.get("shadow") else ""
        table.add_row(
            Text(f"  {step['plugin']}"),
            step["hook"],
            f"{step['ms']:.1f}",
            f"{step['verdict']}{mode}",
            Text(safe("; ".join(p for p in particulars if p))),
        )
    console.print(table)


def _text(value: Any) -> str:
    match value:
        case list():
            return "; ".join(_text(item) for item in value)
        case dict():
            return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
        case _:
            return str(value)

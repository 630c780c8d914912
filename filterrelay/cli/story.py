"""How a message's trace reads: what happened to it, event by event."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from filterrelay.cli.common import iso, safe
from filterrelay.cli.layout import print_table, print_text

if TYPE_CHECKING:
    from filterrelay.spool.store import Event

_IN = "  "
_STANDING = {  # what a verdict makes of each recipient
    "pass": "queued",
    "reject": "refused",
    "defer": "put off",
    "quarantine": "quarantined",
    "discard": "discarded",
}
_PASSED_ON = {"2": "passed on", "4": "put off", "5": "refused"}  # by the reply's first digit
_SET = {"held": "held", "released": "queued", "deleted": "deleted"}  # by what happens later
_OPEN = ("queued", "deferred", "held", "quarantined")


def fate(events: "Iterable[Event]") -> str:
    """What became of a message: `delivered`, or for several recipients `2 delivered, 1 bounced`."""
    standing: dict[str, str] = {}
    for event in events:
        if event.kind == "received":
            word = _standing(event.data)
            standing |= dict.fromkeys(event.data["recipients"], word)
        elif event.kind == "attempt":
            standing |= {each["address"]: each["result"] for each in event.data["recipients"]}
        elif event.kind in _SET:
            now = _SET[event.kind]
            standing = {to: now if was in _OPEN else was for to, was in standing.items()}
    counts = Counter(standing.values())
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())


def _standing(received: Mapping[str, Any]) -> str:
    """What a message was once it had come in; a mail server that asked us has it itself."""
    verdict: str = received["verdict"]
    if verdict == "pass" and received["session"]["door"] in ("milter", "proxy"):
        return _PASSED_ON[received["reply"][0]]
    return _STANDING.get(verdict, verdict)


def show_event(event: "Event") -> None:
    """Prints when it was and what happened, in words."""
    print(f"\n{iso(event.at)}  {safe(event.kind)}")
    match event.kind:
        case "received":
            _show_received(event.data)
        case "judged-again":
            overruled = ", ".join(event.data["overruled"])
            _print_verdict(event.data)
            print_text(f"without {overruled}, which the operator overruled", _IN)
            show_steps(event.data["steps"])
        case "attempt":
            _show_attempt(event.data)
        case "bounce" | "delay-notice" | "relayed-report" | "delivered-report" | "double-bounce":
            report = event.data.get("report")
            who = "postmaster" if event.kind == "double-bounce" else "sender"
            told = f"the {who} is told in message {report}, " if report else ""
            print_text(f"{told}of {', '.join(event.data['recipients'])}", _IN)
        case "nobody-told":
            print_text(f"nobody is told of {', '.join(event.data['recipients'])}", _IN)
        case "redirected":
            print_text(_redirection(event.data["upstream"]), _IN)
        case _:
            for name, value in event.data.items():
                print_text(f"{name}: {value}", _IN)


def _redirection(upstream: str) -> str:
    name, returned, words = upstream.partition(":")
    if returned:
        return f"to be returned to its sender{f': {words}' if words else ''}"
    return f"to {name}" if name else "back to where the routes say"


def _show_received(data: Mapping[str, Any]) -> None:
    """How a message came in and what each plugin made of it."""
    print_text(f"from {data['sender'] or '<>'} to {', '.join(data['recipients'])}", _IN)
    session = data["session"]
    if session["door"] == "report":
        about = f" on message {data['about']}" if data.get("about") else ""
        print_text(f"the relay's own report{about}, {data['size']} bytes", _IN)
    elif file := data.get("imported"):
        print_text(f"imported from {file}, {data['size']} bytes", _IN)
    else:
        helo = f" ({session['helo']})" if session["helo"] else ""
        login = (session.get("identity") or {}).get("login")
        tls = (session.get("tls") or {}).get("version", "no TLS")
        queued = f", queue ID {session['queue_id']}" if session["queue_id"] else ""
        print_text(
            f"client {session['client_ip'] or 'local'}{helo}, "
            f"{f'login {login}' if login else 'no login'}, {tls}, "
            f"listener {session['listener']}, {data['size']} bytes{queued}",
            _IN,
        )
    _print_verdict(data)
    show_steps(data["steps"])


def _print_verdict(data: Mapping[str, Any]) -> None:
    by = f" by {data['by']}" if data["by"] else ""
    reply = f": {data['reply']}" if data.get("reply") else ""
    print_text(f"verdict {data['verdict']}{by}{reply}", _IN)


def _show_attempt(data: Mapping[str, Any]) -> None:
    """Where it went and why, how, and how long it took; then each recipient's result and reply."""
    where = f"via {data['upstream']}"
    if data.get("host"):
        where += f" at {data['host']}"
    if data.get("address", "") not in where:
        where += f" ({data['address']})"
    connected = data.get("host") and data.get("stage") != "connect"
    protection = _protection(data) if connected else "no connection"
    print_text(f"{where}, {protection}, {_times(data)}", _IN)
    if data.get("reason"):
        print_text(f"why: {data['reason']}", _IN)
    if data.get("stage"):
        print_text(f"failed at {data['stage']}", _IN)
    for each in data["recipients"]:
        again = f"; again at {each['next']}" if each.get("next") else ""
        print_text(f"{each['address']}  {each['result']}: {each['reply']}{again}", _IN)


def _protection(data: Mapping[str, Any]) -> str:
    if data.get("tls") in ("", "none", None):
        return "no TLS"
    cipher = f" with {data['cipher']}" if data.get("cipher") else ""
    verified = ", verified" if data.get("verified") else ""
    return f"{data['tls']}{cipher}{verified}"


def _times(data: Mapping[str, Any]) -> str:
    whole = f"{data['seconds']:.2f} s"
    if not ("waited" in data or "took" in data):
        return whole
    connection = "kept connection" if data.get("kept") else "connection"
    return (
        f"{whole}: {connection} {data.get('waited', 0):.2f}, transaction {data.get('took', 0):.2f}"
    )


def show_steps(steps: Sequence[Mapping[str, Any]]) -> None:
    """Prints a table of the plugins' turns."""
    if not steps:
        return
    titles = ("plugin", "hook", "ms", "verdict", "finding and edits")
    print_table(titles, [_step(step) for step in steps], _IN)


def _step(step: Mapping[str, Any]) -> tuple[str, ...]:
    mode = " (shadow)" if step.get("shadow") else ""
    return (
        step["plugin"],
        step["hook"],
        f"{step['ms']:.1f}",
        f"{step['verdict']}{mode}",
        "; ".join(part for part in _particulars(step) if part),
    )


def _particulars(step: Mapping[str, Any]) -> Iterable[str]:
    """What it found; particulars that the text has already aren't said again."""
    finding = step.get("finding", {})
    text = finding.get("text", "") or step.get("text", "")
    yield finding.get("result", "")
    yield text
    for name, value in finding.get("details", ()):
        if value not in text:
            yield f"{name}: {value}"
    yield from step.get("edits", ())
    yield step.get("error", "")

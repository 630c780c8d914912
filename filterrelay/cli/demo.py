"""`filterrelay demo`: the whole appliance on loopback, with sample mail."""

import asyncio
import os
import re
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filterrelay.cli.common import (
    Exit,
    JsonOption,
    UnusedConfigOption,
    command,
    console,
    print_json,
    program,
    refuse,
)
from filterrelay.cli.stored import opened_spool

if TYPE_CHECKING:
    from filterrelay.demo.office import Office
    from filterrelay.demo.samples import Sample
    from filterrelay.demo.upstream import Arrival

READY_WITHIN = 20.0  # seconds
ARRIVED_WITHIN = 10.0  # seconds
_ID = re.compile(r"\b[0-9A-Z]{17}\b")

app = command()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one sample. why: the reply, or the plugin's reason."""

    sample: "Sample"
    verdict: str
    by: str
    why: str
    message_id: str


@app.command()
def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Keep it running until Ctrl-C.")] = False,
    config: UnusedConfigOption = None,  # every command takes -c
    as_json: JsonOption = False,
) -> None:
    """Show the whole appliance: mail accepted, caught, signed and delivered."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        good = asyncio.run(_demo(stay=stay, as_json=as_json))
    except KeyboardInterrupt:
        good = True
    raise typer.Exit(Exit.DONE if good else Exit.BAD)


async def _demo(*, stay: bool, as_json: bool) -> bool:
    from filterrelay.demo.dns import name_server
    from filterrelay.demo.office import keys, write
    from filterrelay.demo.samples import samples
    from filterrelay.demo.upstream import upstream
    from filterrelay.observe.clock import SystemClock
    from filterrelay.wire.certificate import self_signed

    began, clock = time.monotonic(), SystemClock()
    with TemporaryDirectory(prefix="filterrelay-demo-") as directory:
        office = keys(Path(directory))
        certificate, key = self_signed(["relay.office.example", "127.0.0.1"], clock.now())
        async with (
            name_server(office.zone()) as dns,
            upstream() as (provider, address),
        ):
            write(office, address, dns, certificate, key)
            async with _relay(office):
                sent = samples(clock.now())
                replies = [await _send(office, each, office.ready(each, clock)) for each in sent]
                results = await _results(office, sent, replies)
                passed = sum(result.verdict == "pass" for result in results)
                await provider.wait_for(passed, ARRIVED_WITHIN)
                signed = [_signature(office, each) for each in provider.arrivals]
                took = time.monotonic() - began
                if as_json:
                    _print_json(office, results, provider.arrivals, signed, took)
                else:
                    _show(office, results, provider.arrivals, signed, took, stay=stay)
                if stay:
                    await asyncio.Event().wait()
    spoilt = sum(result.sample.spoilt for result in results)
    valid = sum(valid for _, valid in signed)
    as_expected = all(result.verdict == result.sample.expected for result in results)
    return as_expected and len(signed) == passed and valid == passed - spoilt


@asynccontextmanager
async def _relay(office: "Office") -> AsyncIterator[None]:
    """The real program, as a process of its own."""
    log = office.log
    # -P: a folder called filterrelay in the current directory isn't the program.
    command_line = ("-P", "-m", "filterrelay", "serve", "-c", str(office.configuration))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command_line, stdout=output, stderr=output
        )
    try:
        await _until_ready(office, process, log)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _until_ready(office: "Office", process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.returncode is None:
        if await _asks_ready(office.ports.metrics):
            return
        await asyncio.sleep(0.05)
    typer.echo(log.read_text(), err=True)  # noqa: ASYNC240  # the relay is dead, nobody waits
    refuse("the relay did not start; its log stands above")


async def _asks_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.close()


async def _send(office: "Office", sample: "Sample", raw: bytes) -> str:
    """Sends one sample as its sender would; returns the last reply."""
    from aiosmtplib import SMTP, SMTPResponseException

    from filterrelay.demo.office import PASSWORD, USER

    trusting = ssl.create_default_context(cafile=office.directory / "tls.pem")
    async with SMTP(sock=_connection(office, sample), start_tls=False) as client:
        if sample.login:
            await client.starttls(server_hostname="127.0.0.1", tls_context=trusting)
            await client.login(USER, PASSWORD)
        await client.mail(sample.sender)
        await client.rcpt(sample.recipient)
        try:
            reply = await client.data(raw)
        except SMTPResponseException as refused:
            return f"{refused.code} {refused.message}"
        return f"{reply.code} {reply.message}"


def _connection(office: "Office", sample: "Sample") -> socket.socket:
    """A connection to the sample's listener; a stranger's says where it comes from."""
    from filterrelay.demo.office import STRANGER

    port = office.ports.submission if sample.login else office.ports.inbound
    sock = socket.create_connection(("127.0.0.1", port))
    if not sample.login:
        sock.sendall(f"PROXY TCP4 {STRANGER} 127.0.0.1 40000 {port}\r\n".encode())
    sock.setblocking(False)
    return sock


async def _results(
    office: "Office", sent: "tuple[Sample, ...]", replies: list[str]
) -> list[Result]:
    """Each sample's verdict, from the trace that the relay keeps."""
    from filterrelay.settings.file import load

    results = []
    async with opened_spool(load(office.configuration, os.environ)) as (spool, _):
        for sample, reply in zip(sent, replies, strict=True):
            found = _ID.search(reply)
            message_id = found.group() if found else ""
            received = await _received(spool, message_id)
            steps = received.get("steps", ())
            why = next((_why(s) for s in steps if s["plugin"] == received["by"]), "")
            verdict = received.get("verdict", "unknown")
            results.append(
                Result(sample, verdict, received.get("by", ""), why or _remarks(steps), message_id)
            )
    return results


async def _received(spool: Any, message_id: str) -> Any:
    """The message's first event; a refused one's is written a moment after the reply."""
    for _ in range(100):
        events = await spool.events(message_id)
        if events:
            return events[0].data
        await asyncio.sleep(0.02)
    return {"by": ""}


def _why(step: Any) -> str:
    return str(step.get("finding", {}).get("text") or step.get("text", ""))


def _remarks(steps: Any) -> str:
    """What the checks found on a message that passed."""
    found = [(step["plugin"], step.get("finding", {}).get("result", "")) for step in steps]
    return ", ".join(f"{plugin} {result}" for plugin, result in found if result)


def _signature(office: "Office", arrival: "Arrival") -> tuple[str, bool]:
    """Whose signature arrived, and whether dkimpy, an independent verifier, finds it valid."""
    import dkim

    from filterrelay.demo.samples import OFFICE, SHOP

    signed = re.search(rb"^DKIM-Signature:.*?\bd=([\w.]+)", arrival.raw, re.MULTILINE | re.DOTALL)
    domain = signed.group(1).decode() if signed else ""
    keys = {OFFICE: office.own_key, SHOP: office.shop_key}
    if domain not in keys:
        return domain, False
    record = keys[domain].public.record.encode()
    return domain, dkim.verify(arrival.raw, dnsfunc=lambda _name, **_: record)


def _print_json(
    office: "Office",
    results: list[Result],
    arrivals: "list[Arrival]",
    signed: list[tuple[str, bool]],
    took: float,
) -> None:
    print_json(
        {
            "seconds": round(took, 2),
            "messages": [
                {
                    "title": result.sample.title,
                    "verdict": result.verdict,
                    "expected": result.sample.expected,
                    "by": result.by,
                    "why": result.why,
                    "id": result.message_id,
                }
                for result in results
            ],
            "arrived": len(arrivals),
            "signatures_valid": sum(valid for _, valid in signed),
            "metrics": _metrics(office),
        }
    )


def _metrics(office: "Office") -> str:
    return f"http://127.0.0.1:{office.ports.metrics}/metrics"


def _show(
    office: "Office",
    results: list[Result],
    arrivals: "list[Arrival]",
    signed: list[tuple[str, bool]],
    took: float,
    *,
    stay: bool,
) -> None:
    from rich.table import Table
    from rich.text import Text

    styles = {"pass": "green", "reject": "red", "quarantine": "yellow", "defer": "magenta"}
    output = console()
    wide = output.width >= 120
    table = Table(title=f"{len(results)} messages through the whole appliance, {took:.1f} s")
    table.add_column("message")
    if wide:
        table.add_column("came from", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why")
    table.add_column("ID", no_wrap=True)
    for result in results:
        came_from = "a user, TLS + AUTH" if result.sample.login else "a stranger"
        table.add_row(
            result.sample.title,
            *([came_from] if wide else []),
            Text(result.verdict, styles.get(result.verdict, "bold red")),
            Text(f"{result.by}: {result.why}" if result.by else result.why),
            result.message_id,
        )
    output.print(table)
    output.print(
        f"\n[bold]{len(arrivals)} arrived upstream[/bold]; "
        "their DKIM signatures, checked by dkimpy:"
    )
    for arrival, (domain, valid) in zip(arrivals, signed, strict=True):
        subject = re.search(rb"^Subject: (.*?)\r$", arrival.raw, re.MULTILINE)
        title = subject.group(1).decode(errors="replace") if subject else ""
        word = "[green]valid[/green]" if valid else "[yellow]broken before it came[/yellow]"
        to = ", ".join(arrival.recipients)
        output.print(f"  {word}, by {domain}: {title}, to {to}", soft_wrap=True)
    print(f"\n{_while_it_runs(office, results[0].message_id) if stay else _afterwards(office)}")
    sys.stdout.flush()


def _afterwards(office: "Office") -> str:
    """How to go on when all is over."""
    me = program()
    return (
        f"While it ran, its metrics stood at {_metrics(office)}\n"
        f"To look around in it, keep it running:  {me} demo --stay\n"
        f"For a relay of your own:                {me} init DIR"
    )


def _while_it_runs(office: "Office", message_id: str) -> str:
    """Where to look, and how to send it mail. message_id: of one of the messages."""
    from filterrelay.demo.office import PASSWORD, USER

    me, file, port = program(), office.configuration, office.ports.submission
    return (
        f"Where to look while this runs (Ctrl-C ends it):\n"
        f"  metrics      {_metrics(office)}\n"
        f"  one message  {me} trace {message_id} -c {file}\n"
        f"  set aside    {me} quarantine list -c {file}\n"
        f"  the log      {office.log}\n"
        f"\nMail of your own:\n"
        f"  SMTP on 127.0.0.1:{port}, STARTTLS, login {USER}, password {PASSWORD}\n"
        f"  printf 'From: {USER}\\nSubject: Hello\\n\\nHello.\\n' | curl -k --ssl-reqd --crlf \\\n"
        f"    --url smtp://127.0.0.1:{port} --user {USER}:{PASSWORD} \\\n"
        f"    --mail-from {USER} --mail-rcpt bob@partner.example -T -"
    )

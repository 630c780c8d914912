"""Proof, before anything is measured, that a relay does the work: each door's mail comes signed."""

import smtplib
import ssl
import time
from pathlib import Path

import dkim

from tests.bench import site
from tests.bench.errors import StartFailed
from tests.bench.messages import build_pool
from tests.bench.relays import Relay
from tests.bench.sink import Sink

_ARRIVES_WITHIN = 20.0  # seconds


def prove(relay: Relay) -> None:
    """Send a message through each door into a sink that keeps them, and verify what arrives.

    relay runs, its sink doesn't yet: this borrows the sink's port.
    """
    kept = relay.directory / "proof"
    sink = Sink.start(relay.sink_port, kept)
    try:
        for submission in (False, True):
            _send(relay, submission=submission)
        deadline = time.monotonic() + _ARRIVES_WITHIN
        while sink.look() < 2:
            if time.monotonic() > deadline:
                raise StartFailed(relay.title, "mail does not arrive at the sink", relay.log)
            time.sleep(0.05)
    finally:
        sink.stop()
    check_signed(kept, relay.office, relay.title, relay.log)


def check_signed(kept: Path, office: site.Site, title: str, log: Path) -> None:
    """Raises StartFailed, with title and log, if a message in this directory isn't signed."""
    records = {
        f"{site.SELECTOR}._domainkey.{site.DOMAIN}.".encode(): office.dkim.record.encode(),
    }
    for path in kept.iterdir():
        if not is_signed(path, records):
            raise StartFailed(title, "mail arrives without a valid signature", log)


def is_signed(path: Path, records: dict[bytes, bytes]) -> bool:
    """Whether a kept message carries a valid DKIM signature of the office's domain.

    records: TXT records by name; smtp-sink keeps messages with plain LF.
    """
    message = dkim.DKIM(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    signatures = [value for name, value in message.headers if name.lower() == b"dkim-signature"]
    for number, value in enumerate(signatures):
        tags = b"".join(value.split()).split(b";")
        if f"d={site.DOMAIN}".encode() in tags:
            return bool(message.verify(number, dnsfunc=lambda name, timeout=5: records.get(name)))
    return False


def _send(relay: Relay, *, submission: bool) -> None:
    (sending,) = build_pool(8000, 1, 1, relay.office.app_dkim.path.read_bytes())
    content = sending.with_id(f"proof.{relay.name}.{submission}") + sending.content
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(relay.office.certificate)
    port = relay.submission_port if submission else relay.plain_port
    try:
        with smtplib.SMTP(timeout=20) as client:
            client.connect("127.0.0.1", port)
            if submission:
                # named after connecting: the certificate is for the relay's name, not its address
                client._host = site.HOSTNAME  # type: ignore[attr-defined]
                client.starttls(context=tls)
                client.login(site.LOGIN, site.PASSWORD)
            client.sendmail(site.SENDER, [f"proof@{site.RECIPIENT_DOMAIN}"], content)
    except (OSError, smtplib.SMTPException) as error:
        raise StartFailed(relay.title, f"port {port}: {error}", relay.log) from error

"""Mail clients that people use, each submitting a stored message with a login over TLS."""

import base64
import json
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .presence import node_modules
from .process import LOOPBACK, run


@dataclass(frozen=True)
class Submission:
    """What to submit, and where. implicit: TLS from the first octet, else STARTTLS.

    authority: the certificate authority to trust; every client here checks the
    server's certificate. message: CRLF line ends. directory: for the client's files.
    """

    port: int
    implicit: bool
    authority: Path
    login: str
    password: str
    recipient: str
    message: bytes
    directory: Path


def submit_with_swaks(task: Submission) -> None:
    """swaks, the postmaster's probe, in Perl. It wants Unix line ends and adds the last one."""
    stored = task.directory / "swaks.eml"
    stored.write_bytes(task.message.replace(b"\r\n", b"\n").removesuffix(b"\n"))
    _succeed(
        [
            "swaks",
            *("--server", LOOPBACK, "--port", str(task.port), "--helo", "client.office.example"),
            *("--tls-on-connect" if task.implicit else "--tls",),
            *("--tls-verify", "--tls-ca-path", str(task.authority)),
            *("--auth", "LOGIN", "--auth-user", task.login, "--auth-password", task.password),
            *("--from", task.login, "--to", task.recipient, "--data", f"@{stored}"),
        ]
    )


def submit_with_smtplib(task: Submission) -> None:
    """Python's own client."""
    context = ssl.create_default_context(cafile=str(task.authority))
    if task.implicit:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(LOOPBACK, task.port, context=context)
    else:
        connection = smtplib.SMTP(LOOPBACK, task.port)
    with connection:
        if not task.implicit:
            connection.starttls(context=context)
        connection.login(task.login, task.password)
        connection.sendmail(task.login, [task.recipient], task.message, ["BODY=8BITMIME"])


def submit_with_nodemailer(task: Submission) -> None:
    """nodemailer, in Node."""
    asked = {
        "transport": {
            "host": LOOPBACK,
            "port": task.port,
            "secure": task.implicit,
            "requireTLS": True,
            "auth": {"user": task.login, "pass": task.password},
            "tls": {"ca": task.authority.read_text(), "servername": "localhost"},
        },
        "envelope": {"from": task.login, "to": [task.recipient]},
        "message": base64.b64encode(task.message).decode(),
    }
    script = Path(__file__).with_name("nodemailer.js")
    _succeed(
        ["node", str(script)],
        stdin=json.dumps(asked).encode(),
        env={"NODE_PATH": str(node_modules())},
    )


def submit_with_msmtp(task: Submission) -> None:
    """msmtp, the usual replacement for sendmail, in C with GnuTLS."""
    secret = task.directory / "password"
    secret.write_text(task.password)
    _succeed(
        [
            "msmtp",
            *("--host", LOOPBACK, "--port", str(task.port), "--domain", "client.office.example"),
            *("--tls=on", f"--tls-starttls={'off' if task.implicit else 'on'}"),
            *(f"--tls-trust-file={task.authority}", "--auth=plain", f"--user={task.login}"),
            *(f"--passwordeval=cat {secret}", f"--from={task.login}", "--", task.recipient),
        ],
        stdin=task.message.replace(b"\r\n", b"\n"),
    )


def _succeed(argv: list[str], *, stdin: bytes = b"", env: dict[str, str] | None = None) -> None:
    done = run(argv, stdin=stdin, env=env)
    assert done.returncode == 0, f"{argv[0]} failed:\n{done.stdout}{done.stderr}"


CLIENTS: dict[str, Callable[[Submission], None]] = {
    "swaks": submit_with_swaks,
    "smtplib": submit_with_smtplib,
    "nodemailer": submit_with_nodemailer,
    "msmtp": submit_with_msmtp,
}

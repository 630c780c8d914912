"""The sample messages of the demonstration: what an office relay sees on a Monday."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP

import clamd

OFFICE = "office.example"
SHOP = "shop.example"  # signs its mail
BANK = "bank.example"  # says by SPF that nobody sends for it

_GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
_PROJECT = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 504 + "_VBA_PROJECT".encode("utf-16-le")


@dataclass(frozen=True, slots=True)
class Sample:
    """One message and how it is sent.

    login: whether it comes from one of the office's own users, over TLS with
    AUTH, or else from a stranger. expected: the verdict that a relay with the
    default filters gives. signed: whether SHOP signs it before it is sent;
    spoilt: whether its body is changed after that.
    """

    title: str
    sender: str
    recipient: str
    expected: str
    raw: bytes
    login: bool = True
    signed: bool = False
    spoilt: bool = False


def _message(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Message-ID"] = f"<{abs(hash(subject)) % 10**12}.demo@{sender.rpartition('@')[2]}>"
    message.set_content(text)
    return message


def _clean() -> EmailMessage:
    message = _message(
        "alice@office.example",
        "bob@partner.example",
        "Offer 2026-014: two workstations",
        "Dear Bob,\n\nthank you for asking. Two workstations with three years of service come\n"
        "to 4,180.00, delivered in the second week of January. The offer stands\n"
        "until the 31st.\n\n"
        "Best wishes from Zürich\nAlice\n",
    )
    message.add_alternative(
        "<html><body><p>Dear Bob,</p><p>thank you for asking. Two workstations with three years "
        "of service come to <b>4,180.00</b>, delivered in the second week of January. The offer "
        "stands until the 31st.</p><p>Best wishes from Zürich<br>Alice</p></body></html>\n",
        subtype="html",
    )
    return message


def _printer() -> EmailMessage:
    message = _message(
        "alice@office.example",
        "carol@office.example",
        "Scan from floor 2",
        "The attached document was scanned on floor 2.\n",
    )
    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    message.add_attachment(pdf, maintype="application", subtype="pdf", filename="scan0042.pdf")
    return message


def _gtube() -> EmailMessage:
    return _message(
        "alice@office.example",
        "bob@partner.example",
        "You have been selected",
        f"This is the GTUBE, which every spam filter must catch:\n\n{_GTUBE}\n",
    )


def _eicar() -> EmailMessage:
    message = _message(
        "alice@office.example",
        "bob@partner.example",
        "The tool you asked for",
        "Attached is the EICAR test file, which every virus scanner must catch.\n",
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("readme.txt", clamd.EICAR)
    message.add_attachment(
        archive.getvalue(), maintype="application", subtype="zip", filename="tool.zip"
    )
    return message


def _macro() -> EmailMessage:
    message = _message(
        "alice@office.example",
        "bob@partner.example",
        "Invoice 8812 overdue",
        "Please open the attached invoice and enable its content.\n",
    )
    document = io.BytesIO()
    with zipfile.ZipFile(document, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("[Content_Types].xml", '<?xml version="1.0"?><Types/>')
        zipped.writestr("word/document.xml", '<?xml version="1.0"?><w:document/>')
        zipped.writestr("word/vbaProject.bin", _PROJECT)
    message.add_attachment(
        document.getvalue(),
        maintype="application",
        subtype="vnd.ms-word.document.macroEnabled.12",
        filename="invoice-8812.docm",
    )
    return message


def _forged() -> EmailMessage:
    return _message(
        "service@bank.example",
        "bob@office.example",
        "Your account has been limited",
        "Confirm your details within 24 hours.\n",
    )


def _from_shop(subject: str) -> Callable[[], EmailMessage]:
    return lambda: _message(
        "orders@shop.example",
        "bob@office.example",
        subject,
        "Your parcel leaves our house today. You can expect it on Thursday.\n",
    )


def samples(now: datetime) -> tuple[Sample, ...]:
    """All of them, in the order in which they are sent. now: their Date."""

    def dated(message: EmailMessage) -> bytes:
        message["Date"] = now
        return bytes(message)

    own = "alice@office.example"
    return (
        Sample("clean offer, text and HTML", own, "bob@partner.example", "pass", dated(_clean())),
        Sample("scan from a printer", own, "carol@office.example", "pass", dated(_printer())),
        Sample("GTUBE", own, "bob@partner.example", "reject", dated(_gtube())),
        Sample("EICAR in a zip", own, "bob@partner.example", "reject", dated(_eicar())),
        Sample("document with macros", own, "bob@partner.example", "quarantine", dated(_macro())),
        Sample(
            "forged sender (SPF)",
            "service@bank.example",
            "bob@office.example",
            "reject",
            dated(_forged()),
            login=False,
        ),
        Sample(
            "signed by a shop (DKIM)",
            "orders@shop.example",
            "bob@office.example",
            "pass",
            dated(_from_shop("Order 2231 is on its way")()),
            login=False,
            signed=True,
        ),
        Sample(
            "the same, changed on its way",
            "orders@shop.example",
            "bob@office.example",
            "pass",
            dated(_from_shop("Order 2232 is on its way")()),
            login=False,
            signed=True,
            spoilt=True,
        ),
    )

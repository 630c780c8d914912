"""What each connection means for the report of its destination."""

from datetime import timedelta
from pathlib import Path

import pytest

from filterrelay.delivery.mta_sts import NOTHING, StsPolicy, Told
from filterrelay.delivery.tls import Rung
from filterrelay.delivery.tls_session import DESTINATIONS, Failure, TlsSession
from filterrelay.delivery.tls_tally import MOST_KINDS, TlsTally, result_of, results_of
from filterrelay.plugin.testing import SOME_TIME, FakeClock

POLICY = StsPolicy("1", "testing", ("mx.partner.example",), 86_400, SOME_TIME)
STS = Told(POLICY)
MX = "mx.partner.example"
GOOD = TlsSession(MX, "TLSv1.3", Rung.VERIFIED, proved=True)
ANYBODY = TlsSession(MX, "TLSv1.3", Rung.UNVERIFIED)
EXPIRED = TlsSession(MX, "none", Rung.VERIFIED, failure=Failure.EXPIRED, reason="expired")
PLAIN = TlsSession(MX, "none", Rung.PLAIN, failure=Failure.NO_STARTTLS)
TLSA = TlsSession(MX, "TLSv1.3", Rung.DANE, proved=True, tlsa=("3 1 1 ab",))
BROKEN = TlsSession(MX, "none", Rung.DANE, failure=Failure.BAD_DNSSEC, reason="SERVFAIL")


@pytest.mark.parametrize(
    ("session", "told", "kind", "failure"),
    [
        (GOOD, NOTHING, "no-policy-found", ""),
        (ANYBODY, NOTHING, "no-policy-found", ""),
        (PLAIN, NOTHING, "no-policy-found", "starttls-not-supported"),
        (GOOD, STS, "sts", ""),
        (ANYBODY, STS, "sts", "validation-failure"),
        (EXPIRED, STS, "sts", "certificate-expired"),
        (PLAIN, STS, "sts", "starttls-not-supported"),
        (
            TlsSession("mx.evil.example", "TLSv1.3", Rung.VERIFIED, True),
            STS,
            "sts",
            "validation-failure",
        ),
        (GOOD, Told(None, "sts-webpki-invalid"), "sts", "sts-webpki-invalid"),
        (TLSA, STS, "tlsa", ""),
        (BROKEN, NOTHING, "tlsa", "dnssec-invalid"),
    ],
)
def test_success_depends_on_what_was_asked_for(
    session: TlsSession, told: Told, kind: str, failure: str
) -> None:
    """Encryption alone is enough where there is no policy (RFC 8460 section 4.3)."""
    result = result_of("partner.example", session, told)
    assert result is not None
    assert (result.kind, result.failure, result.host) == (kind, failure, session.host)


def test_a_certificate_that_nobody_asked_for_fails_nothing() -> None:
    """The next connection, which makes do with any, is the one that counts."""
    assert result_of("partner.example", EXPIRED, NOTHING) is None


def test_counts_come_back_from_all_processes(tmp_path: Path) -> None:
    """By day and domain; a line that was cut off is passed over."""
    clock = FakeClock()
    one, other = (TlsTally(tmp_path, name, clock) for name in ("one", "other/1"))
    DESTINATIONS.set(("partner.example", "twin.example"))
    one.found("partner.example", STS)
    for tally in (one, one, other):
        tally.note(GOOD)
    one.flush()
    one.note(GOOD)
    clock.advance(timedelta(days=1))
    other.note(PLAIN)
    one.flush()
    other.flush()
    first, second = sorted(tmp_path.iterdir())
    (first / "bad.jsonl").write_text('{"domain": "x"\n{"count": 1}\n[]\n')
    found = [(r.domain, r.kind, n) for r, n in results_of(first)]
    assert sorted(found) == [
        ("partner.example", "no-policy-found", 1),
        ("partner.example", "sts", 1),
        ("partner.example", "sts", 2),
        ("twin.example", "no-policy-found", 1),
        ("twin.example", "no-policy-found", 1),
        ("twin.example", "no-policy-found", 2),
    ]
    assert {r.failure for r, _ in results_of(second)} == {"starttls-not-supported"}
    assert next(r for r, _ in results_of(first) if r.kind == "sts").strings == POLICY.lines


def test_far_sides_cannot_make_it_grow(tmp_path: Path) -> None:
    """What comes beyond the limit isn't counted."""
    tally = TlsTally(tmp_path, "one", FakeClock())
    for number in range(MOST_KINDS + 10):
        DESTINATIONS.set((f"{number}.example",))
        tally.note(GOOD)
    tally.flush()
    (day,) = tmp_path.iterdir()
    assert sum(1 for _ in results_of(day)) == MOST_KINDS


def test_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    """Mail is more important than counts."""
    (tmp_path / "file").touch()
    tally = TlsTally(tmp_path / "file", "one", FakeClock())
    DESTINATIONS.set(("partner.example",))
    tally.note(GOOD)
    tally.flush()

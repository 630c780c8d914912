"""What the TLS policies allow."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from filterrelay.delivery.tls import Rung, TlsPolicy, UnsupportedTls, tls_policy
from filterrelay.settings import Upstream


def policy_of(tls: str, **changes: Any) -> TlsPolicy:
    """The policy at an upstream with these settings."""
    return tls_policy(Upstream(name="provider", hosts=("127.0.0.1:1",), **changes), tls)


@pytest.mark.parametrize(
    ("policy", "ladder"),
    [
        ("none", [Rung.PLAIN]),
        ("opportunistic", [Rung.VERIFIED, Rung.UNVERIFIED, Rung.PLAIN]),
        ("required", [Rung.VERIFIED]),
        ("implicit", [Rung.IMPLICIT]),
        ("dane", [Rung.DANE]),
        ("sts", [Rung.VERIFIED]),
        ("sts-dane", [Rung.DANE, Rung.VERIFIED]),
        ("may-dane", [Rung.DANE, Rung.VERIFIED, Rung.UNVERIFIED, Rung.PLAIN]),
    ],
)
def test_only_opportunistic_may_step_down(policy: str, ladder: list[Rung]) -> None:
    """The others have one way to be, but that DANE is for hosts that have its records."""
    assert list(policy_of(policy).ladder) == ladder


@pytest.mark.parametrize("policy", ["required", "implicit", "sts"])
def test_verifying_policies_check_chain_and_name(policy: str) -> None:
    """With TLS 1.2 at least."""
    (context,) = policy_of(policy).contexts.values()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("policy", ["required", "opportunistic", "dane"])
def test_the_oldest_version_holds_on_every_rung(policy: str) -> None:
    """It is the upstream's own to say."""
    contexts = policy_of(policy, minimum_version="1.3").contexts.values()
    assert {each.minimum_version for each in contexts} == {ssl.TLSVersion.TLSv1_3}


def test_a_policy_that_nobody_knows_is_refused() -> None:
    """Rather than silently weakened."""
    with pytest.raises(UnsupportedTls):
        policy_of("strict")


@pytest.mark.parametrize("changes", [{"ca_file": "missing.pem"}, {"certificate": "missing.pem"}])
def test_a_missing_file_is_noticed_at_the_start(tmp_path: Path, changes: dict[str, str]) -> None:
    """Not at the first message."""
    with pytest.raises(OSError, match="No such file"):
        policy_of("required", **{key: tmp_path / name for key, name in changes.items()})

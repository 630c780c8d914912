"""What the TLS policies allow."""

import ssl
from pathlib import Path

import pytest

from filterrelay.delivery.tls import Rung, UnsupportedTls, tls_policy


@pytest.mark.parametrize(
    ("policy", "ladder"),
    [
        ("none", [Rung.PLAIN]),
        ("opportunistic", [Rung.VERIFIED, Rung.UNVERIFIED, Rung.PLAIN]),
        ("required", [Rung.VERIFIED]),
        ("implicit", [Rung.IMPLICIT]),
    ],
)
def test_only_opportunistic_may_step_down(policy: str, ladder: list[Rung]) -> None:
    """The others have one way to be."""
    assert list(tls_policy("provider", policy, None).ladder) == ladder


@pytest.mark.parametrize("policy", ["required", "implicit"])
def test_verifying_policies_check_chain_and_name(policy: str) -> None:
    """With TLS 1.2 at least."""
    (context,) = tls_policy("provider", policy, None).contexts.values()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_policy_that_cannot_be_kept_is_refused() -> None:
    """Rather than silently weakened."""
    with pytest.raises(UnsupportedTls):
        tls_policy("provider", "dane", None)


def test_a_missing_ca_file_is_noticed_at_the_start(tmp_path: Path) -> None:
    """Not at the first message."""
    with pytest.raises(OSError, match="No such file"):
        tls_policy("provider", "required", tmp_path / "missing.pem")

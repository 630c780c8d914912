"""Findings."""

from filterrelay.mail.finding import AuthResult, Finding


def test_a_finding_carries_what_authentication_results_shall_say() -> None:
    """RFC 8601's result stands beside the plugin's own word."""
    result = AuthResult("spf", "pass", properties=(("smtp.mailfrom", "office.example"),))
    assert Finding("pass", auth=(result,)).auth[0].properties[0][1] == "office.example"

"""aiosmtpd's own test suite is run against our session class; where it differs, it says why."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("test_smtp", "test_starttls", "test_smtps", "test_handlers", "test_smtpsmuggling")
# Left out: test_lmtp (a class of theirs that we don't have), test_server and test_main (their
# controllers and command line, which we don't use), test_misc (their helpers), and
# test_proxyprotocol: the parser is used as it is, and our server reads the header before
# there is a session, which test_proxy_protocol.py and test_server.py test.

STRICT_ADDRESSES = "addresses stand in angle brackets and keep to RFC 5321; comments are none"
HELP = "HELP answers 214 (RFC 5321 section 4.2.3) or 504, and tells of the commands that we have"
PARAMETERS = "a parameter that isn't offered is 555 (RFC 5321 section 4.1.1.11); handlers get none"
OFFER = "EHLO offers more, and always a size"
OUR_FAULT = "an exception is our fault: 451 or the end, told to the log and not to the client"
MECHANISMS = "there are PLAIN and LOGIN; no handler brings mechanisms or replies of its own"
INTAKE_DECIDES = "that a login is needed is said to MAIL; what follows lacks MAIL"
AUTH_AFTER_EHLO = "AUTH after HELO is a bad sequence, 503; the command itself is known"
VRFY = "VRFY tells nothing to anybody, so no handler is asked"
STREAM = "looks into the StreamWriter, which our class replaces; test_smtp.py has the like"
LIMITS = "limits are the listener's: errors and commands in all, not calls of each command"
TEXTS = "compares the greeting's or the reply's very text"
FIRST_FAULT = "a message with two faults is refused for the other one of them"
ALWAYS_UTF8 = "SMTPUTF8 is always offered, and message content is never decoded"
BARE_ENDS = "a bare CR or LF in a message is refused; theirs stays inside"
PIPELINING = "a client that half-closes or is silent still gets its answer, 421 for the silent one"
NO_WARNINGS = "passwords are never logged, and contexts are the program's own: nothing to warn of"
NO_HOOK = "the intake has on_helo and authenticate in place of these hooks"
TLS_POLICY = "no option refuses all before STARTTLS: AUTH asks for TLS; without a context it's 502"

DEVIATIONS = {
    STREAM: (
        "TestProtocol::test_empty_email",
        "TestProtocol::test_honors_mail_delimiters",
        "TestClientCrash::test_close_in_command",
        "TestClientCrash::test_close_in_command_2",
        "TestClientCrash::test_close_in_data",
        "TestClientCrash::test_close_in_long_command",
        "TestClientCrash::test_connection_reset_during_DATA",
        "TestClientCrash::test_connection_reset_during_command",
        "TestClientCrash::test_connection_reset_in_long_command",
        "TestClientCrash::test_sockclose_after_helo",
        "TestSMTPWithController::test_long_line_leak",
        "TestTLSEnding::test_eof_received",
    ),
    STRICT_ADDRESSES: (
        "TestSMTP::test_mail_valid_address",
        "TestSMTP::test_rcpt_valid_address",
        "TestCustomization::test_limitlocalpart",
    ),
    OFFER: (
        "TestSMTP::test_ehlo",
        "TestAuthMechanisms::test_ehlo",
        "TestSMTPWithController::test_esmtp_no_size_limit",
    ),
    HELP: (
        "TestSMTP::test_help",
        "TestSMTP::test_help_",
        "TestSMTP::test_help_bad_arg",
        "TestSMTP::test_help_esmtp",
        "TestStartTLS::test_help_after_starttls",
        "TestStartTLS::test_help_starttls",
        "TestRequiredAuthentication::test_help_authenticated",
        "TestRequiredAuthentication::test_help_unauthenticated",
    ),
    PARAMETERS: (
        "TestSMTP::test_mail_esmtp_errsyntax",
        "TestSMTP::test_mail_smtp_errsyntax",
        "TestSMTP::test_rcpt_esmtp_errsyntax",
        "TestSMTP::test_rcpt_smtp_errsyntax",
        "TestDebugging::test_debugging",
        "TestDebugging::test_debugging_bytes",
        "TestDebugging::test_debugging_with_options",
    ),
    VRFY: (
        "TestSMTP::test_vrfy_not_address",
        "TestRequiredAuthentication::test_vrfy_unauthenticated",
        "TestResetCommands::test_ehlo",
        "TestResetCommands::test_helo",
        "TestResetCommands::test_rset",
    ),
    MECHANISMS: (
        "TestAuthMechanisms::test_DENYFALSE",
        "TestAuthMechanisms::test_DENYMISSING",
        "TestAuthMechanisms::test_NONE",
        "TestAuthMechanisms::test_custom_mechanism",
        "TestSMTPAuth::test_auth_loginteract_warning",
        "TestAuthenticator::test_fail_withmesg",
    ),
    INTAKE_DECIDES: (
        "TestRequiredAuthentication::test_data_unauthenticated",
        "TestRequiredAuthentication::test_rcpt_unauthenticated",
    ),
    AUTH_AFTER_EHLO: ("TestSMTPAuth::test_helo",),
    OUR_FAULT: (
        "TestSMTPWithController::test_exception_handler_exception",
        "TestSMTPWithController::test_exception_handler_multiple_connections_lost",
        "TestSMTPWithController::test_exception_handler_undescribable",
        "TestSMTPWithController::test_unexpected_errors",
        "TestSMTPWithController::test_unexpected_errors_custom_response",
        "TestSMTPWithController::test_unexpected_errors_unhandled",
        "TestTLSEnding::test_tls_handshake_failing",
        "TestStartTLS::test_failed_handshake",
    ),
    TEXTS: (
        "TestCustomization::test_custom_greeting",
        "TestCustomization::test_default_greeting",
        "TestSMTPWithController::test_too_long_body_delay_error",
        "TestSMTPWithController::test_too_long_line_delay_error",
    ),
    FIRST_FAULT: ("TestSMTPWithController::test_too_long_lines_then_too_long_body",),
    ALWAYS_UTF8: (
        "TestStrictASCII::test_data",
        "TestStrictASCII::test_ehlo",
        "TestStrictASCII::test_mail_param",
        "TestSMTPWithController::test_bad_encodings",
    ),
    BARE_ENDS: ("TestSmuggling::test_smtp_smuggling",),
    PIPELINING: (
        "TestSleepingHandler::test_close_after_helo",
        "TestTimeout::test_timeout",
    ),
    LIMITS: (
        "TestLimits::test_all_limit_15",
        "TestLimits::test_different_limits",
        "TestLimits::test_different_limits_custom_default",
        "TestLimits::test_limit_bogus",
        "TestLimits::test_limit_wrong_type",
        "TestLimits::test_limit_wrong_value_type",
    ),
    NO_WARNINGS: (
        "TestAuthArgs::test_log_authmechanisms",
        "TestAuthArgs::test_warn_authreqnotls",
        "TestAuthMechanisms::test_plain1_goodcreds_sanitized_log",
        "TestTLSContext::test_certreq_warn",
        "TestTLSContext::test_nocertreq_chkhost_warn",
    ),
    NO_HOOK: (
        "TestDeprecation::test_ehlo_hook",
        "TestDeprecation::test_process_message",
        "TestDeprecation::test_process_message_async",
        "TestDeprecation::test_rset_hook",
        "TestHooks::test_hook_AUTH",
        "TestHooks::test_hook_EHLO_deprecated",
        "TestHooks::test_hook_EHLO_deprecated_warning",
        "TestHooks::test_hook_EHLO_incompat",
        "TestHooks::test_hook_EHLO_new",
    ),
    TLS_POLICY: (
        "TestRequireTLS::test_data_fails",
        "TestRequireTLS::test_helo_fails",
        "TestRequireTLS::test_help_fails",
        "TestRequireTLS::test_mail_fails",
        "TestRequireTLS::test_rcpt_fails",
        "TestRequireTLS::test_vrfy_fails",
        "TestNoTLS::test_disabled_tls",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each of their tests went, in a process of its own."""
    directory = tmp_path_factory.mktemp("aiosmtpd")
    (directory / "pytest.ini").write_text("[pytest]\naddopts =\n")
    noted = directory / "outcomes.json"
    command = [sys.executable, "-m", "pytest", "-c", str(directory / "pytest.ini"), "-q"]
    command += ["-p", "tests.doors.aiosmtpd_adapter", "-p", "no:cacheprovider", "--tb=no"]
    command += ["--pyargs", *(f"aiosmtpd.tests.{module}" for module in MODULES)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FILTERRELAY_OUTCOMES": str(noted),
        "PYTHONWARNINGS": "ignore",
    }
    with (Path(gettempdir()) / "aiosmtpd-port-8025.lock").open("w") as port:
        fcntl.flock(port, fcntl.LOCK_EX)  # their tests know but one port
        subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=False)
    return dict(json.loads(noted.read_text()))


def test_their_suite_was_run(outcomes: dict[str, str]) -> None:
    """Hundreds of their tests pass against our class."""
    assert sum(outcome == "passed" for outcome in outcomes.values()) > 100


def test_every_deviation_is_listed(outcomes: dict[str, str]) -> None:
    """What differs from aiosmtpd differs on purpose, and nothing is listed in vain."""
    failed = {name for name, outcome in outcomes.items() if outcome != "passed"}
    listed = {name for names in DEVIATIONS.values() for name in names}
    assert failed == listed

"""Sessions as plugins, the spool and the trace see them."""

import json

from filterrelay.mail.session import Credentials, Identity, Session, Tls
from filterrelay.plugin.testing import a_session


def test_a_session_comes_back_from_its_facts() -> None:
    """What the spool keeps as JSON is the whole session, but for what plugins know accounts by."""
    session = a_session(
        tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256),
        identity=Identity("alice", ("*@office.example",), "auth-file", stamp="of the hash"),
    )
    kept = json.dumps(session.facts())
    assert Session.from_facts(json.loads(kept)) == session
    assert "of the hash" not in kept


def test_only_a_login_or_a_trusted_network_may_relay() -> None:
    """A stranger may not."""
    assert a_session(login="alice").may_relay
    assert a_session(trusted=True).may_relay
    assert not a_session().may_relay


def test_a_password_never_shows() -> None:
    """Neither a log line nor a traceback can leak it."""
    assert "secret" not in repr(Credentials("PLAIN", "alice", "secret"))

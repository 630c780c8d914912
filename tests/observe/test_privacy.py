"""Addresses in the log that not everybody may read."""

import hashlib
import hmac
import json
import os
import stat
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from filterrelay.observe.privacy import Privacy, hashing, key_in, privacy, shortened

KEY = "00" * 32


def private(addresses: Any, event: MutableMapping[str, Any], file: Path | None = None) -> Any:
    """The event as it is logged."""
    processor, _ = privacy(addresses, file)
    assert processor is not None
    return processor(None, "info", event)


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("anna@office.example", "a…@office.example"),
        ('"two words"@office.example', "t…@office.example"),
        ("jörg@büro.example", "j…@büro.example"),
        ("anna", "a…"),
        ("@", "…@"),
    ],
)
def test_a_short_address_tells_the_domain(address: str, short: str) -> None:
    """And one letter."""
    assert shortened(address) == short


def test_a_hash_is_that_of_the_address_in_lower_case() -> None:
    """So that an operator can look one up with openssl, as docs/logs.md says."""

    def by_hand(text: bytes) -> str:
        return hmac.new(bytes(32), text, hashlib.sha256).hexdigest()

    expected = f"{by_hand(b'anna@office.example')[:16]}@{by_hand(b'office.example')[:8]}"
    assert hashing(KEY)("Anna@Office.Example") == expected
    assert hashing(KEY)("anna") == by_hand(b"anna")[:16]
    assert hashing("11" * 32)("anna") != by_hand(b"anna")[:16]


SAID: dict[str, Any] = {
    "event": "deferred",
    "message_id": "X",
    "sender": "anna@office.example",
    "recipients": ["bob@partner.example", "carl@[192.0.2.1]"],
    "login": "anna.login",
    "header_message_id": "<anna.1@office.example>",
    "reply": "550 5.1.1 <Bob@Partner.Example>: unknown; say anna.login, ask help@partner.example.",
    "note_of_a_plugin": {"who": ["bob@partner.example"], "count": 3},
    "exception": [{"exc_value": "no such user: carl@[192.0.2.1]"}],
}


@pytest.mark.parametrize("addresses", ["short", "hashed"])
def test_no_address_is_left_in_any_field(addresses: Any, tmp_path: Path) -> None:
    """Nor in others' words, whatever the case; only the message's own ID stays as it is."""
    told = private(addresses, dict(SAID), tmp_path / "log.key")
    assert told.pop("header_message_id") == SAID["header_message_id"]
    words = json.dumps(told, ensure_ascii=False).lower()
    for secret in ("anna", "bob", "carl@", "help@"):
        assert secret not in words
    assert told["event"] == "deferred"
    assert told["message_id"] == "X"
    assert told["note_of_a_plugin"]["count"] == 3
    bob = told["recipients"][0]
    assert told["note_of_a_plugin"]["who"] == [bob]
    same = f"<{bob}>" if addresses == "hashed" else "<B…@Partner.Example>"
    assert told["reply"].startswith(f"550 5.1.1 {same}: unknown; say ")
    assert told["reply"].endswith(".")


def test_an_event_keeps_its_name_whatever_a_login_is_called() -> None:
    """Tools know lines by it; a library's words are no name."""
    assert private("short", {"event": "login", "login": "login"})["event"] == "login"
    assert private("short", {"event": "anna@x failed"})["event"] == "a…@x failed"


def test_empty_fields_stay_empty() -> None:
    """The null sender is nobody."""
    assert private("short", {"event": "message", "sender": "", "recipients": []}) == {
        "event": "message",
        "sender": "",
        "recipients": [],
    }


def test_long_words_take_no_time() -> None:
    """A far side that answers with very many characters stops nothing."""
    reply = "550 " + "a" * 200_000 + "@"
    assert private("short", {"event": "deferred", "reply": reply})["reply"] == reply


def test_full_addresses_need_no_work() -> None:
    """Which is how it is unless the file says otherwise."""
    assert privacy("full", None) == (None, "")


def test_all_processes_share_one_key(tmp_path: Path) -> None:
    """Whoever comes first makes it, for the relay alone to read."""
    file = tmp_path / "state" / "log.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(key_in, [file] * 8))
    assert len(keys) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == ["log.key"]  # noqa: PTH208  # names are wanted


@pytest.mark.parametrize("content", ["", "short", "zz" * 32])
def test_a_key_that_is_none_is_replaced_by_one_in_memory(tmp_path: Path, content: str) -> None:
    """The log says so; what it doesn't do is to log addresses in full, or with a weak key."""
    file = tmp_path / "log.key"
    file.write_text(content)
    processor, trouble = privacy("hashed", file)
    assert isinstance(processor, Privacy)
    assert "key" in trouble
    assert file.read_text() == content
    assert privacy("hashed", tmp_path / "log.key" / "below")[1] != ""

"""The RFC 7208 test suite of the SPF project, all of it, through the plugin.

data/rfc7208-tests.json is rfc7208-tests.yml of pyspf 2.0.14, turned into JSON
and otherwise unchanged; its licence stands beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filterrelay.plugin import Address
from filterrelay.plugin.services import DnsError
from filterrelay.plugin.testing import Record, a_session, an_envelope, running

SUITE = json.loads((Path(__file__).parent / "data/rfc7208-tests.json").read_text())
CASES = {
    name: (scenario["zonedata"], case)
    for scenario in SUITE
    for name, case in scenario["tests"].items()
}


class ZoneResolver:
    """Answers as the suite's notes tell: from its zones, with time-outs where they say so."""

    def __init__(self, zones: dict[str, list[Any]]) -> None:
        self._zones = {name.lower(): _completed(entries) for name, entries in zones.items()}

    async def lookup(self, name: str, kind: str) -> Sequence[Record]:
        return self._lookup(name.lower(), kind, 8)

    def _lookup(self, name: str, kind: str, hops: int) -> Sequence[Record]:
        if name not in self._zones and name.startswith("error."):
            raise DnsError(name)
        found: list[Record] = []
        alias = ""
        for entry in self._zones.get(name, ()):
            if entry == "TIMEOUT":
                if not found:
                    raise DnsError(name)
                break
            ((type_, value),) = entry.items()
            if type_ == kind:
                if value == "TIMEOUT":
                    raise DnsError(name)
                found.append(_record(type_, value))
            elif type_ == "CNAME":
                alias = value.lower().removesuffix(".")
        if not found and alias:
            if not hops:
                raise DnsError("too many CNAMEs")
            return self._lookup(alias, kind, hops - 1)
        return found


def _completed(entries: list[Any]) -> list[Any]:
    """The suite writes SPF for a record of either type; only TXT counts in RFC 7208."""
    has_txt = any(isinstance(entry, dict) and "TXT" in entry for entry in entries)
    return [
        {"TXT": entry["SPF"]} if isinstance(entry, dict) and "SPF" in entry else entry
        for entry in entries
        if not (
            isinstance(entry, dict) and (entry.get("TXT") == "NONE" or ("SPF" in entry and has_txt))
        )
    ]


def _record(kind: str, value: Any) -> Record:
    match kind:
        case "TXT":
            return "".join([value] if isinstance(value, str) else value).encode()
        case "MX":
            return (value[0], value[1])
        case _:
            return str(value).removesuffix(".")


@pytest.mark.parametrize("name", CASES)
async def test_the_result_is_the_one_that_the_suite_asks_for(name: str) -> None:
    """Each of the suite's 203 cases ends as RFC 7208 says."""
    zones, case = CASES[name]
    local, _, domain = case["mailfrom"].rpartition("@")
    envelope = replace(an_envelope(), sender=Address(local, domain) if case["mailfrom"] else None)
    session = a_session(client_ip=case["host"], helo=case["helo"])
    async with running("spf", resolver=ZoneResolver(zones), on_fail="tag") as plugin:
        verdict = await plugin.on_message(session, envelope)
    wanted = case["result"]
    assert verdict.finding.result in ([wanted] if isinstance(wanted, str) else wanted)
    if case.get("explanation", "DEFAULT") != "DEFAULT":
        assert dict(verdict.finding.details)["explanation"] == case["explanation"]


def test_the_suite_is_whole() -> None:
    """None of its cases is lost."""
    assert len(CASES) == 203

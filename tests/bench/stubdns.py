"""A name server for the invented domains, so that no look-up leaves this machine.

`python -m tests.bench.stubdns PORT` reads a JSON object of name to TXT strings from standard
input and serves until it is ended. Names below the known domains exist without records, all
others don't exist.
"""

import asyncio
import json
import subprocess
import sys
from typing import Self, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.bench import site
from tests.bench.errors import StartFailed

_TTL = 3600
_ADDRESS = "127.0.0.1"


def answer(query: dns.message.Message, texts: dict[str, str]) -> dns.message.Message:
    """The response to one query."""
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    if question.rdtype == dns.rdatatype.TXT and name in texts:
        quoted = " ".join(
            f'"{texts[name][start : start + 250]}"' for start in range(0, len(texts[name]), 250)
        )
        response.answer.append(dns.rrset.from_text(question.name, _TTL, "IN", "TXT", quoted))
    elif question.rdtype == dns.rdatatype.MX and name in _domains(texts):
        response.answer.append(
            dns.rrset.from_text(question.name, _TTL, "IN", "MX", f"10 mx.{name}.")
        )
    elif question.rdtype == dns.rdatatype.A and name.endswith(tuple(_domains(texts))):
        response.answer.append(dns.rrset.from_text(question.name, _TTL, "IN", "A", _ADDRESS))
    elif not name.endswith(tuple(_domains(texts))):
        response.set_rcode(dns.rcode.NXDOMAIN)
    if not response.answer:
        soa = f"ns.{site.DOMAIN}. host.{site.DOMAIN}. 1 3600 600 86400 {_TTL}"
        response.authority.append(dns.rrset.from_text(".", _TTL, "IN", "SOA", soa))
    return response


def _domains(texts: dict[str, str]) -> set[str]:
    return {name for name in texts if not name.partition(".")[2].startswith("_domainkey.")}


class _Responder(asyncio.DatagramProtocol):
    """Answers each packet; what was asked before is answered from memory."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self._known: dict[bytes, bytes] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Answer one query: the first two bytes are its identifier (RFC 1035 section 4.1.1)."""
        assert self._transport is not None
        if data[2:] not in self._known:
            try:
                query = dns.message.from_wire(data)
            except dns.exception.DNSException:
                return
            self._known[data[2:]] = answer(query, self._texts).to_wire()[2:]
        self._transport.sendto(data[:2] + self._known[data[2:]], addr)


async def _serve(port: int, texts: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Responder(texts), local_addr=(_ADDRESS, port))
    print("ready", flush=True)
    await asyncio.Event().wait()


class StubDns:
    """The name server's process, seen from the benchmark."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, office: site.Site) -> Self:
        """Serve the office's records."""
        texts = {
            site.DOMAIN: f"v=spf1 a mx ip4:{site.STRANGER} -all",
            site.RECIPIENT_DOMAIN: "v=spf1 -all",
            site.APP_DOMAIN: "v=spf1 -all",
            f"{site.SELECTOR}._domainkey.{site.DOMAIN}": office.dkim.record,
            f"{site.APP_SELECTOR}._domainkey.{site.APP_DOMAIN}": office.app_dkim.record,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.stubdns", str(office.dns_port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(texts).encode())
        process.stdin.close()
        if not process.stdout.readline():
            raise StartFailed("the stub name server", "see above")
        return cls(process)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), json.load(sys.stdin)))

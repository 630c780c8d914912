"""A name server of a few records, so that the demonstration asks nobody outside."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], str]


class _Server(asyncio.DatagramProtocol):
    """Answers each question from the zone, or says that there is nothing."""

    def __init__(self, zone: Zone) -> None:
        self._zone = {(name.lower().rstrip("."), kind): text for (name, kind), text in zone.items()}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        name = question.name.to_text(omit_final_dot=True).lower()
        text = self._zone.get((name, kind))
        if text is not None:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, text))
        elif not any(known == name for known, _ in self._zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def name_server(zone: Zone) -> AsyncIterator[str]:
    """Serves the zone on a free loopback port; gives `127.0.0.1:port`.

    zone: records as in a zone file, by (name, kind).
    """
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Server(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"{host}:{port}"
    finally:
        transport.close()

"""A DNS server that answers from a table, over UDP and TCP, and can fail on demand."""

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from .process import LOOPBACK, bound, udp_and_tcp

SERVFAIL = "SERVFAIL"
TIMEOUT = "TIMEOUT"
_UDP_OCTETS = 1232


@dataclass
class StubDns:
    """records: {("s1._domainkey.office.example", "TXT"): ["\"v=DKIM1; …\""]}.

    Data are in the form of zone files. A value of SERVFAIL or TIMEOUT makes the
    question fail so; what is in no record is NXDOMAIN. asked: all questions so far.
    """

    port: int
    records: dict[tuple[str, str], list[str] | str]
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, as the configuration file takes it."""
        return f"{LOOPBACK}:{self.port}"

    def answer(self, wire: bytes) -> bytes | None:
        """The reply to one query; None when it shall stay unanswered."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        found = self.records.get((name, kind))
        if found == TIMEOUT:
            return None
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA | dns.flags.AA
        if found == SERVFAIL:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif isinstance(found, list):
            reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, found))
        elif not any(known == name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire(max_size=65535)


def _serve_udp(stub: StubDns, listening: socket.socket) -> None:
    while True:
        try:
            wire, client = listening.recvfrom(65535)
        except OSError:
            return  # closed: the end
        reply = stub.answer(wire)
        if reply is not None and len(reply) > _UDP_OCTETS:
            short = dns.message.make_response(dns.message.from_wire(wire))
            short.flags |= dns.flags.TC  # the client comes again by TCP
            reply = short.to_wire()
        if reply is not None:
            with suppress(OSError):
                listening.sendto(reply, client)


def _serve_tcp(stub: StubDns, listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return  # closed: the end
        with connection, suppress(OSError, struct.error):
            connection.settimeout(2)
            (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
            reply = stub.answer(connection.recv(length, socket.MSG_WAITALL))
            if reply is not None:
                connection.sendall(struct.pack("!H", len(reply)) + reply)


def txt(text: str) -> list[str]:
    """A TXT record's data, cut into strings of at most 255 octets."""
    return [" ".join(f'"{text[i : i + 255]}"' for i in range(0, len(text), 255))]


@contextmanager
def run_dns(
    records: Mapping[tuple[str, str], list[str] | str], host: str = ""
) -> Iterator[StubDns]:
    """A server with these records; they may be changed while it runs.

    host: the address at which it has the usual port, for whoever can't be told another.
    """
    udp, tcp = bound(host, 53) if host else udp_and_tcp()
    stub = StubDns(udp.getsockname()[1], dict(records))
    tcp.listen()
    threads = [
        threading.Thread(target=_serve_udp, args=(stub, udp), name="dns-udp"),
        threading.Thread(target=_serve_tcp, args=(stub, tcp), name="dns-tcp"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield stub
    finally:
        for listening in (udp, tcp):
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes its thread
            listening.close()
        for thread in threads:
            thread.join()

"""The demonstration's upstream."""

from aiosmtplib import SMTP

from filterrelay.demo.upstream import upstream


async def test_it_keeps_what_arrives() -> None:
    """Envelope and bytes as they were sent."""
    async with upstream() as (provider, address):
        host, _, port = address.partition(":")
        async with SMTP(hostname=host, port=int(port), start_tls=False) as client:
            await client.sendmail("a@office.example", ["b@x.example"], b"A: 1\r\n\r\nbody\r\n")
        assert await provider.wait_for(1, timeout=5)
        (arrival,) = provider.arrivals
        assert (arrival.sender, arrival.recipients) == ("a@office.example", ("b@x.example",))
        assert arrival.raw == b"A: 1\r\n\r\nbody\r\n"


async def test_waiting_for_what_does_not_come_ends() -> None:
    """The demonstration says what is missing rather than standing still."""
    async with upstream() as (provider, _):
        assert not await provider.wait_for(1, timeout=0.01)

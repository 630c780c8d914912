"""HTTPS to hosts that strangers name: small, bounded, no redirects, the certificate verified."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from filterrelay import __version__
from filterrelay.delivery.addresses import PlacesOf, Unresolved
from filterrelay.errors import FilterRelayError

MOST_OCTETS = 64 * 1024  # of an answer; RFC 8461 section 3.3
TIMEOUT = 30.0  # seconds for all of it; the same section suggests a minute at most
CONNECT = 8.0  # seconds for TCP, and for TLS, with one address; then the next has its turn
_MOST_ADDRESSES = 2


@dataclass
class HttpsFailed(FilterRelayError):
    """There is no answer that can be used. certificate: because of the server's certificate."""

    reason: str
    certificate: bool = False

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of status 2xx. kind: its media type, in lower case."""

    content: bytes
    kind: str


class Https:
    """Asks servers at the addresses that our own resolver knows, if mail might go there.

    tls: by which their certificates are verified; the system's authorities when not said.
    port: in place of 443.
    """

    def __init__(
        self, places: PlacesOf, tls: ssl.SSLContext | None = None, port: int = 443
    ) -> None:
        self._places = places
        self._tls = tls
        self._port = port

    async def get(self, url: str) -> Page:
        """What stands there. Raises HttpsFailed."""
        return await self._ask("GET", url)

    async def post(self, url: str, kind: str, content: bytes) -> None:
        """Hands this over. Raises HttpsFailed."""
        await self._ask("POST", url, content=content, headers={"Content-Type": kind})

    async def _ask(self, method: str, url: str, **what: Any) -> Page:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or self._port
            if parts.scheme != "https" or not host or parts.username is not None:
                raise HttpsFailed(f"{url}: only https is spoken")
            async with asyncio.timeout(TIMEOUT):
                places = await self._places(host, port)
                path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
                return await self._first(method, host, port, path, places, what)
        except TimeoutError:
            raise HttpsFailed(f"{host}: no answer within {TIMEOUT:g} s") from None
        except (Unresolved, ValueError) as unknown:
            raise HttpsFailed(f"{url}: {unknown}") from unknown

    async def _first(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        places: Any,
        what: dict[str, Any],
    ) -> Page:
        """The answer of the first address that can be connected to."""
        import httpx  # it takes long to load, and few commands need it

        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        headers = {"Host": host, "User-Agent": f"filterrelay/{__version__}"}
        headers |= {"Accept-Encoding": "identity", **what.pop("headers", {})}
        failed = HttpsFailed(f"{host}: no address")
        timeout = httpx.Timeout(TIMEOUT, connect=CONNECT)
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=timeout) as client:
            for place in places[:_MOST_ADDRESSES]:
                address = place.address[0]
                where = f"[{address}]" if ":" in address else address
                try:
                    async with client.stream(
                        method,
                        f"https://{where}:{port}{path}",
                        headers=headers,
                        extensions={"sni_hostname": host},
                        **what,
                    ) as response:
                        return await _page(host, response)
                except (httpx.TransportError, httpx.InvalidURL) as error:
                    words = " ".join(str(error).split())[:200] or type(error).__name__
                    failed = HttpsFailed(f"{host}: {words}", "CERTIFICATE_VERIFY" in words)
        raise failed


async def _page(host: str, response: Any) -> Page:
    if not 200 <= response.status_code <= 299:
        raise HttpsFailed(f"{host}: status {response.status_code}")
    content = b""
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MOST_OCTETS:
            raise HttpsFailed(f"{host}: more than {MOST_OCTETS // 1024} KiB")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Page(content, kind)

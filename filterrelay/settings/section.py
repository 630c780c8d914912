"""What the sections of filterrelay.toml have in common."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from filterrelay.mail.address import AddressPattern


class Section(BaseModel):
    """The base of all sections: frozen, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


def _pattern(value: Any) -> Any:
    return AddressPattern(value) if isinstance(value, str) else value


def _network(value: Any) -> Any:
    return ip_network(value, strict=False) if isinstance(value, str) else value


Pattern = Annotated[AddressPattern, BeforeValidator(_pattern)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]

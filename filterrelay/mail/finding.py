"""What a plugin found out, whether or not it decides anything."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuthResult:
    """One line of Authentication-Results (RFC 8601 section 2.2).

    method: `spf`, `dkim`, … result: `pass`, `fail`, `none`, … properties: pairs
    such as `("smtp.mailfrom", "office.example")`.
    """

    method: str
    result: str
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A plugin's result for later plugins, the trace and the metrics.

    result: one word of the plugin's own closed list. text: the reason a person
    reads. score: for those that weigh. details: what the trace shows beside it,
    pairs of name and value. auth: what Authentication-Results shall say. A
    plugin may subclass it to hand richer values to later ones.
    """

    result: str
    text: str = ""
    score: float | None = None
    details: tuple[tuple[str, str], ...] = ()
    auth: tuple[AuthResult, ...] = field(default=())

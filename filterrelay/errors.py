"""The one family of errors that filterrelay raises on purpose."""

from typing import Any


class FilterRelayError(Exception):
    """Something that filterrelay names and explains.

    A subclass is usually a dataclass: its docstring's first line is the
    message, its fields are the particulars.
    """

    def __str__(self) -> str:
        named: dict[str, Any] = getattr(self, "__dataclass_fields__", {})
        if not named:
            return super().__str__()
        particulars = ", ".join(f"{name}={getattr(self, name)!r}" for name in named)
        summary = (type(self).__doc__ or "").partition("\n")[0].rstrip(".")
        return f"{summary} ({particulars})" if particulars else summary

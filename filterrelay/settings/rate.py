"""How a rate is written: messages in a time."""

import re

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([smhd])\Z")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_rate(text: str) -> float:
    """Messages a second, of `100/s`, `0.5/s`, `600/m`, `5000/h` or `500/d`. Raises ValueError."""
    matched = _RATE.match(text.strip())
    if not matched or not float(matched[1]):
        raise ValueError(f'{text!r} is no rate; write one like "100/s", "600/m" or "5000/h"')
    return float(matched[1]) / _SECONDS[matched[2]]

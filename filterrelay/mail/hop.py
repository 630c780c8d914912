"""Where mail goes next, and the text by which the spool, the queue and the log name it."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"([^+:#]*)(?:\+([^:#]*))?(?::([^#]*))?(?:#(.*))?", re.DOTALL)
SEPARATORS = "+:#"  # which no name of an upstream or of a destination may have


@dataclass(frozen=True, slots=True)
class Hop:
    """A next hop: what shares connections, limits and failures.

    upstream: a name of the file, or `mx`. tls: the policy, where it isn't the upstream's
    own. site: for direct delivery, the name of the destination's mail servers. shape:
    the name of the [[destination]] whose limits hold, or empty. As text they are
    `upstream+tls:site#shape`, what is empty left out.
    """

    upstream: str
    tls: str = ""
    site: str = ""
    shape: str = ""

    def __str__(self) -> str:
        tls = f"+{self.tls}" if self.tls else ""
        site = f":{self.site}" if self.site else ""
        shape = f"#{self.shape}" if self.shape else ""
        return f"{self.upstream}{tls}{site}{shape}"

    @classmethod
    def parse(cls, text: str) -> "Hop":
        """The hop that has this text."""
        found = _FORM.fullmatch(text)
        assert found is not None, "every text has this form"
        return cls(*(group or "" for group in found.groups()))


def is_of(text: str, name: str) -> bool:
    """Whether the hop of this text has that whole text, or is of the upstream of that name."""
    return text == name or (text[: len(name)] == name and text[len(name)] in SEPARATORS)

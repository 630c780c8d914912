"""SMTP replies as values, and the named ones that several places give."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply (RFC 5321 section 4.2).

    code: three digits. enhanced: an RFC 3463 code as `4.3.0`, or empty where
    none belongs (greeting, EHLO, 354 and 334). text: what a person reads; a
    line feed makes it a reply of several lines.
    """

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        first = f"{self.code} {self.enhanced}" if self.enhanced else str(self.code)
        return f"{first} {self.text}".replace("\n", " / ")

    def encode(self) -> bytes:
        """The reply as it goes over the wire, CRLF included."""
        prefix = f"{self.enhanced} " if self.enhanced else ""
        if "\n" not in self.text:
            return f"{self.code} {prefix}{self.text}\r\n".encode("utf-8", "replace")
        lines = self.text.split("\n")
        last = len(lines) - 1
        return b"".join(
            f"{self.code}{' ' if i == last else '-'}{prefix}{line}\r\n".encode("utf-8", "replace")
            for i, line in enumerate(lines)
        )

    @property
    def is_temporary(self) -> bool:
        """Whether the client should try again (4xx)."""
        return self.code // 100 == 4

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is pointless (5xx)."""
        return self.code // 100 == 5


OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")  # RFC 3463 section 3.2
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
TRY_LATER = Reply(451, "4.3.0", "Temporary problem on our side, please try again later")
NO_MEMORY = Reply(452, "4.3.1", "Too much mail at once, please try again in a minute")
NO_SPACE = Reply(452, "4.3.1", "No space left to keep mail safe, please try again later")
MESSAGE_REFUSED = Reply(550, "5.7.1", "Message refused")

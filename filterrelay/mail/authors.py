"""The addresses in a From or Sender field (RFC 5322 section 3.6.2), read for checking them.

Readers differ in what they make of a field that keeps to no grammar. So this one
gives every address that any of them could find, and none but those: what it can't
be sure of it refuses.
"""

import re

from filterrelay.mail.address import Address, BadAddress, parse_mailbox

MAX_FIELD = 4096  # characters; a longer field hides something

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_RUN = rf'(?:[^\s"(),:;<>\\\[\]]|{_QUOTED}|\[[^\s\[\]\\<>"]*\])+'
# One address in brackets, or what stands between blanks and marks: a word, or an address.
_PIECE = re.compile(rf"<({_RUN})>|({_RUN})")
_QUOTATIONS = re.compile(_QUOTED)
_BLANKS = re.compile(r"[\s,:;]*")
_IN_COMMENT = re.compile(r"[()]|\\.|[^()\\]+", re.DOTALL)


def addresses_in(value: str) -> tuple[Address, ...]:
    """The field's addresses, in groups and in names without quotes too; at least one.

    value: unfolded. Encoded words stay as they are: no address may be in one
    (RFC 2047 section 5). Raises BadAddress.
    """
    if len(value) > MAX_FIELD:
        raise BadAddress(value, f"it is longer than {MAX_FIELD} characters")
    found: list[Address] = []
    at = 0
    while (at := _behind_comments(value, at)) < len(value):
        piece = _PIECE.match(value, at)
        if piece is None:
            raise BadAddress(value, f"what begins with {value[at : at + 20]!r} can't be read")
        bracketed, run = piece.groups()
        if bracketed is not None or "@" in _QUOTATIONS.sub("", run):
            found.append(parse_mailbox(bracketed or run, utf8=True))
        at = piece.end()
    if not found:
        raise BadAddress(value, "it holds no address")
    return tuple(found)


def _behind_comments(value: str, at: int) -> int:
    """The place behind blanks, marks between addresses, and comments, nested ones too."""
    while True:
        at = _end(_BLANKS.match(value, at), at)
        if value[at : at + 1] != "(":
            return at
        depth = 0
        while True:
            piece = _IN_COMMENT.match(value, at)
            if piece is None:
                raise BadAddress(value, "a comment doesn't end")
            depth += {"(": 1, ")": -1}.get(piece[0], 0)
            at = piece.end()
            if not depth:
                break


def _end(found: re.Match[str] | None, otherwise: int) -> int:
    return found.end() if found else otherwise

"""Text of strangers, made fit to be shown."""


def printable(text: str, instead: str = " ", keep: str = "") -> str:
    """The text without what forges a line, or is a command to a terminal.

    instead: what stands in the place of each such character. keep: those that may stay.
    """
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() or char in keep else instead for char in text])

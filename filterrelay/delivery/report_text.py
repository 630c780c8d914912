"""What the reports say to people who don't run mail servers."""

from collections.abc import Sequence

# By enhanced status code (RFC 3463), the class left out; the longest match counts.
_REASONS = {
    "1.1": "There is no such address there. Please check the spelling.",
    "1.2": "There is no such domain, or it takes no mail. Please check the spelling.",
    "1.3": "The address is not valid. Please check the spelling.",
    "1.6": "The mailbox has moved, and left no new address.",
    "1.8": "The other side doesn't believe the sender's address.",
    "1.10": "The recipient's domain says that it takes no mail.",
    "2.1": "The mailbox is switched off.",
    "2.2": "The mailbox is full.",
    "2.3": "The message is larger than this mailbox takes.",
    "3.4": "The message is larger than the other side takes. Please send less, or a link.",
    "4.1": "The other side's mail server couldn't be reached.",
    "4.2": "The connection to the other side's mail server broke.",
    "4.4": "No way to the other side's mail server could be found.",
    "4.6": "The message went in a circle between mail servers.",
    "4.7": "The other side's mail server took too long.",
    "6.7": "The other side can't take an address with letters beyond ASCII.",
    "7.1": "The other side's rules don't allow this message.",
    "7.26": "The other side couldn't verify that the message comes from the stated sender.",
    "7.30": "The message asked for encryption all the way, and the other side doesn't promise it.",
    "7": "The other side's rules or security settings stood against it.",
}
_UNKNOWN = "The other side gave the reason below."


def reason_for(status: str) -> str:
    """What the status means, in a sentence."""
    subject = status.partition(".")[2]
    return _REASONS.get(subject) or _REASONS.get(subject.partition(".")[0]) or _UNKNOWN


def failed_text(hostname: str, subject: str, lines: Sequence[tuple[str, str, str]]) -> str:
    """The text of a bounce. lines: address, status and the other side's words for each."""
    return (
        f"This is the mail system at {hostname}.\n\n"
        f"Your message{_named(subject)} could not be delivered to:\n\n"
        f"{_listed(lines)}"
        "It will not be tried again. If you don't know what to do, please pass this\n"
        "report on to whoever looks after your mail; the details are attached.\n"
    )


def delayed_text(
    hostname: str, subject: str, lines: Sequence[tuple[str, str, str]], until: str
) -> str:
    """The text of a delay notice. until: when it will be given up."""
    return (
        f"This is the mail system at {hostname}.\n\n"
        "YOU DON'T NEED TO DO ANYTHING, AND PLEASE DON'T SEND THE MESSAGE AGAIN.\n\n"
        f"Your message{_named(subject)} has not been delivered yet to:\n\n"
        f"{_listed(lines)}"
        f"It will be tried again and again until {until}.\n"
        "If that doesn't help, you will be told.\n"
    )


def relayed_text(hostname: str, subject: str, lines: Sequence[tuple[str, str, str]]) -> str:
    """The text of a report of success, as far as it is known."""
    return (
        f"This is the mail system at {hostname}.\n\n"
        f"Your message{_named(subject)} was handed over for:\n\n"
        + "".join(f"  {address}\n" for address, _, _ in lines)
        + "\nThe next mail server doesn't report deliveries, so this is all that you will hear.\n"
    )


def _named(subject: str) -> str:
    return f' "{subject}"' if subject else ""


def _listed(lines: Sequence[tuple[str, str, str]]) -> str:
    return "".join(
        f"  {address}\n    {reason_for(status)}\n    ({words})\n\n"
        for address, status, words in lines
    )

"""Tricks to make the relay carry mail to others without a login.

The door trusts nobody here and takes mail for office.example only.
"""

from .case import MAIL, Case, Hear, Say, Send, over_tls

_ROUTED = {
    "to a foreign domain": b"<user@foreign.example>",
    "the percent hack": b"<user%foreign.example@office.example>",
    "the percent hack twice": b"<user%foreign.example%office.example@office.example>",
    "the percent hack without a domain": b"<user%foreign.example>",
    "the percent hack in quotes": b'<"user%foreign.example"@office.example>',
    "a bang path": b"<foreign.example!user@office.example>",
    "a bang path without a domain": b"<foreign.example!user>",
    "a bang path through here": b"<office.example!foreign.example!user>",
    "a bang path to a foreign domain": b"<office.example!user@foreign.example>",
    "a source route through here": b"<@office.example:user@foreign.example>",
    "a source route through two": b"<@office.example,@relay.office.example:user@foreign.example>",
    "a source route and the percent hack": b"<@office.example:user%foreign.example@a.example>",
    "a quoted address": b'<"user@foreign.example"@office.example>',
    "a quoted address without a domain": b'<"user@foreign.example">',
    "an escaped at sign": rb"<user\@foreign.example@office.example>",
    "an escaped at sign in quotes": rb'<"user\@foreign.example"@office.example>',
    "two at signs": b"<user@foreign.example@office.example>",
    "two at signs, the foreign one last": b"<user@office.example@foreign.example>",
    "a colon between two": b"<user@office.example:user@foreign.example>",
    "two addresses with a comma": b"<user@office.example,user@foreign.example>",
    "two addresses with a semicolon": b"<user@office.example;user@foreign.example>",
    "two paths with a comma": b"<user@office.example>,<user@foreign.example>",
    "two paths with a space": b"<user@office.example> <user@foreign.example>",
    "a path within a path": b"<user@office.example<user@foreign.example>>",
    "a name before the path": b"user@office.example <user@foreign.example>",
    "a comment": b"<user@foreign.example(@office.example)>",
    "a comment before the at sign": b"<user(x)@foreign.example>",
    "a foreign domain that ends alike": b"<user@xoffice.example>",
    "a foreign domain that begins alike": b"<user@office.example.foreign.example>",
    "a foreign domain with a dot behind": b"<user@foreign.example.>",
    "a subdomain": b"<user@sub.office.example>",
    "this machine's literal": b"<user@[127.0.0.1]>",
    "this machine's IPv6 literal": b"<user@[IPv6:::1]>",
    "this machine's number without brackets": b"<user@127.0.0.1>",
    "a foreign literal": b"<user@[192.0.2.1]>",
    "a literal with the domain's name": b"<user@[office.example]>",
    "an underscore for the dot": b"<user@office_example>",
    "another alphabet's o": "<user@оffice.example>".encode(),
    "a full-width at sign": "<user＠foreign.example@office.example>".encode(),
    "a dot of another alphabet": "<user@office。example>".encode(),
    "NUL before the domain": b"<user@foreign.example\x00@office.example>",
    "a line feed before the domain": b"<user@foreign.example\x0b@office.example>",
    "a tab before the domain": b"<user@foreign.example\t@office.example>",
    "a pipe": b"<|/bin/sh@foreign.example>",
    "a file": b"</tmp/file@foreign.example>",
    "an IPv6 scope": b"<user@[IPv6:fe80::1%lo]>",
}
_LOCAL = {
    "a source route to here": b"<@foreign.example:user-{tag}@office.example>",
    "a pipe for a name": b"<|id@office.example>",
    "a file for a name": b"</etc/passwd@office.example>",
    "an option for a name": b"<-oQ/tmp@office.example>",
    "an expansion for a name": b"<${run{id}}@office.example>",
    "shell's back quotes for a name": b"<`id`@office.example>",
    "a variable for a name": b"<$HOME@office.example>",
    "an LDAP filter for a name": b"<*@office.example>",
    "a format string for a name": b"<%s%n@office.example>",
    "a dot behind the domain": b"<user-{tag}@office.example.>",
    "capitals": b"<USER-{tag}@OFFICE.EXAMPLE>",
    "subaddresses": b"<user+a+b=c-{tag}@office.example>",
    "VERP": b"<list-user=foreign.example-{tag}@office.example>",
}


def _refused() -> list[Case]:
    """Refused for good; nothing goes to anyone."""
    return [
        Case(f"relaying: {name}", (MAIL, Say(b"RCPT TO:" + path, "5")), door="guarded")
        for name, path in _ROUTED.items()
    ]


def _tolerable() -> list[Case]:
    """For our own domain, with a strange name: taken or not, but no route to others."""
    return [
        Case(f"relaying: {name}", (MAIL, Say(b"RCPT TO:" + path, "2 5")), door="guarded")
        for name, path in _LOCAL.items()
    ]


def _pretended() -> list[Case]:
    """Who one says one is opens no door."""
    foreign = Say(b"RCPT TO:<user@foreign.example>", "530 550 554")
    senders = {
        "nobody": b"<>",
        "our postmaster": b"<postmaster@office.example>",
        "our own name": b"<root@relay.office.example>",
        "this machine": b"<root@[127.0.0.1]>",
        "localhost": b"<root@localhost>",
        "the recipient": b"<user@foreign.example>",
        "a bounce address": b"<prvs=1234abcdef=ann@office.example>",
    }
    cases = [
        Case(
            f"relaying: as {name}",
            (Say(b"MAIL FROM:" + path, "250 5!"), foreign),
            door="guarded",
        )
        for name, path in senders.items()
    ]
    hellos = ("relay.office.example", "localhost", "[127.0.0.1]", "office.example")
    cases += [
        Case(
            f"relaying: calling oneself {hello}",
            (Say(b"EHLO " + hello.encode(), "250 5!"), MAIL, foreign),
            door="guarded",
        )
        for hello in hellos
    ]
    return cases


def _over_tls() -> list[Case]:
    foreign = Say(b"RCPT TO:<user@foreign.example>", "530 550 554")
    return [
        Case("relaying: TLS is no login", over_tls(MAIL, foreign), door="guarded"),
        Case(
            "relaying: a failed login is none",
            over_tls(Say(b"AUTH PLAIN AGFubkBvZmZpY2UuZXhhbXBsZQB3cm9uZw==", "535"), MAIL, foreign),
            door="guarded",
        ),
        Case(
            "relaying: AUTH= in MAIL is none",
            (Say(MAIL.line + b" AUTH=ann@office.example", "250 5!"), foreign),
            door="guarded",
        ),
        Case(
            "relaying: one good recipient opens no way for the next",
            (
                MAIL,
                Send(b"RCPT TO:<user-{tag}@office.example>\r\nRCPT TO:<user@foreign.example>\r\n"),
                Hear("250"),
                Hear("530 550 554"),
            ),
            door="guarded",
        ),
    ]


CASES = [*_refused(), *_tolerable(), *_pretended(), *_over_tls()]

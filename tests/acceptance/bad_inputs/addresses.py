"""Addresses that are none (RFC 5321 section 4.1.2), in MAIL and in RCPT."""

from .case import MAIL, Case, Say, refused

_PATHS = {
    "nothing but brackets and an at sign": b"<@>",
    "no domain": b"<user@>",
    "no name": b"<@partner.example>",
    "only a space": b"< >",
    "only a dot": b"<.>",
    "no closing bracket": b"<user-{tag}@partner.example",
    "no opening bracket": b"user-{tag}@partner.example>",
    "two brackets": b"<<user-{tag}@partner.example>>",
    "one bracket too many": b"<user-{tag}@partner.example>>",
    "brackets the wrong way": b">user-{tag}@partner.example<",
    "a space before the name": b"< user-{tag}@partner.example>",
    "a space in the name": b"<us er-{tag}@partner.example>",
    "a space before the at sign": b"<user-{tag} @partner.example>",
    "a space behind the at sign": b"<user-{tag}@ partner.example>",
    "a space in the domain": b"<user-{tag}@part ner.example>",
    "text behind the path": b"<user-{tag}@partner.example>x",
    "an open quote": b'<"user-{tag}@partner.example>',
    "a quote in the middle": b'<us"er-{tag}@partner.example>',
    "text behind a quote": b'<"us"er-{tag}@partner.example>',
    "a quote behind text": b'<us"er-{tag}"@partner.example>',
    "a quote that ends in an escape": rb'<"user-{tag}\"@partner.example>',
    "a dot first": b"<.user-{tag}@partner.example>",
    "a dot last": b"<user-{tag}.@partner.example>",
    "two dots": b"<us..er-{tag}@partner.example>",
    "a domain with a dot first": b"<user-{tag}@.partner.example>",
    "a domain with two dots": b"<user-{tag}@partner..example>",
    "a domain with a hyphen first": b"<user-{tag}@-partner.example>",
    "a domain with a comma": b"<user-{tag}@partner,example>",
    "a domain with a slash": b"<user-{tag}@partner/example>",
    "a domain with an asterisk": b"<user-{tag}@*>",
    "a domain in quotes": b'<user-{tag}@"partner.example">',
    "a domain in parentheses": b"<user-{tag}@(partner.example)>",
    "a domain's label of 64 octets": b"<user-{tag}@" + b"a" * 64 + b".example>",
    "a domain of 300 octets": b"<user-{tag}@" + b"a." * 146 + b"example>",
    "a name of 1,000 octets": b"<" + b"u" * 1000 + b"@partner.example>",
    "a path of 4,000 octets": b"<" + b"u" * 2000 + b"@" + b"a." * 996 + b"example>",
    "10,000 at signs": b"<" + b"@" * 10_000 + b">",
    "parentheses in the name": b"<us(er)-{tag}@partner.example>",
    "a comma in the name": b"<us,er-{tag}@partner.example>",
    "a semicolon in the name": b"<us;er-{tag}@partner.example>",
    "a colon in the name": b"<us:er-{tag}@partner.example>",
    "square brackets in the name": b"<us[er]-{tag}@partner.example>",
    "a backslash in the name": rb"<us\er-{tag}@partner.example>",
    "a group": b"<friends: user-{tag}@partner.example;>",
    "an encoded word": b"<=?utf-8?Q?user?= <user-{tag}@partner.example>>",
    "a URL": b"<mailto:user-{tag}@partner.example>",
    "letters beyond ASCII without SMTPUTF8": "<üser-{tag}@partner.example>".encode(),
    "a domain beyond ASCII without SMTPUTF8": "<user-{tag}@pärtner.example>".encode(),
    "Latin-1": "<üser-{tag}@partner.example>".encode("latin-1"),
    "a domain in Latin-1": "<user-{tag}@pärtner.example>".encode("latin-1"),
    "an empty literal": b"<user-{tag}@[]>",
    "a literal without its end": b"<user-{tag}@[127.0.0.1>",
    "a literal without its beginning": b"<user-{tag}@127.0.0.1]>",
    "a literal with text behind": b"<user-{tag}@[127.0.0.1]x>",
    "a literal of numbers too large": b"<user-{tag}@[300.1.1.1]>",
    "a literal of three numbers": b"<user-{tag}@[127.0.1]>",
    "a literal of hexadecimal numbers": b"<user-{tag}@[0x7f.0.0.1]>",
    "a literal with a name": b"<user-{tag}@[partner.example]>",
    "a literal of broken IPv6": b"<user-{tag}@[IPv6:::g]>",
    "a literal of short IPv6": b"<user-{tag}@[IPv6:1:2]>",
    "a literal of IPv6 with two gaps": b"<user-{tag}@[IPv6:1::2::3]>",
}
_ONLY_RECIPIENTS = {
    "the empty path": b"<>",
    "no path at all": b"",
    "postmaster of nowhere with an at sign": b"<postmaster@>",
    "only quotes": b'<"">',
}
# By the letter these are wrong; many servers are kind. Nothing else may come of it.
_TOLERABLE = {
    "a name of 65 octets": b"<" + b"u" * 59 + b"{tag}@partner.example>",
    "an empty name in quotes": b'<""@partner.example>',
    "a name with needless quotes": b'<"user-{tag}"@partner.example>',
    "a quoted space": b'<"us er-{tag}"@partner.example>',
    "a quoted at sign": b'<"us@er-{tag}"@partner.example>',
    "a space before the path": b" <user-{tag}@partner.example>",
    "no brackets": b"user-{tag}@partner.example",
    "a domain of numbers": b"<user-{tag}@1.2.3.4>",
    "a domain of one label": b"<user-{tag}@partner>",
    "a domain with a dot last": b"<user-{tag}@partner.example.>",
    "a domain with an underscore": b"<user-{tag}@part_ner.example>",
}
_UTF8 = {
    "an overlong slash": b"<us\xc0\xafer-{tag}@partner.example>",
    "a surrogate": b"<us\xed\xa0\x80er-{tag}@partner.example>",
    "half a letter": b"<us\xc3er-{tag}@partner.example>",
    "beyond the last letter": b"<us\xf4\x90\x80\x80er-{tag}@partner.example>",
    "NUL in two octets": b"<us\xc0\x80er-{tag}@partner.example>",
}


def _with_utf8() -> list[Case]:
    """SMTPUTF8 allows UTF-8, not any octet (RFC 6531 section 3.3)."""
    return [
        Case(
            f"address: {name}, with SMTPUTF8, as the {role}",
            (Say(b"MAIL FROM:" + path + b" SMTPUTF8", "5"),)
            if role == "sender"
            else (Say(MAIL.line + b" SMTPUTF8", "250"), Say(b"RCPT TO:" + path, "5")),
        )
        for name, path in _UTF8.items()
        for role in ("sender", "recipient")
    ]


def _tolerable() -> list[Case]:
    return [
        Case(f"address: {name} as the recipient", (MAIL, Say(b"RCPT TO:" + path, "2 5")))
        for name, path in _TOLERABLE.items()
    ] + [
        Case(f"address: {name} as the sender", (Say(b"MAIL FROM:" + path, "2 5"),))
        for name, path in _TOLERABLE.items()
    ]


CASES = [
    *refused("address of the sender", [(n, b"MAIL FROM:" + p) for n, p in _PATHS.items()]),
    *refused("address of a recipient", [(n, b"RCPT TO:" + p) for n, p in _PATHS.items()], MAIL),
    *refused(
        "address of a recipient", [(n, b"RCPT TO:" + p) for n, p in _ONLY_RECIPIENTS.items()], MAIL
    ),
    *_with_utf8(),
    *_tolerable(),
]

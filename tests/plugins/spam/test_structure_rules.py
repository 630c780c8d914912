"""Rules on structure, HTML and links."""

import pytest
from filterrelay_plugins.spam.rules import hits

from .conftest import Reader

HTML = {"content_type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("content", "headers", "rule"),
    [
        ("<html><body><p>Hello there</p></body></html>", HTML, "HTML_ALONE"),
        ("<p>chea<!-- x -->p pil<!-- y -->ls for y<!-- z -->ou</p>", HTML, "SPLIT_WORDS"),
        ("<form action='http://x.example'><input></form>", HTML, "FORM"),
        ("<script>alert(1)</script>", HTML, "SCRIPT"),
        ("<a href='http://192.0.2.7/login'>here</a>", HTML, "LINK_NUMBER"),
        ("See http://192.0.2.7/login\n", {}, "LINK_NUMBER"),
        ("See http://bank.example@evil.example/\n", {}, "LINK_DISGUISED"),
        ("See http://evil.example:8081/x\n", {}, "LINK_PORT"),
        ("<a href='http://evil.example/'>http://bank.example/</a>", HTML, "LINK_FOREIGN"),
        ("<a href='http://evil.example/'>here</a>", HTML, "HTML_ONE_LINK"),
        ("<p style='font-size:0px'>x</p>", HTML, "TINY_TEXT"),
        ("<font size=7>cheap</font>", HTML, "LOUD_TEXT"),
        ("<script>eval(unescape('%3c'))</script>", HTML, "CODED_SCRIPT"),
        ("<img src='cid:1'>", HTML, "IMAGE_ALONE"),
        ("aGVsbG8=\n", {"content_transfer_encoding": "base64"}, "BASE64_ASCII"),
        ("no parts\n", {"content_type": "multipart/mixed; boundary=b"}, "BROKEN_MIME"),
        ("See https://bit.ly/x\n", {}, "LINK_SHORT"),
        ("See http://list.example/remove.html\n", {}, "LINK_REMOVE"),
        ("See http://www.shop.example/\n", {"from": "a@shop.example"}, "LINK_OWN"),
        ("See http://xn--bnk-hoa.example/\n", {}, "LINK_PUNYCODE"),
    ],
)
def test_a_rule_holds_where_it_should(
    reading: Reader, content: str, headers: dict[str, str], rule: str
) -> None:
    """A trick in the text, and the rule on it says so; plain text it leaves alone."""
    assert rule in [hit.name for hit in hits(reading(content, **headers))]
    assert rule not in [hit.name for hit in hits(reading("See https://www.partner.example/\n"))]


def test_a_program_in_an_attachment_is_seen(reading: Reader) -> None:
    """Also when its name ends like a document before it ends like a program."""
    part = (
        "--b\nContent-Type: application/octet-stream\n"
        'Content-Disposition: attachment; filename="invoice.pdf.exe"\n\nMZ\n--b--\n'
    )
    names = [hit.name for hit in hits(reading(part, content_type='multipart/mixed; boundary="b"'))]
    assert {"EXECUTABLE", "DISGUISED_EXECUTABLE"} <= set(names)


def test_bold_letters_in_a_word_are_no_trick(reading: Reader) -> None:
    """Tags that everybody uses don't split words."""
    text = "<p>un<strong>believ</strong>able, re<strong>mark</strong>able, in<b>cred</b>ible</p>"
    assert "SPLIT_WORDS" not in [hit.name for hit in hits(reading(text, **HTML))]

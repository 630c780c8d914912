"""Rules on what subject and text say."""

import re
from string import ascii_lowercase, ascii_uppercase

from filterrelay_plugins.spam.reading import Reading
from filterrelay_plugins.spam.rule import Phrases, Rule

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
GTUBE_POINTS = 1000

_SUM = re.compile(r"[$€£]\s?\d[\d,.]*")
_TOLL_FREE = re.compile(rb"\b(?:1[-. ]?)?8(?:00|33|44|55|66|77|88)[-. ]\d{3}[-. ]")
_INVISIBLE = re.compile(r"\w[\u00ad\u200b-\u200d\u2060\ufeff]\w")
_MIXED = re.compile(r"[a-zA-Z][\u0370-\u03ff\u0400-\u04ff][a-zA-Z]")
_SPACED = re.compile(r"\b(?:[A-Za-z][ .*_-]){5,}[A-Za-z]\b")
_CAPITALS = ascii_uppercase.encode()
_SMALL = ascii_lowercase.encode()


def gtube(reading: Reading) -> bool:
    """The test string that every filter knows (Generic Test for Unsolicited Bulk Email)."""
    return GTUBE in reading.plain or GTUBE in reading.markup


def many_sums(reading: Reading) -> bool:
    """Sums of money again and again."""
    return len(_SUM.findall(_text(reading))) >= 5


def toll_free(reading: Reading) -> bool:
    """A telephone number that costs the caller nothing."""
    return _TOLL_FREE.search(reading.phrases) is not None


def dollars(reading: Reading) -> bool:
    """Dollar signs for decoration."""
    return "$$$" in _text(reading)


def invisible(reading: Reading) -> bool:
    """Invisible characters inside words, so that filters don't know them."""
    text = _text(reading)
    return not text.isascii() and len(_INVISIBLE.findall(text)) >= 3


def mixed_letters(reading: Reading) -> bool:
    """Greek or Cyrillic letters inside Latin words."""
    text = _text(reading) + reading.subject
    return not text.isascii() and _MIXED.search(text) is not None


def spaced_letters(reading: Reading) -> bool:
    """W o r d s written like this."""
    return _SPACED.search(reading.subject) is not None


def shouting(reading: Reading) -> bool:
    """Much of the text in capitals."""
    text = _text(reading).encode("utf-8", "replace")
    capitals = len(text) - len(text.translate(None, _CAPITALS))
    small = len(text) - len(text.translate(None, _SMALL))
    return capitals > 100 and capitals * 3 > small


def _text(reading: Reading) -> str:
    """What is read of the text, as written."""
    return (reading.visible or reading.plain)[:8000]


REMOVE = Phrases(
    """
    to be removed, be removed from, remove me, removed from our, remove in the subject,
    to remove your, to opt out, opt-out, click here to unsubscribe, wish to be removed,
    unsubscribe click, remove yourself, to stop receiving, removal instructions,
    removed from future, remove your name, remove your email, for removal
    """
)
EXCUSE = Phrases(
    """
    not spam, not unsolicited, never spam, section 301, s 1618, bill 1618, you have opted in,
    you opted in, in compliance with, one time mailing, this email was sent to you because,
    received this email by mistake, anti-spam policy, receive this email in error, under bill,
    opt-in list, you signed up with one of, in response to your, our marketing partners,
    one of our partner sites
    """
)
INCOME = Phrases(
    """
    make money, extra income, extra cash, financial freedom, work from home, work at home,
    be your own boss, business opportunity, income from home, home business, earn money,
    money making, earn thousands, fire your boss, online business, home based business,
    potential earnings, per week, multi-level, passive income
    """
)
CREDIT = Phrases(
    """
    mortgage, interest rates, refinance, credit card debt, bad credit, debt free, lower your,
    consolidate, low rates, home loan, life insurance, credit report, loan approval, lowest rates,
    get out of debt, no credit check, student loan
    """,
    wanted=2,
)
ADVANCE_FEE = Phrases(
    """
    next of kin, million dollars, united states dollars, us dollars, foreign account, transfer of,
    foreign partner, the late, your assistance, confidential, deceased, my late husband,
    bank account, mutual benefit, utmost, beneficiary, overseas, contract, of nigeria,
    inheritance, consignment, percentage, strictly confidential
    """,
    wanted=4,
)
MEDICINE = Phrases(
    """
    viagra, cialis, levitra, weight loss, lose weight, penis, growth hormone, hgh, erection,
    herbal, diet pills, xanax, valium, tramadol, pharmacy, prescription, no prescription,
    without a prescription, anti-aging, burn fat, keto, cbd gummies, phentermine, wrinkles
    """,
    wanted=2,
)
ADULT = Phrases(
    """
    xxx, porn, hardcore, horny, sluts, adult site, adult sites, live girls, teen sex, sex life,
    explicit, hot singles, sexy girls, nude, over 18, 18 years, webcam girls, lolita, dating site
    """,
    wanted=2,
)
PRIZE = Phrases(
    """
    you have won, you are a winner, winning number, claim your prize, lottery, you've won,
    winning notification, claim your free, lucky winner, gift card, been selected to receive,
    award notification
    """
)
PHISHING = Phrases(
    """
    verify your account, account suspended, account has been suspended, unusual activity,
    confirm your identity, update your billing, account will be closed, mailbox is full,
    verify your identity, suspicious activity, update your payment, account is limited,
    your mailbox, password will expire, unusual sign-in, avoid suspension, verify your email,
    pending messages, your account has been limited, restore access
    """,
    wanted=2,
)
PRESSURE = Phrases(
    """
    act now, limited time, order now, risk free, risk-free, money back guarantee,
    satisfaction guaranteed, no obligation, order today, call now, toll free, 100 guaranteed,
    absolutely free, at no cost, apply now, while supplies last, offer expires, don't delay,
    act today, call today, special offer, buy now, as seen on, credit cards accepted,
    click here now, free trial, what are you waiting, once in a lifetime, no risk, totally free,
    amazing, hurry
    """,
    wanted=2,
)
BULK_TOOLS = Phrases(
    """
    bulk email, bulk e-mail, email addresses, e-mail addresses, email marketing, million emails,
    email list, targeted email, opt-in email, mass email, search engines, website traffic,
    traffic to your, first page of google, seo services, backlinks, bulk emailing, mailing lists,
    e-mail marketing
    """,
    wanted=2,
)
EXTORTION = Phrases(
    """
    bitcoin, your password, webcam, recorded you, your contacts, adult websites, i hacked,
    your device, malware, wallet, 48 hours, btc, masturbating, trojan
    """,
    wanted=4,
)
INVESTMENT = Phrases(
    """
    strong buy, stock pick, penny stock, investment opportunity, forward looking,
    forward-looking statements, otc, hot stock, investors, guaranteed returns, crypto investment,
    double your, trading signals, price target, safe harbor
    """,
    wanted=2,
)
DEAR = Phrases(
    """
    dear friend, dear sir, dear customer, dear homeowner, dear beneficiary, dear user,
    dear valued, dear email user, dear sir madam, attn sir, dear internet user, dear beloved,
    dear consumer, dear member, dear winner, dear account holder
    """
)
CLICK = Phrases("click here, click below, click on the link, visit our, click the link")

TEXT_RULES = (
    Rule("GTUBE", GTUBE_POINTS, "The test string for spam filters", gtube),
    Rule("REMOVE", 1.2, "Says how to be removed from a list", REMOVE),
    Rule("EXCUSE", 2.0, "Explains that it is no spam", EXCUSE),
    Rule("INCOME", 1.5, "Offers an income", INCOME),
    Rule("CREDIT", 2.0, "Offers credit or insurance", CREDIT),
    Rule("ADVANCE_FEE", 3.0, "Speaks like advance-fee fraud", ADVANCE_FEE),
    Rule("MEDICINE", 2.5, "Offers medicine or slimness", MEDICINE),
    Rule("ADULT", 2.0, "Offers sex", ADULT),
    Rule("PRIZE", 1.2, "Announces a prize", PRIZE),
    Rule("PHISHING", 2.5, "Asks to verify an account", PHISHING),
    Rule("PRESSURE", 1.5, "Presses to act at once", PRESSURE),
    Rule("BULK_TOOLS", 2.0, "Offers addresses or traffic", BULK_TOOLS),
    Rule("EXTORTION", 3.0, "Threatens for money", EXTORTION),
    Rule("INVESTMENT", 1.5, "Recommends an investment", INVESTMENT),
    Rule("DEAR", 1.5, "Addresses nobody in particular", DEAR),
    Rule("CLICK", 0.3, "Asks to click", CLICK),
    Rule("MANY_SUMS", 0.4, "Sums of money again and again", many_sums),
    Rule("TOLL_FREE", 0.5, "A toll-free telephone number", toll_free),
    Rule("DOLLARS", 1.0, "Dollar signs in rows", dollars),
    Rule("INVISIBLE", 1.5, "Invisible characters inside words", invisible),
    Rule("MIXED_LETTERS", 2.0, "Letters of several alphabets in one word", mixed_letters),
    Rule("SPACED_LETTERS", 1.2, "Letters of the subject apart", spaced_letters),
    Rule("SHOUTING", 1.0, "Much of the text in capitals", shouting),
)

"""What the SMTP door itself says, each with its source."""

from filterrelay.mail.reply import Reply

BYE = Reply(221, "2.0.0", "Bye")
CANNOT_VERIFY = Reply(252, "2.1.5", "Cannot verify; send mail and see")  # RFC 5321 section 7.3
START_INPUT = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
START_TLS = Reply(220, "2.0.0", "Ready to start TLS")  # RFC 3207 section 4
LOGGED_IN = Reply(235, "2.7.0", "Authentication successful")  # RFC 4954 section 6

SHUTTING_DOWN = Reply(421, "4.3.2", "Service shutting down, please try again")
TIMED_OUT = Reply(421, "4.4.2", "Timed out waiting for you, closing the connection")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing the connection")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands without a message, closing")
TOO_MANY_MESSAGES = Reply(421, "4.7.0", "Enough messages for one connection, please reconnect")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections, please try again later")
TOO_MANY_FROM_YOU = Reply(421, "4.7.0", "Too many connections from you, close one first")
NOT_HTTP = Reply(421, "4.7.0", "This is a mail server, closing the connection")
BROKEN_OFF = Reply(421, "4.3.0", "Temporary problem on our side, closing the connection")
TALKS_TOO_SOON = Reply(554, "5.5.1", "You spoke before the greeting, closing the connection")
TALKS_BEFORE_TLS = Reply(554, "5.5.1", "You spoke on after STARTTLS, closing the connection")

BAD_LINE = Reply(500, "5.5.2", "A command is one line of printable text, ended with CR LF")
LINE_TOO_LONG = Reply(500, "5.5.2", "Command line too long")
UNKNOWN_COMMAND = Reply(500, "5.5.1", "Command not recognized; HELP lists what there is")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented here")
NO_ARGUMENT = Reply(501, "5.5.4", "The command takes no argument")
BAD_HELO = Reply(501, "5.5.4", "Say your host name, or your address in brackets")
HELO_FIRST = Reply(503, "5.5.1", "Say EHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "Say MAIL first")
MAIL_ALREADY = Reply(503, "5.5.1", "MAIL was said already; RSET starts anew")
RCPT_FIRST = Reply(503, "5.5.1", "Say RCPT first")
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")  # RFC 2920 section 3.1
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients, send the rest separately")
GONE = Reply(451, "4.4.2", "You closed the connection too soon, please try again")
CHUNKS_BEGUN = Reply(503, "5.5.1", "Go on with BDAT, or say RSET")  # RFC 3030 section 3
BAD_CHUNK = Reply(501, "5.5.4", "Syntax: BDAT <octets> [LAST]; closing the connection")
MAY_NOT_NAME_CLIENTS = Reply(550, "5.7.0", "Insufficient authorization")  # XFORWARD_README
TLS_ALREADY = Reply(503, "5.5.1", "TLS is in use already")
NO_STARTTLS = Reply(502, "5.5.1", "STARTTLS is not offered here")

NO_AUTH = Reply(503, "5.5.1", "AUTH is not offered here")
EHLO_FIRST = Reply(503, "5.5.1", "Say EHLO before AUTH")
TLS_FIRST = Reply(538, "5.7.11", "Encryption is required to log in; say STARTTLS first")
LOGGED_IN_ALREADY = Reply(503, "5.5.1", "You are logged in already")
NOT_NOW = Reply(503, "5.5.1", "Not within a mail transaction")  # RFC 4954 section 4
BAD_AUTH = Reply(501, "5.5.4", "Syntax: AUTH <mechanism> [initial-response]")
NO_MECHANISM = Reply(504, "5.5.4", "Unrecognized authentication type; there are PLAIN and LOGIN")
CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
BAD_BASE64 = Reply(501, "5.5.2", "Cannot decode that base64")
BAD_CREDENTIALS = Reply(501, "5.5.2", "Cannot read credentials in that")
AUTH_LINE_TOO_LONG = Reply(500, "5.5.6", "Authentication exchange line is too long")
WRONG_PASSWORD = Reply(535, "5.7.8", "Authentication credentials invalid")
ACCOUNT_FROZEN = Reply(525, "5.7.13", "The account is frozen; ask the postmaster")  # RFC 5248
NO_OTHER_IDENTITY = Reply(535, "5.7.8", "You may act as yourself only")
LOCKED_OUT = Reply(454, "4.7.0", "Too many failed logins, please try again later")
AUTH_UNAVAILABLE = Reply(454, "4.7.0", "Cannot check logins now, please try again later")

MESSAGE_TOO_LARGE = Reply(552, "5.3.4", "Message larger than the limit; EHLO says how large")
MESSAGE_LINE_TOO_LONG = Reply(500, "5.6.0", "The message has a line that is too long")
BARE_LINE_END = Reply(550, "5.6.11", "The message has a bare CR or LF; lines end with CR LF")
HEADER_TOO_LARGE = Reply(
    552, "5.3.4", "The header section is too large; is the empty line before the text missing?"
)
TOO_MANY_FIELDS = Reply(
    554, "5.6.0", "The header has too many fields; is the empty line before the text missing?"
)
CONTINUATION_FIRST = Reply(
    554, "5.6.0", "The message begins with a continuation line; the first field's name is missing"
)  # RFC 5322 section 2.2.3
HAS_NUL = Reply(550, "5.6.11", "The message has a NUL; encode it as base64")  # RFC 2045 2.8

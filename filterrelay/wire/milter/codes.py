"""The numbers and letters of the milter protocol, by their names in libmilter's mfdef.h."""

from enum import Enum, IntEnum, IntFlag

VERSION = 6  # SMFI_PROT_VERSION, the newest there is
OLDEST_VERSION = 2
CHUNK = 65535  # octets of a piece of body, MILTER_CHUNK_SIZE


class Command(IntEnum):
    """What the MTA says, SMFIC_*."""

    ABORT = ord("A")
    BODY = ord("B")
    CONNECT = ord("C")
    MACRO = ord("D")
    END_OF_MESSAGE = ord("E")  # SMFIC_BODYEOB
    HELO = ord("H")
    QUIT_NEW_CONNECTION = ord("K")  # SMFIC_QUIT_NC, version 6
    HEADER = ord("L")
    MAIL = ord("M")
    END_OF_HEADER = ord("N")  # SMFIC_EOH
    NEGOTIATE = ord("O")  # SMFIC_OPTNEG
    QUIT = ord("Q")
    RCPT = ord("R")
    DATA = ord("T")  # version 4
    UNKNOWN = ord("U")  # version 3


class Action(IntFlag):
    """What the filter may do to a message, SMFIF_*."""

    ADD_HEADERS = 1 << 0  # SMFIF_ADDHDRS: add and insert
    CHANGE_BODY = 1 << 1  # SMFIF_CHGBODY
    ADD_RECIPIENTS = 1 << 2  # SMFIF_ADDRCPT
    DELETE_RECIPIENTS = 1 << 3  # SMFIF_DELRCPT
    CHANGE_HEADERS = 1 << 4  # SMFIF_CHGHDRS: change and delete
    QUARANTINE = 1 << 5  # SMFIF_QUARANTINE
    CHANGE_SENDER = 1 << 6  # SMFIF_CHGFROM
    ADD_RECIPIENTS_WITH_PARAMETERS = 1 << 7  # SMFIF_ADDRCPT_PAR
    SET_SYMBOLS = 1 << 8  # SMFIF_SETSYMLIST


class Step(IntFlag):
    """What the MTA leaves out, and how the two talk, SMFIP_*."""

    NO_CONNECT = 1 << 0  # SMFIP_NOCONNECT …: the step isn't told
    NO_HELO = 1 << 1
    NO_MAIL = 1 << 2
    NO_RCPT = 1 << 3
    NO_BODY = 1 << 4
    NO_HEADERS = 1 << 5
    NO_END_OF_HEADER = 1 << 6
    QUIET_HEADERS = 1 << 7  # SMFIP_NR_HDR: the step gets no reply
    NO_UNKNOWN = 1 << 8
    NO_DATA = 1 << 9
    SKIP = 1 << 10  # SMFIP_SKIP: the MTA understands SMFIR_SKIP
    REJECTED_RECIPIENTS = 1 << 11  # SMFIP_RCPT_REJ: those that the MTA refuses are told, too
    QUIET_CONNECT = 1 << 12  # SMFIP_NR_CONN …
    QUIET_HELO = 1 << 13
    QUIET_MAIL = 1 << 14
    QUIET_RCPT = 1 << 15
    QUIET_DATA = 1 << 16
    QUIET_UNKNOWN = 1 << 17
    QUIET_END_OF_HEADER = 1 << 18
    QUIET_BODY = 1 << 19
    LEADING_SPACE = 1 << 20  # SMFIP_HDR_LEADSPC: a value has the blank behind the colon
    LARGE = 1 << 28  # SMFIP_MDS_256K: packets of so many octets
    HUGE = 1 << 29  # SMFIP_MDS_1M


NO_ACTIONS = Action(0)
NO_STEPS = Step(0)

# What an MTA means that offers nothing at all: SMFI_V1_ACTS and SMFI_V1_PROT.
FIRST_ACTIONS = Action(0x0F)
FIRST_STEPS = Step(0x3F)


class Stage(IntEnum):
    """Where macros are told, SMFIM_*, for the lists of those that the filter wants."""

    CONNECT = 0
    HELO = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    END_OF_MESSAGE = 5
    END_OF_HEADER = 6


class Family(Enum):
    """What kind of address a client has, SMFIA_*."""

    UNKNOWN = "U"
    UNIX = "L"
    INET = "4"
    INET6 = "6"

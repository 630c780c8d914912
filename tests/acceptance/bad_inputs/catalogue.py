"""All bad inputs, each with a name of its own."""

from . import (
    addresses,
    characters,
    chunks,
    end_of_data,
    floods,
    foreign_protocols,
    half_closed,
    logins,
    messages,
    parameters,
    relaying,
    sequence,
    tls,
)

# The long ones first, so that none of them is waited for alone at the end.
ALL = [
    *floods.CASES,
    *messages.CASES,
    *end_of_data.CASES,
    *characters.CASES,
    *foreign_protocols.CASES,
    *half_closed.CASES,
    *tls.CASES,
    *logins.CASES,
    *parameters.CASES,
    *sequence.CASES,
    *chunks.CASES,
    *relaying.CASES,
    *addresses.CASES,
]

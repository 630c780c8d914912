-- Version 1. Times are microseconds since 1970, UTC.

-- Narrow, because every lease, attempt and settlement rewrites a row of it.
-- wake is the moment at which the next one may take the message; hop, the only one that it
-- waits for, or empty, tells what a full lane would only give back. unreached is the hop
-- that couldn't be reached at the last attempt for one of the recipients, or empty.
CREATE TABLE message (
    id         TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    received   INTEGER NOT NULL,
    sender     TEXT,
    size       INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    passed     TEXT NOT NULL,
    released   INTEGER,
    due        INTEGER,
    owner      TEXT,
    until      INTEGER NOT NULL,
    content    INTEGER NOT NULL,
    file       TEXT,
    hop        TEXT NOT NULL DEFAULT '',
    unreached  TEXT NOT NULL DEFAULT '',
    wake       INTEGER GENERATED ALWAYS AS (max(due, until)) VIRTUAL
) WITHOUT ROWID, STRICT;

-- owner and state make it answer alone which leases there are, without a row a message.
CREATE INDEX message_by_wake ON message (hop, wake, owner, state) WHERE state = 'queued';
-- Its rows lie in the order of the IDs, which is that of acceptance.
CREATE INDEX message_unreached ON message (unreached) WHERE state = 'queued' AND unreached <> '';
CREATE INDEX message_by_age ON message (state, received);

-- Wide, and hardly ever rewritten. body is NULL when the bytes are in message.file.
CREATE TABLE content (
    seq      INTEGER PRIMARY KEY,
    envelope TEXT NOT NULL,
    session  TEXT NOT NULL,
    body     BLOB
) STRICT;

CREATE TABLE recipient (
    message_id   TEXT NOT NULL,
    idx          INTEGER NOT NULL,
    address      TEXT NOT NULL,
    notify       TEXT NOT NULL,
    orcpt        TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    next_attempt INTEGER,
    last_reply   TEXT NOT NULL,
    upstream     TEXT NOT NULL,
    warned       INTEGER NOT NULL,
    redirect     TEXT NOT NULL DEFAULT '',
    unreached    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (message_id, idx)
) WITHOUT ROWID, STRICT;

CREATE TRIGGER message_gone AFTER DELETE ON message BEGIN
    DELETE FROM content WHERE seq = OLD.content;
    DELETE FROM recipient WHERE message_id = OLD.id;
END;

-- Outlives its message. seq goes with the time, so that expiry reads from the front.
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL,
    at         INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    data       TEXT NOT NULL
) STRICT;

CREATE INDEX event_by_message ON event (message_id);

-- For those who look for a message without its ID. It grows at its end only.
CREATE INDEX event_received ON event (at) WHERE kind = 'received';

-- For workers, who may have a message in hand that an operator acts on.
CREATE INDEX event_act ON event (seq) WHERE kind IN ('held', 'redirected', 'deleted');

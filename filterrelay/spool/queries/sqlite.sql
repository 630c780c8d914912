-- Every statement by name. Those that end in "VALUES (…)" are given many rows at once.

-- :name insert_content
INSERT INTO content (envelope, session, body) VALUES (?, ?, ?)

-- :name delete_content
DELETE FROM content WHERE seq = ?

-- :name insert_message
INSERT INTO message (id, state, received, sender, size, reason, decided_by, passed, released,
                     due, owner, until, file, content)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- :name insert_recipient
INSERT INTO recipient (message_id, idx, address, notify, orcpt, state, attempts,
                       next_attempt, last_reply, upstream, warned, redirect, unreached)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- :name insert_event
INSERT INTO event (message_id, at, kind, data) VALUES (?, ?, ?, ?)

-- :name delete_ended
-- Rows: a message, and below which index all its recipients have ended now.
DELETE FROM message WHERE id IN (
    SELECT column1 FROM (VALUES (?, ?)) WHERE NOT EXISTS (
        SELECT 1 FROM recipient
        WHERE message_id = column1 AND idx >= column2 AND state = 'queued'))

-- :name living
SELECT id FROM message WHERE id IN (SELECT value FROM json_each(?))

-- :name settle_recipient
-- Who was redirected during the attempt is due at once, for the way that it has now.
UPDATE recipient
SET state = ?, attempts = ?, next_attempt = iif(redirect = ?, ?, NULL), last_reply = ?,
    upstream = iif(redirect = ?, ?, upstream), warned = ?, unreached = iif(redirect = ?, ?, 0)
WHERE message_id = ? AND idx = ? AND state = 'queued'

-- :name delete_if_ended
DELETE FROM message WHERE id = :id AND NOT EXISTS (
    SELECT 1 FROM recipient WHERE message_id = :id AND state = 'queued')

-- :name settle_message
UPDATE message
SET due = (SELECT min(coalesce(next_attempt, 0)) FROM recipient
           WHERE message_id = :id AND state = 'queued'),
    hop = coalesce((SELECT iif(min(upstream) = max(upstream), min(upstream), '')
                    FROM recipient WHERE message_id = :id AND state = 'queued'), ''),
    unreached = coalesce((SELECT upstream FROM recipient
                          WHERE message_id = :id AND state = 'queued' AND unreached
                          ORDER BY idx LIMIT 1), ''),
    owner = iif(:release AND (:owner = '' OR owner IS :owner), NULL, owner),
    until = iif(:release AND (:owner = '' OR owner IS :owner), 0, until)
WHERE id = :id

-- :name state
SELECT state FROM message WHERE id = ?

-- :name waiting
SELECT idx, redirect FROM recipient WHERE message_id = ? AND state = 'queued'

-- :name begin_attempt
UPDATE recipient SET attempts = attempts + 1, next_attempt = :next, unreached = 0
WHERE message_id = :id AND state = 'queued' AND idx IN (SELECT value FROM json_each(:indexes))

-- :name due_hops
-- Each hop whose mail is due, from one place in their order on, by two looks into the index each.
WITH RECURSIVE found(hop) AS (
    SELECT (SELECT hop FROM message INDEXED BY message_by_wake
            WHERE state = 'queued' AND hop >= :first ORDER BY hop LIMIT 1)
    UNION ALL
    SELECT (SELECT message.hop FROM message INDEXED BY message_by_wake
            WHERE state = 'queued' AND message.hop > found.hop ORDER BY message.hop LIMIT 1)
    FROM found WHERE found.hop IS NOT NULL)
SELECT hop FROM found
WHERE hop IS NOT NULL AND EXISTS (
    SELECT 1 FROM message INDEXED BY message_by_wake
    WHERE state = 'queued' AND message.hop = found.hop AND wake <= :now)

-- :name due
SELECT wake, id FROM message INDEXED BY message_by_wake
WHERE state = 'queued' AND hop = ? AND wake <= ? ORDER BY wake LIMIT ?

-- :name unreached_hops
-- Each hop that mail waits for because it couldn't be reached, by one look for each.
WITH RECURSIVE found(hop) AS (
    SELECT (SELECT unreached FROM message INDEXED BY message_unreached
            WHERE state = 'queued' AND unreached <> '' ORDER BY unreached LIMIT 1)
    UNION ALL
    SELECT (SELECT unreached FROM message INDEXED BY message_unreached
            WHERE state = 'queued' AND unreached <> '' AND unreached > found.hop
            ORDER BY unreached LIMIT 1)
    FROM found WHERE found.hop IS NOT NULL)
SELECT hop FROM found WHERE hop IS NOT NULL

-- :name unreached
SELECT id FROM message INDEXED BY message_unreached
WHERE state = 'queued' AND unreached = ? AND unreached <> '' AND until <= ?
ORDER BY id LIMIT ?

-- :name lease
UPDATE message SET owner = ?, until = ? WHERE id IN (SELECT value FROM json_each(?))

-- :name renew
UPDATE message SET until = ? WHERE owner = ? AND id IN (SELECT value FROM json_each(?))

-- :name orphaned
-- Who holds leases without being alive; the index on wake answers it for the queued ones.
SELECT id FROM message INDEXED BY message_by_wake
WHERE state = 'queued' AND owner IS NOT NULL AND owner NOT IN (SELECT value FROM json_each(:alive))
UNION ALL
SELECT id FROM message
WHERE state = 'held' AND owner IS NOT NULL AND owner NOT IN (SELECT value FROM json_each(:alive))

-- :name still_orphaned
-- The + has it look up the messages instead of reading through all in these states.
SELECT id FROM message
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state IN ('queued', 'held')
  AND owner IS NOT NULL AND owner NOT IN (SELECT value FROM json_each(:alive))

-- :name hasten_untried
UPDATE recipient SET next_attempt = :now
WHERE message_id IN (SELECT value FROM json_each(:ids)) AND state = 'queued' AND attempts = 0

-- :name end_leases
UPDATE message
SET owner = NULL, until = 0,
    due = (SELECT min(coalesce(next_attempt, 0)) FROM recipient
           WHERE message_id = message.id AND recipient.state = 'queued')
WHERE id IN (SELECT value FROM json_each(:ids))

-- :name in_states
SELECT id FROM message
WHERE id IN (SELECT value FROM json_each(:ids))
  AND state IN (SELECT value FROM json_each(:states))

-- :name hold
UPDATE message SET state = 'held', reason = :reason, decided_by = ''
WHERE id IN (SELECT value FROM json_each(:ids))

-- :name release
UPDATE message
SET state = 'queued', reason = '', decided_by = '', due = :at, released = :at,
    passed = iif(:passed = '', passed, iif(passed = '', :passed, passed || char(10) || :passed))
WHERE id IN (SELECT value FROM json_each(:ids))

-- :name hasten
UPDATE message SET due = :at WHERE id IN (SELECT value FROM json_each(:ids))

-- :name hasten_recipients
UPDATE recipient SET next_attempt = :at
WHERE message_id IN (SELECT value FROM json_each(:ids)) AND state = 'queued'

-- :name redirect
-- They wait for their new hop from now on, not in the old one's row.
UPDATE message SET hop = :hop, due = :at, unreached = ''
WHERE id IN (SELECT value FROM json_each(:ids))

-- :name redirect_recipients
UPDATE recipient SET redirect = :upstream, upstream = :hop, next_attempt = :at, unreached = 0
WHERE message_id IN (SELECT value FROM json_each(:ids)) AND state = 'queued'

-- :name delete
DELETE FROM message WHERE id IN (SELECT value FROM json_each(:ids))

-- :name overdue_quarantined
SELECT id FROM message WHERE state = 'quarantined' AND received < ? ORDER BY received LIMIT ?

-- :name oldest_events
SELECT seq, at, NOT EXISTS (SELECT 1 FROM message WHERE id = message_id)
FROM event WHERE seq > ? ORDER BY seq LIMIT ?

-- :name delete_events
DELETE FROM event WHERE seq IN (SELECT value FROM json_each(?))

-- :name replace_content
UPDATE content SET body = :body, envelope = :envelope
WHERE seq = (SELECT content FROM message WHERE id = :id)

-- :name replace_message
UPDATE message SET sender = :sender, size = :size, file = :file, hop = '', unreached = ''
WHERE id = :id

-- :name delete_recipients
DELETE FROM recipient WHERE message_id = :id

-- :name messages
SELECT id, state, received, sender, size, reason, decided_by, passed, released, owner, until,
       envelope, session
FROM message LEFT JOIN content ON seq = content
WHERE id IN (SELECT value FROM json_each(?))

-- :name recipients
SELECT message_id, idx, address, notify, orcpt, state, attempts, next_attempt, last_reply,
       upstream, warned, redirect, unreached
FROM recipient WHERE message_id IN (SELECT value FROM json_each(?))
ORDER BY message_id, idx

-- :name scan
-- One state's messages after a place in the order; a superset of what the patterns mean.
SELECT received, id FROM message
WHERE message.state = :state AND (received, id) > (:after, :after_id) AND received <= :until
  AND (:sender = '' OR sender LIKE :sender OR sender LIKE '"%')
  AND (:recipient = '' OR EXISTS (
      SELECT 1 FROM recipient
      WHERE message_id = id AND recipient.state = 'queued'
        AND (address LIKE :recipient OR address LIKE '"%')))
  AND (:upstream = '' OR EXISTS (
      SELECT 1 FROM recipient
      WHERE message_id = id AND recipient.state = 'queued'
        AND (upstream = :upstream
             OR substr(upstream, 1, length(:upstream) + 1)
                IN (:upstream || '+', :upstream || ':', :upstream || '#'))))
ORDER BY received, id LIMIT :limit

-- :name body
SELECT body, file FROM message JOIN content ON seq = content WHERE id = ?

-- :name bodies
SELECT id, body, file FROM message JOIN content ON seq = content
WHERE id IN (SELECT value FROM json_each(?))

-- :name known
SELECT value FROM json_each(?)
WHERE EXISTS (SELECT 1 FROM message WHERE id = value)
   OR 'received' = (SELECT kind FROM event
                    WHERE message_id = value AND kind IN ('received', 'deleted')
                    ORDER BY at DESC, seq DESC LIMIT 1)

-- :name file
SELECT 1 FROM message WHERE id = ? AND file = ?

-- :name events
SELECT at, kind, data FROM event WHERE message_id = ? ORDER BY at, seq

-- :name last_event
SELECT coalesce(max(seq), 0) FROM event

-- :name acts
SELECT seq, message_id FROM event INDEXED BY event_act
WHERE kind IN ('held', 'redirected', 'deleted') AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?

-- :name received
-- Events that open a trace, newest first, before a place in that order; a superset of what the
-- patterns mean: quoted local parts, which have many spellings, all pass.
SELECT seq, message_id, at, kind, data FROM event INDEXED BY event_received
WHERE kind = 'received' AND at >= :since AND (at, seq) < (:before, :before_seq)
  AND (:sender = '' OR data LIKE '%"sender":"' || :sender OR data LIKE '%"sender":"\"%')
  AND (:recipient = '' OR data LIKE '%"recipients":[' || :recipient
       OR data LIKE '%"recipients":[%\"%')
ORDER BY at DESC, seq DESC LIMIT :limit

-- :name backlogs
-- The + keeps it to the table, which is narrow: by an index it would look up each row.
SELECT hop, state, count(*), min(received) FROM message
WHERE +state IN ('queued', 'held') GROUP BY hop, +state

-- :name usual_reply
SELECT last_reply FROM recipient
WHERE message_id IN (
    SELECT id FROM message INDEXED BY message_by_wake
    WHERE state = 'queued' AND hop = :hop ORDER BY wake LIMIT :sample)
  AND state = 'queued' AND last_reply <> ''
GROUP BY last_reply ORDER BY count(*) DESC LIMIT 1

-- :name usual_reasons
-- Of each hop with held mail; max() has the row be the one that has it.
SELECT hop, reason, max(messages)
FROM (SELECT hop, reason, count(*) AS messages FROM message
      WHERE state = 'held' AND reason <> '' GROUP BY hop, reason)
GROUP BY hop

-- :name depth
-- Counting a whole table is many times as fast as counting by group; most mail is queued.
WITH total(messages) AS (SELECT count(*) FROM message),
     held(messages) AS (SELECT count(*) FROM message WHERE state = 'held'),
     quarantined(messages) AS (SELECT count(*) FROM message WHERE state = 'quarantined')
SELECT 'queued', total.messages - held.messages - quarantined.messages,
       (SELECT min(received) FROM message WHERE state = 'queued')
FROM total, held, quarantined
UNION ALL
SELECT 'held', messages, (SELECT min(received) FROM message WHERE state = 'held') FROM held
UNION ALL
SELECT 'quarantined', messages,
       (SELECT min(received) FROM message WHERE state = 'quarantined') FROM quarantined

-- The SQLite ledger: its tables, and every statement by name (run_folder.py reads them).
--
-- A plain success has no row of its own: it is a position covered by a settled batch and absent from
-- `row`. A position in `row` is what `row` says of it.

-- name: schema
CREATE TABLE run (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    run_id TEXT NOT NULL, state TEXT NOT NULL, target TEXT NOT NULL,
    inventory TEXT NOT NULL,        -- JSON
    fingerprint TEXT NOT NULL,
    header TEXT NOT NULL,           -- JSON
    job TEXT NOT NULL,              -- JSON, secrets by reference
    started_at REAL NOT NULL, finished_at REAL, rows_read INTEGER, requests INTEGER NOT NULL,
    duration_s REAL NOT NULL, exit_code INTEGER, stop_reason TEXT NOT NULL,
    formats TEXT NOT NULL DEFAULT '[]',     -- JSON
    corrects TEXT NOT NULL DEFAULT '',
    starts TEXT NOT NULL DEFAULT '[]'       -- JSON
);
CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    -- 0 claimed, 1 settled, 2 void, 3 given over to rows. A claim with a settled_at is one whose answer was
    -- lost: a position it covers that is absent from `row` is open and in doubt. It has no gaps.
    state INTEGER NOT NULL,
    items INTEGER NOT NULL,
    plain INTEGER NOT NULL,         -- how many of them are plain successes
    sends INTEGER NOT NULL,         -- how often its items were sent before
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    low TEXT NOT NULL, high TEXT NOT NULL,  -- least and greatest key, so that a search can skip the batch
    claimed_at REAL NOT NULL, settled_at REAL,
    positions BLOB,                 -- packed; NULL: first to last without a gap
    keys BLOB NOT NULL,             -- packed
    fault TEXT NOT NULL DEFAULT '',         -- its kind, where there was no answer for the items; and why
    code TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
    request_id TEXT NOT NULL DEFAULT '',    -- the vendor's name for the call, or ours
    completed_at REAL               -- when the vendor's word on promised items of it last came
);
CREATE INDEX batch_span ON batch (first, last);
CREATE INDEX batch_keys ON batch (low, high);
CREATE INDEX batch_lost ON batch (id) WHERE state = 3 OR fault = 'lost';
CREATE TABLE row (
    position INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    status TEXT,                    -- NULL: open, to be sent again or, with a ticket, to be asked after
    code TEXT NOT NULL, reason TEXT NOT NULL,
    sends INTEGER NOT NULL, batch INTEGER NOT NULL, in_doubt INTEGER NOT NULL,
    cells TEXT, raw TEXT,           -- JSON; NULL: none given
    ticket TEXT, call TEXT          -- what the vendor promised, and in which call; NULL: no promise
);
CREATE INDEX row_ticket ON row (status) WHERE ticket IS NOT NULL;

-- name: tables of schema 4
-- For a new ledger, and for an older one that is upgraded.
CREATE TABLE setback (              -- what was said of items that were then sent again
    batch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    items INTEGER NOT NULL,
    positions BLOB,                 -- packed; NULL: first to last without a gap
    ruling TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (batch, first)
) WITHOUT ROWID;
CREATE TABLE key_filter (           -- of batches whose keys lie far apart
    batch INTEGER PRIMARY KEY,
    bits BLOB NOT NULL              -- says of most keys that they are not in the batch
);
CREATE TABLE row_filter (           -- of stretches of rows that were never sent
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    bits BLOB                       -- NULL: every row is to be looked at
);
CREATE TABLE event (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, words TEXT NOT NULL, by TEXT NOT NULL,
    data TEXT NOT NULL,             -- JSON
    taken_at REAL                   -- NULL: a wish that nobody has acted on
);
CREATE INDEX event_wish ON event (id) WHERE taken_at IS NULL;
CREATE TABLE finding (code TEXT PRIMARY KEY, rows INTEGER NOT NULL, words TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE standing (one INTEGER PRIMARY KEY CHECK (one = 1), data TEXT NOT NULL);    -- JSON
CREATE TABLE sample (
    at REAL PRIMARY KEY, rows INTEGER NOT NULL, requests INTEGER NOT NULL, in_flight INTEGER NOT NULL,
    concurrency INTEGER NOT NULL, rate_per_s REAL NOT NULL, round_trip_s REAL NOT NULL,
    pushed_back INTEGER NOT NULL, open_tickets INTEGER NOT NULL, holding TEXT NOT NULL
) WITHOUT ROWID;

-- name: schema 2 from 1
ALTER TABLE row ADD COLUMN ticket TEXT;
ALTER TABLE row ADD COLUMN call TEXT;
CREATE INDEX row_ticket ON row (status) WHERE ticket IS NOT NULL;

-- name: schema 1 as 2
-- For a reader, which may not change the file: a temporary view goes before the table of its name.
CREATE TEMP VIEW row AS SELECT *, NULL AS ticket, NULL AS call FROM main.row;

-- name: schema 3 from 2
ALTER TABLE run ADD COLUMN formats TEXT NOT NULL DEFAULT '[]';
ALTER TABLE run ADD COLUMN corrects TEXT NOT NULL DEFAULT '';

-- name: schema 2 as 3
CREATE TEMP VIEW run AS SELECT *, '[]' AS formats, '' AS corrects, '[]' AS starts FROM main.run;

-- name: schema 4 from 3
ALTER TABLE batch ADD COLUMN fault TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN code TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN completed_at REAL;
DROP INDEX batch_first;
CREATE INDEX batch_span ON batch (first, last);
CREATE INDEX batch_keys ON batch (low, high);
CREATE INDEX batch_lost ON batch (id) WHERE state = 3 OR fault = 'lost';
INSERT INTO row_filter SELECT min(position), max(position), NULL FROM row HAVING count(*) > 0;
ALTER TABLE run ADD COLUMN starts TEXT NOT NULL DEFAULT '[]';

-- name: schema 3 as 4
CREATE TEMP VIEW batch AS
    SELECT *, '' AS fault, '' AS code, '' AS reason, '' AS request_id, NULL AS completed_at FROM main.batch;
CREATE TEMP TABLE setback (
    batch INTEGER, first INTEGER, last INTEGER, items INTEGER, positions BLOB, ruling TEXT, code TEXT,
    reason TEXT);
CREATE TEMP TABLE key_filter (batch INTEGER PRIMARY KEY, bits BLOB);
CREATE TEMP VIEW row_filter AS SELECT min(position) AS first, max(position) AS last, NULL AS bits FROM row;
CREATE TEMP VIEW IF NOT EXISTS run AS SELECT *, '[]' AS starts FROM main.run;    -- that of 2 has them
CREATE TEMP TABLE event (id INTEGER, at REAL, kind TEXT, words TEXT, by TEXT, data TEXT, taken_at REAL);
CREATE TEMP TABLE finding (code TEXT, rows INTEGER, words TEXT);
CREATE TEMP TABLE standing (one INTEGER, data TEXT);
CREATE TEMP TABLE sample (
    at REAL, rows INTEGER, requests INTEGER, in_flight INTEGER, concurrency INTEGER, rate_per_s REAL,
    round_trip_s REAL, pushed_back INTEGER, open_tickets INTEGER, holding TEXT);

-- name: write run
REPLACE INTO run VALUES (
    1, :run_id, :state, :target, :inventory, :fingerprint, :header, :job, :started_at, :finished_at,
    :rows_read, :requests, :duration_s, :exit_code, :stop_reason, :formats, :corrects,
    :starts);

-- name: read run
SELECT run_id, state, target, inventory, fingerprint, header, job, started_at, finished_at, rows_read,
       requests, duration_s, exit_code, stop_reason, formats, corrects, starts
FROM run;

-- name: claim
INSERT INTO batch (state, items, plain, sends, first, last, low, high, claimed_at, positions, keys)
VALUES (0, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: settle
UPDATE batch SET state = ?1, plain = CASE ?1 WHEN 1 THEN items - ?2 ELSE 0 END, settled_at = ?3,
    request_id = ?5, fault = ?6, code = ?7, reason = ?8
WHERE id = ?4 AND state = 0 AND settled_at IS NULL AND (?1 <> 0 OR positions IS NULL);

-- name: complete
-- Of :positions, which all must hold an open ticket of the batch, the first :plain are plain successes.
UPDATE batch SET plain = plain + :plain, completed_at = :at
WHERE id = :batch AND state = 1 AND :items = (
    SELECT count(DISTINCT position)
    FROM json_each(:positions) AS asked CROSS JOIN row ON position = asked.value
    WHERE batch = :batch AND status IS NULL AND ticket IS NOT NULL AND (sends = 1 OR asked.key >= :plain));

-- name: drop plain rows
DELETE FROM row WHERE position IN (SELECT value FROM json_each(:positions) WHERE key < :plain);

-- name: record rows
INSERT OR IGNORE INTO row
    (position, key, status, code, reason, sends, batch, in_doubt, cells, raw, ticket, call)
VALUES {rows};

-- name: settle rows
INSERT INTO row (position, key, status, code, reason, sends, batch, in_doubt, cells, raw, ticket, call)
VALUES {rows}
ON CONFLICT (position) DO UPDATE SET
    key = excluded.key, status = excluded.status, code = excluded.code, reason = excluded.reason,
    sends = excluded.sends, batch = excluded.batch, in_doubt = excluded.in_doubt,
    cells = coalesce(excluded.cells, cells), raw = coalesce(excluded.raw, raw),
    ticket = excluded.ticket, call = excluded.call;

-- name: setbacks of reopened rows
-- What was said of them would otherwise be lost with their end.
INSERT OR REPLACE INTO setback (batch, first, last, items, positions, ruling, code, reason)
SELECT batch, position, position, 1, NULL, status, code, reason FROM row
WHERE batch > 0 AND (status IN ('gave_up', 'in_doubt')
   OR status = 'refused' AND code IN (SELECT value FROM json_each(?)));

-- name: lost rows
INSERT INTO row (position, key, status, code, reason, sends, batch, in_doubt, cells, raw, ticket, call)
VALUES {rows}
ON CONFLICT (position) DO UPDATE SET
    sends = excluded.sends, batch = excluded.batch, in_doubt = excluded.in_doubt,
    ticket = NULL, call = NULL
WHERE status IS NULL;

-- name: reopen rows
UPDATE row SET status = NULL, in_doubt = in_doubt OR status = 'in_doubt', ticket = NULL, call = NULL
WHERE status IN ('gave_up', 'in_doubt')
   OR status = 'refused' AND code IN (SELECT value FROM json_each(?));

-- name: ask again
UPDATE row SET status = NULL WHERE status = 'in_doubt' AND ticket IS NOT NULL;

-- name: reopen run
UPDATE run SET state = 'stopped', exit_code = NULL, stop_reason = ?;

-- name: claimed batches
SELECT id, sends, items, first, last, positions, keys, settled_at IS NOT NULL AS lost
FROM batch WHERE state = 0 ORDER BY id;

-- name: lose claims
UPDATE batch SET state = 3 WHERE state = 0;

-- name: plain positions
SELECT first, last, positions FROM batch WHERE state = 1 AND plain > 0;

-- name: final positions
SELECT position FROM row WHERE status IS NOT NULL;

-- name: open rows
-- The batch is told of tickets only: rows without one are grouped by what they went through.
SELECT position, sends, in_doubt, coalesce(ticket, ''), coalesce(call, ''), iif(ticket IS NULL, 0, batch)
FROM row WHERE status IS NULL;

-- name: count plain
SELECT coalesce(sum(plain), 0) FROM batch;

-- name: count rows
SELECT status, count(*) FROM row WHERE status IS NOT NULL GROUP BY status;

-- name: count open
SELECT (SELECT count(*) FROM row WHERE status IS NULL)
     + (SELECT coalesce(sum(items), 0) FROM batch WHERE state = 0)
     - (SELECT count(*) FROM batch CROSS JOIN row ON position BETWEEN first AND last
        WHERE state = 0 AND settled_at IS NOT NULL);

-- name: count open tickets
SELECT count(*) FROM row WHERE status IS NULL AND ticket IS NOT NULL;

-- name: count batches
SELECT coalesce(max(id), 0) FROM batch;

-- name: tally
-- The reason is that of the first row, looked up: all of them would be sorted along otherwise.
SELECT status, code, rows, first, (SELECT reason FROM row WHERE position = first)
FROM (SELECT status, code, count(*) AS rows, min(position) AS first FROM row
      WHERE status IS NOT NULL GROUP BY status, code)
ORDER BY 3 DESC, status, code;

-- name: rows of statuses
SELECT position, key, status, code, reason, sends, batch, in_doubt, cells, raw, ticket, call FROM row
WHERE status IN (SELECT value FROM json_each(?)) ORDER BY position;

-- name: filter batch
INSERT INTO key_filter (batch, bits) VALUES (?, ?);

-- name: filter rows
INSERT INTO row_filter (first, last, bits) VALUES (?, ?, ?);

-- name: stretches of keys
SELECT DISTINCT first, last FROM row_filter, json_each(?)
WHERE first IS NOT NULL AND (bits IS NULL OR may_hold(bits, key));

-- name: rows of keys
SELECT position, key, status, code, reason, sends, batch, in_doubt, cells, raw, ticket, call FROM row
WHERE position BETWEEN ? AND ? AND key IN (SELECT value FROM json_each(?));

-- name: batches of keys
SELECT wanted.value, batch.id, state, sends, items, first, last, positions, keys, code, reason
FROM json_each(?) AS wanted
CROSS JOIN batch ON wanted.value BETWEEN low AND high
LEFT JOIN key_filter ON key_filter.batch = batch.id
WHERE bits IS NULL OR may_hold(bits, wanted.key)
ORDER BY batch.id;

-- name: attempts
SELECT first, last, positions, state, id, claimed_at, items, request_id, settled_at, completed_at, fault, code,
       reason
FROM batch WHERE first <= ? AND last >= ? ORDER BY +id;  -- by the index, not in the order of the table

-- name: write setbacks
INSERT OR REPLACE INTO setback (batch, first, last, items, positions, ruling, code, reason) VALUES {rows};

-- name: setbacks
SELECT first, last, positions, ruling, code, reason FROM setback
WHERE batch = ? AND first <= ? AND last >= ?;

-- name: lost batches
SELECT id, claimed_at, items, state, code, reason, first, last, positions FROM batch
WHERE state = 3 OR fault = 'lost' ORDER BY id LIMIT ?;

-- name: batches with open items
SELECT batch, claimed_at, setback.items, setback.code, setback.reason, setback.first, setback.last,
       setback.positions
FROM setback CROSS JOIN batch ON batch.id = batch
WHERE ruling IN ('open', 'unknown', 'promised') ORDER BY batch;

-- name: count lost
SELECT count(*), coalesce(sum(items), 0) FROM batch WHERE state = 3 OR fault = 'lost';

-- name: count with open items
SELECT count(DISTINCT batch), coalesce(sum(items), 0) FROM setback
WHERE ruling IN ('open', 'unknown', 'promised');

-- name: ends of positions
-- A row that was lost and has no record is a plain success of another batch.
SELECT iif(position IS NULL, 'succeeded', status), count(*)
FROM json_each(?) LEFT JOIN row ON position = value GROUP BY 1;

-- name: ends of doubts
SELECT status, count(*) FROM row WHERE in_doubt OR status = 'in_doubt' GROUP BY status;

-- name: count lost without rows
SELECT (SELECT coalesce(sum(items), 0) FROM batch WHERE state = 0 AND settled_at IS NOT NULL)
     - (SELECT count(*) FROM batch CROSS JOIN row ON position BETWEEN first AND last
        WHERE state = 0 AND settled_at IS NOT NULL);

-- name: plain batches
SELECT id, items, first, last, positions, keys FROM batch WHERE plain > 0 ORDER BY first;

-- name: next row
SELECT min(position) FROM row WHERE position >= ?;

-- name: rows between
-- One row of JSON arrays, which agree in their order; with the cells of rows of some statuses.
SELECT json_group_array(position), json_group_array(key), json_group_array(status), json_group_array(code),
       json_group_array(reason), json_group_array(sends), json_group_array(batch),
       '[' || coalesce(group_concat(iif(cells IS NULL OR status NOT IN ({statuses}), '[]', cells)), '') || ']',
       json_group_array(coalesce(raw, ''))
FROM row WHERE position >= ? AND position < ?;

-- name: row after
SELECT position FROM row WHERE position >= ? AND position < ? ORDER BY position LIMIT 1 OFFSET ?;

-- name: note
INSERT INTO event (at, kind, words, by, data, taken_at) VALUES (?, ?, ?, ?, ?, ?);

-- name: take wish
UPDATE event SET taken_at = ? WHERE id = ? AND taken_at IS NULL;

-- name: lapse
UPDATE event SET taken_at = ? WHERE taken_at IS NULL AND kind = 'stop';

-- name: wishes
SELECT id, at, kind, words, by, data, taken_at FROM event WHERE taken_at IS NULL ORDER BY id;

-- name: events
SELECT id, at, kind, words, by, data, taken_at FROM event ORDER BY id;

-- name: write sample
REPLACE INTO sample
    (at, rows, requests, in_flight, concurrency, rate_per_s, round_trip_s, pushed_back, open_tickets, holding)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: samples
SELECT at, rows, requests, in_flight, concurrency, rate_per_s, round_trip_s, pushed_back, open_tickets,
       holding
FROM sample ORDER BY at;

-- name: drop findings
DELETE FROM finding;

-- name: write finding
INSERT INTO finding (code, rows, words) VALUES (?, ?, ?);

-- name: findings
SELECT code, rows, words FROM finding ORDER BY rows DESC, code;

-- name: write standing
REPLACE INTO standing (one, data) VALUES (1, ?);

-- name: standing
SELECT data FROM standing;

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
    corrects TEXT NOT NULL DEFAULT ''
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
    keys BLOB NOT NULL              -- packed
);
CREATE INDEX batch_first ON batch (first);
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
CREATE TEMP VIEW run AS SELECT *, '[]' AS formats, '' AS corrects FROM main.run;

-- name: write run
REPLACE INTO run VALUES (
    1, :run_id, :state, :target, :inventory, :fingerprint, :header, :job, :started_at, :finished_at,
    :rows_read, :requests, :duration_s, :exit_code, :stop_reason, :formats, :corrects);

-- name: read run
SELECT run_id, state, target, inventory, fingerprint, header, job, started_at, finished_at, rows_read,
       requests, duration_s, exit_code, stop_reason, formats, corrects
FROM run;

-- name: claim
INSERT INTO batch (state, items, plain, sends, first, last, low, high, claimed_at, positions, keys)
VALUES (0, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: settle
UPDATE batch SET state = ?1, plain = CASE ?1 WHEN 1 THEN items - ?2 ELSE 0 END, settled_at = ?3
WHERE id = ?4 AND state = 0 AND settled_at IS NULL AND (?1 <> 0 OR positions IS NULL);

-- name: complete
-- Of :positions, which all must hold an open ticket of the batch, the first :plain are plain successes.
UPDATE batch SET plain = plain + :plain
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

-- name: rows of key
SELECT position, key, status, code, reason, sends, batch, in_doubt, cells, raw, ticket, call FROM row
WHERE key = ?;

-- name: batches of key
SELECT id, state, sends, items, first, last, positions, keys FROM batch
WHERE (state = 0 OR plain > 0) AND ? BETWEEN low AND high ORDER BY id;

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

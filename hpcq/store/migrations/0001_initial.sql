-- The store of hpcq. Times are seconds since the epoch, JSON is in BLOBs, booleans are 0 and 1.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- The last job number of each org. (The last job and the last seq are read from their tables: their newest row stays.)
CREATE TABLE counters (org_id TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Where jobs go: few, never deleted, so that a job and its index entry carry one small integer.
CREATE TABLE lanes (
    lane INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL,
    queue TEXT NOT NULL,
    runner TEXT NOT NULL,
    UNIQUE (org_id, queue, runner)
) STRICT;

-- How jobs are treated (JSON); equal ones share a row.
CREATE TABLE treatments (treatment INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE) STRICT;

-- What changes while a job lives. Narrow: a commit writes whole pages, so the fewer of them the better. What the start
-- asks of every job stands first: SQLite reads a row from the left.
CREATE TABLE jobs (
    job INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    treatment INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    reopened INTEGER NOT NULL DEFAULT 0,
    run_at REAL,
    expires_at REAL,
    lane INTEGER NOT NULL,
    number INTEGER NOT NULL,
    id TEXT NOT NULL,
    retries_used INTEGER NOT NULL DEFAULT 0,
    infra_used INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    submitted_seq INTEGER NOT NULL,
    name TEXT,
    batch_key TEXT,
    slot TEXT,
    stop TEXT,
    error_type TEXT
) STRICT;

CREATE UNIQUE INDEX jobs_by_id ON jobs (id);
CREATE INDEX jobs_by_lane ON jobs (lane, state);  -- and job, which ends every entry: newest first without sorting
CREATE INDEX jobs_by_number ON jobs (number);
CREATE INDEX jobs_by_batch_key ON jobs (batch_key) WHERE batch_key IS NOT NULL;

CREATE TRIGGER jobs_final BEFORE UPDATE OF state ON jobs
WHEN OLD.state IN ('succeeded', 'failed', 'cancelled') AND NEW.reopened <= OLD.reopened AND NEW.state <> OLD.state
BEGIN
    SELECT RAISE(ABORT, 'a final state changes only by reopening');
END;

-- What does not change but by an edit; `tags` repeats the spec's, so that they can be found for deletion.
CREATE TABLE specs (job INTEGER PRIMARY KEY, spec BLOB NOT NULL, tags BLOB) STRICT;

-- What a job came to.
CREATE TABLE outcomes (
    job INTEGER PRIMARY KEY,
    result BLOB,
    error BLOB,
    usage BLOB,
    progress BLOB,
    artifacts BLOB
) STRICT;

CREATE TABLE handles (job INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, handle BLOB NOT NULL) STRICT;

CREATE TABLE attempts (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    slot TEXT,
    started_at REAL,
    finished_at REAL NOT NULL,
    result BLOB,
    error BLOB,
    usage BLOB,
    output_bytes INTEGER NOT NULL DEFAULT 0,
    truncated INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE dependencies (
    job INTEGER NOT NULL,
    needs INTEGER NOT NULL,
    ends TEXT NOT NULL,
    PRIMARY KEY (job, needs, ends)
) STRICT, WITHOUT ROWID;

CREATE INDEX dependencies_by_needs ON dependencies (needs);

CREATE TABLE job_tags (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    job INTEGER NOT NULL,
    PRIMARY KEY (key, value, job)
) STRICT, WITHOUT ROWID;

-- Stands by itself: events outlive their jobs.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    job_id TEXT,
    number INTEGER,
    state TEXT,
    queue TEXT,
    org_id TEXT,
    attempt INTEGER,
    detail BLOB
) STRICT;

-- A bulk of new jobs pays nothing for this index: their first events are found by jobs.submitted_seq.
CREATE INDEX events_by_job ON events (job_id) WHERE type <> 'job.submitted' AND job_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    org_id TEXT NOT NULL,
    key TEXT NOT NULL,
    body_sha BLOB NOT NULL,
    ids BLOB NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (org_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (at);

-- Changes made to a live queue, kept over restarts. NULL: as the config says.
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    paused INTEGER,
    paused_reason TEXT NOT NULL,
    slots INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    jobs BLOB NOT NULL,
    overlap TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    paused INTEGER NOT NULL,
    next_run_at REAL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) STRICT;

CREATE TABLE schedule_runs (
    run INTEGER PRIMARY KEY,
    schedule_id TEXT NOT NULL,
    due_at REAL NOT NULL,
    at REAL NOT NULL,
    outcome TEXT NOT NULL,
    ids BLOB NOT NULL,
    detail TEXT
) STRICT;

CREATE INDEX schedule_runs_by_schedule ON schedule_runs (schedule_id);

CREATE TABLE runner_state (
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;

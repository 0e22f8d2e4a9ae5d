-- What test jobs report: each attempt's own tests, and the history of every test.

-- The tests of one attempt as a JSON list, as its runner reported them; they go with their job.
CREATE TABLE attempt_tests (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    commit_sha TEXT,
    tests BLOB NOT NULL,
    PRIMARY KEY (job, attempt)
) STRICT, WITHOUT ROWID;

-- A test, known by its id within its org. It outlives the jobs that ran it.
CREATE TABLE tests (
    test INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL,
    id TEXT NOT NULL,
    file TEXT NOT NULL,
    title TEXT NOT NULL,
    line INTEGER NOT NULL,
    -- of the runs that are kept: it failed and passed on one commit
    flaky INTEGER NOT NULL DEFAULT 0,
    UNIQUE (org_id, id)
) STRICT;

CREATE INDEX tests_by_file ON tests (file, title);

-- One run: what a job found of a test on one commit, over all of its attempts. commit_sha '': not known.
CREATE TABLE test_runs (
    test INTEGER NOT NULL,
    job INTEGER NOT NULL,
    commit_sha TEXT NOT NULL,
    at REAL NOT NULL,
    status TEXT NOT NULL,
    passes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    duration_s REAL NOT NULL,
    PRIMARY KEY (test, job, commit_sha)
) STRICT, WITHOUT ROWID;

-- Few: they make it cheap to ask, of each run that is written, whether its commit has failed before.
CREATE INDEX test_failures ON test_runs (test, commit_sha) WHERE failures > 0;

-- A test is known by its id within its suite: two projects may have a test of the same id. '': of none, or of none that
-- is known, as all that were reported before.
CREATE TABLE tests_of_suites (
    test INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL,
    suite TEXT NOT NULL,
    id TEXT NOT NULL,
    file TEXT NOT NULL,
    title TEXT NOT NULL,
    line INTEGER NOT NULL,
    -- of the runs that are kept: it failed and passed on one commit
    flaky INTEGER NOT NULL DEFAULT 0,
    UNIQUE (org_id, suite, id)
) STRICT;

INSERT INTO tests_of_suites (test, org_id, suite, id, file, title, line, flaky)
SELECT test, org_id, '', id, file, title, line, flaky FROM tests;

DROP TABLE tests;

ALTER TABLE tests_of_suites RENAME TO tests;

CREATE INDEX tests_by_file ON tests (org_id, suite, file, title);

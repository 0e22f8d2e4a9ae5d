-- Files that clients upload: builds, projects, matrices. The bytes lie beside the store, under their SHA-256 (hex, lower
-- case); a row here says that they are whole and on disk.
CREATE TABLE blobs (
    sha256 TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    created_at REAL NOT NULL,
    used_at REAL NOT NULL  -- when somebody last asked for it, to within half an hour
) STRICT, WITHOUT ROWID;

CREATE INDEX blobs_by_use ON blobs (used_at);

-- Who has uploaded it, and so may name it. '*': somebody of all orgs, and so everybody.
CREATE TABLE blob_orgs (
    sha256 TEXT NOT NULL,
    org_id TEXT NOT NULL,
    PRIMARY KEY (sha256, org_id)
) STRICT, WITHOUT ROWID;

-- Names of builds. A name that is given again is a new row, so that the list is in order of time.
CREATE TABLE apps (
    app INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    at REAL NOT NULL,
    UNIQUE (org_id, name)
) STRICT;

-- What a job's params name, as it was when the job was submitted.
CREATE TABLE job_blobs (
    job INTEGER NOT NULL,
    name TEXT NOT NULL,  -- the SHA-256, or the app_version_id
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_blobs_by_sha256 ON job_blobs (sha256);

-- archive.db, format 2: what it has beyond format 1. Never edited: a change is a new format beside it.

-- Snapshots that stay whatever is retained, and why. A row goes with its snapshot, but not when the
-- snapshot is replaced by one of the same sequence.
CREATE TABLE pinned_snapshots (
    community INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (community, sequence)
) STRICT, WITHOUT ROWID;

-- Chunks whose bodies were found not to be what their hashes say: they count as missing, for
-- everybody, until they are stored again.
CREATE TABLE condemned_chunks (
    hash BLOB PRIMARY KEY NOT NULL REFERENCES chunks (hash) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

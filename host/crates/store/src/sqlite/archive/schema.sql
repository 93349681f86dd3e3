-- archive.db, format 1. Never edited: a change is a new format beside it.

CREATE TABLE snapshots (
    community INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    manifest BLOB NOT NULL,
    PRIMARY KEY (community, sequence)
) STRICT;

-- Which chunks a snapshot names: what keeps them.
CREATE TABLE snapshot_chunks (
    community INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL REFERENCES chunks (hash),
    PRIMARY KEY (community, sequence, hash),
    FOREIGN KEY (community, sequence) REFERENCES snapshots (community, sequence) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_chunks_by_hash ON snapshot_chunks (hash);

CREATE TABLE chunks (
    hash BLOB PRIMARY KEY NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE components (
    hash BLOB PRIMARY KEY NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Transitions first..=last of a community. Records never overlap; `gap` marks those that do not
-- follow another one directly. `hash` is BLAKE3, derived in the context `althing 2026 store
-- history 1`, of community, first and last (8 bytes each, little-endian) and the body.
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    community INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    gap INTEGER NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL,
    CHECK (first <= last)
) STRICT;

CREATE UNIQUE INDEX history_by_last ON history (community, last, first);
CREATE INDEX history_gaps ON history (community, first) WHERE gap = 1;

-- What the node itself knows: identity, address book.
CREATE TABLE facts (
    name TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

-- wal.db, format 1. Never edited once released: a change is a new format beside it.

-- What a group has apart from entries. `hash` is BLAKE3, derived in the context `althing 2026 store
-- group 1`, of the others (see `records.rs`).
CREATE TABLE groups (
    community INTEGER PRIMARY KEY,
    vote BLOB,
    committed BLOB,
    purged INTEGER,
    purged_record BLOB,
    hash BLOB NOT NULL
) STRICT;

-- Entries first..=last of one group, as one drain of the writer found them. Segments of a group
-- follow each other without gaps and never overlap. Entries up to `purged` may still be in the
-- first one; they count as gone. `number` is the change's that wrote it (see `mark.rs`).
CREATE TABLE segments (
    number INTEGER PRIMARY KEY,
    community INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    body BLOB NOT NULL,
    CHECK (first <= last)
) STRICT;

CREATE UNIQUE INDEX segments_by_last ON segments (community, last, first);

-- The last change that is not, or not only, a segment.
CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

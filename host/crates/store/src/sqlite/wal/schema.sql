-- wal.db, format 1. Never edited: a change is a new format beside it.

-- What a group has apart from entries.
CREATE TABLE groups (
    community INTEGER PRIMARY KEY,
    vote BLOB,
    committed BLOB,
    purged INTEGER,
    purged_record BLOB
) STRICT;

-- Entries first..=last of one group, as one drain of the writer found them. Segments of a group
-- follow each other without gaps and never overlap. Entries up to `purged` may still be in the
-- first one; they count as gone.
CREATE TABLE segments (
    id INTEGER PRIMARY KEY,
    community INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    body BLOB NOT NULL,
    CHECK (first <= last)
) STRICT;

CREATE UNIQUE INDEX segments_by_last ON segments (community, last, first);

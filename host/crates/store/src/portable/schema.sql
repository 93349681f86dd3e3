-- A portable export, format 1. Never edited: a change is a new format beside it.

-- In order, without gaps, from 1. `chain` is BLAKE3, derived in the context `althing 2026 portable
-- part v1`, of the chain of the part before (32 zero bytes before the first), the lengths of kind
-- and name (8 bytes each, little-endian), kind, name and body.
CREATE TABLE parts (
    place INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    chain BLOB NOT NULL
) STRICT;

CREATE INDEX parts_by_kind ON parts (kind, place);

-- One row, written last: how many parts there are, and the last one's chain.
CREATE TABLE seal (
    parts INTEGER NOT NULL,
    chain BLOB NOT NULL
) STRICT;

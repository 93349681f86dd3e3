-- archive.db, format 3: what it has beyond format 2. Never edited: a change is a new format beside it.

-- Facts and pins are in files of their own. What an earlier format has of them goes there when the file is
-- opened, and these tables then go.
ALTER TABLE facts RENAME TO inherited_facts;
ALTER TABLE pinned_snapshots RENAME TO inherited_pins;

-- How many changes there were that somebody was told of: what `archive.mark` is compared with.
CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO progress VALUES (1, 0);

-- Up to where what was processed is published. What was processed before there was anybody to publish to is left as it is.
ALTER TABLE partitions ADD COLUMN published_offset INTEGER NOT NULL DEFAULT 0;

UPDATE partitions SET published_offset = next_offset;

-- Entries of the journal that can never be processed; the journal keeps them.
CREATE TABLE refused (
    id          INTEGER PRIMARY KEY,
    partition   INTEGER NOT NULL,
    offset      INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    key         TEXT    NOT NULL, -- fleet/vehicle, or what stands in its place
    received_at INTEGER,
    bytes       INTEGER NOT NULL,
    UNIQUE (partition, offset)
) STRICT;

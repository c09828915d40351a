-- How far each partition of the journal is processed, and who may go on. The embedded journal has partition 0 only.
CREATE TABLE partitions (
    partition   INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL, -- of the next journal entry to process
    generation  INTEGER NOT NULL, -- counts the claims: a commit of an earlier one is refused
    owner       TEXT    NOT NULL  -- for operators
) STRICT;

INSERT INTO partitions (partition, next_offset, generation, owner) SELECT 0, next_offset, 0, '' FROM progress;

DROP TABLE progress;

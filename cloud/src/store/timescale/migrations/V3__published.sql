-- Up to where what was processed is published. What was processed before there was anybody to publish to is left as it is.
ALTER TABLE partitions ADD COLUMN published_offset bigint NOT NULL DEFAULT 0;

UPDATE partitions SET published_offset = next_offset;

-- Entries of the journal that can never be processed; the journal keeps them.
CREATE TABLE refused (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   bigint NOT NULL,
    "offset"    bigint NOT NULL,
    reason      text   NOT NULL,
    key         text   NOT NULL, -- fleet/vehicle, or what stands in its place
    received_at bigint,
    bytes       bigint NOT NULL,
    UNIQUE (partition, "offset")
);

-- What happened to vehicles. `place` is the order in which a partition's events were committed: those behind
-- `partitions.published_event` are still to be published.
CREATE TABLE events (
    place     INTEGER PRIMARY KEY AUTOINCREMENT,
    partition INTEGER NOT NULL,
    id        TEXT    NOT NULL UNIQUE,
    vehicle   TEXT    NOT NULL, -- fleet/vehicle
    kind      TEXT    NOT NULL,
    time      INTEGER NOT NULL,
    message   BLOB    NOT NULL  -- avl.v1.Event
) STRICT;

CREATE INDEX events_by_partition ON events (partition, place);
CREATE INDEX events_by_vehicle ON events (vehicle, time);

ALTER TABLE partitions ADD COLUMN published_event INTEGER NOT NULL DEFAULT 0;

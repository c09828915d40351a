-- What happened to vehicles. `place` is the order in which a partition's events were committed: those behind
-- `partitions.published_event` are still to be published.
CREATE TABLE events (
    place     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition bigint NOT NULL,
    id        uuid   NOT NULL UNIQUE,
    vehicle   text COLLATE "C" NOT NULL, -- fleet/vehicle
    kind      text   NOT NULL,
    time      bigint NOT NULL,
    message   bytea  NOT NULL -- avl.v1.Event
);

CREATE INDEX events_by_partition ON events (partition, place);
CREATE INDEX events_by_vehicle ON events (vehicle, time);

ALTER TABLE partitions ADD COLUMN published_event bigint NOT NULL DEFAULT 0;

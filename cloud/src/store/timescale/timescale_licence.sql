-- What only the Timescale licence has; applied again at each migration, so every statement finds what is there already.

SELECT set_integer_now_func('positions', 'now_ms', replace_if_exists => true);

-- A vehicle's rows lie together and in order: that is how they are read, and where they resemble each other.
ALTER TABLE positions SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'vehicle_id',
    timescaledb.compress_orderby = 'time, epoch, sequence'
);

-- Anew, since a policy keeps the age that it was made with.
SELECT remove_compression_policy('positions', if_exists => true);
SELECT add_compression_policy('positions', compress_after => (SELECT compress_after FROM upkeep));

SELECT remove_retention_policy('positions', if_exists => true);
SELECT add_retention_policy('positions', drop_after => retention) FROM upkeep WHERE retention IS NOT NULL;

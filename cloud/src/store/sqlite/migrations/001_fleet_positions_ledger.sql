-- Times are milliseconds since 1970-01-01 UTC.

CREATE TABLE vehicles (
    id      INTEGER PRIMARY KEY,
    fleet   TEXT    NOT NULL,
    vehicle TEXT    NOT NULL,
    fixes   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (fleet, vehicle)
) STRICT;

-- Clustered by time, because a track is what is read most. A number is `value / 10^scale`: `scales` holds the
-- decimals of latitude, longitude, altitude, speed, course and hdop, four bits each, latitude lowest.
-- `time` is GNSS time, or the time of receipt for a fix that has none (`gnss_time` = 0).
CREATE TABLE positions (
    vehicle_id  INTEGER NOT NULL REFERENCES vehicles (id),
    time        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    gnss_time   INTEGER NOT NULL,
    scales      INTEGER NOT NULL,
    latitude    INTEGER, -- arc-minutes, north positive
    longitude   INTEGER, -- arc-minutes, east positive
    altitude    INTEGER, -- metres above mean sea level
    speed       INTEGER, -- knots
    course      INTEGER, -- degrees from true north
    hdop        INTEGER,
    satellites  INTEGER,
    quality     INTEGER NOT NULL,
    verdict     INTEGER NOT NULL, -- bits: reasons for doubt
    inputs      INTEGER,
    uptime      INTEGER,
    PRIMARY KEY (vehicle_id, time, epoch, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX positions_by_sequence ON positions (vehicle_id, epoch, sequence);

-- The ledger. `id` keeps the order in which the epochs of a vehicle were first seen.
CREATE TABLE epochs (
    id            INTEGER PRIMARY KEY,
    vehicle_id    INTEGER NOT NULL REFERENCES vehicles (id),
    epoch         INTEGER NOT NULL,
    next_sequence INTEGER NOT NULL, -- every number below it was given to a fix
    UNIQUE (vehicle_id, epoch)
) STRICT;

-- Ranges of one epoch neither overlap nor touch.
CREATE TABLE received (
    epoch_id INTEGER NOT NULL REFERENCES epochs (id),
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    PRIMARY KEY (epoch_id, first)
) STRICT, WITHOUT ROWID;

-- Ranges of one epoch do not overlap: the first reason given stands.
CREATE TABLE lost (
    epoch_id INTEGER NOT NULL REFERENCES epochs (id),
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    reason   INTEGER NOT NULL, -- avl.v1.LossReason
    PRIMARY KEY (epoch_id, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    next_offset INTEGER NOT NULL -- of the next journal entry to process
) STRICT;

INSERT INTO progress (only, next_offset) VALUES (1, 0);

-- Only the SHA-256 of a token's secret is kept: who reads this table can enrol nobody.
CREATE TABLE enrolment_tokens (
    secret_sha256 BLOB    PRIMARY KEY,
    fleet         TEXT    NOT NULL,
    vehicle       TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER
) STRICT, WITHOUT ROWID;

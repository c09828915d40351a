-- Times are milliseconds since 1970-01-01 UTC, as everywhere in the system: every value that a vehicle can send fits
-- and comes back unchanged. ms() turns a timestamp into one, for queries by hand.

CREATE FUNCTION ms(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (extract(epoch FROM at) * 1000)::bigint;

-- What policies of the TSL licence call the present.
CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN ms(now());

CREATE TABLE vehicles (
    id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fleet   text COLLATE "C" NOT NULL,
    vehicle text COLLATE "C" NOT NULL,
    fixes   bigint NOT NULL DEFAULT 0,
    UNIQUE (fleet, vehicle)
) WITH (fillfactor = 80);

-- A number is `value / 10^scale`: `scales` holds the decimals of latitude, longitude, altitude, speed, course, hdop,
-- vdop and pdop, four bits each, latitude lowest. `time` is GNSS time, or the time of receipt for a fix that has none
-- (`gnss_time` false). No foreign key: it would cost a look-up a row, and the writer knows the vehicle.
CREATE TABLE positions (
    time        bigint   NOT NULL,
    epoch       bigint   NOT NULL,
    sequence    bigint   NOT NULL,
    received_at bigint   NOT NULL,
    vehicle_id  integer  NOT NULL,
    scales      integer  NOT NULL,
    latitude    bigint, -- arc-minutes, north positive
    longitude   bigint, -- arc-minutes, east positive
    altitude    bigint, -- metres above mean sea level
    speed       bigint, -- knots
    course      bigint, -- degrees from true north
    hdop        bigint,
    verdict     integer  NOT NULL, -- bits: reasons for doubt
    inputs      integer,
    quality     smallint NOT NULL,
    satellites  smallint,
    gnss_time   boolean  NOT NULL,
    mode        smallint, -- 1 none, 2 two-dimensional, 3 three-dimensional
    in_view     smallint, -- satellites
    uptime      bigint,
    vdop        bigint,
    pdop        bigint,
    odometer    bigint, -- metres
    -- A track in its order, either way; and the database's own word that no fix is there twice.
    PRIMARY KEY (vehicle_id, time, epoch, sequence)
);

SELECT create_hypertable('positions', by_range('time', 86400000), create_default_indexes => false);

CREATE INDEX positions_by_sequence ON positions (vehicle_id, epoch, sequence);

-- The newest row of each vehicle, in full: it outlives retention.
CREATE TABLE states (LIKE positions, PRIMARY KEY (vehicle_id)) WITH (fillfactor = 50);

-- The ledger. `id` keeps the order in which the epochs of a vehicle were first seen.
CREATE TABLE epochs (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vehicle_id    integer NOT NULL REFERENCES vehicles,
    epoch         bigint  NOT NULL,
    next_sequence bigint  NOT NULL DEFAULT 0, -- every number below it was given to a fix
    received      int8multirange NOT NULL DEFAULT '{}',
    UNIQUE (vehicle_id, epoch)
) WITH (fillfactor = 50);

-- Ranges of one epoch do not overlap: the first reason given stands.
CREATE TABLE lost (
    epoch_id integer  NOT NULL REFERENCES epochs,
    first    bigint   NOT NULL,
    last     bigint   NOT NULL,
    reason   smallint NOT NULL, -- avl.v1.LossReason
    PRIMARY KEY (epoch_id, first)
);

-- How far each partition of the journal is processed, and who may go on.
CREATE TABLE partitions (
    partition   bigint PRIMARY KEY,
    next_offset bigint NOT NULL, -- of the next journal entry to process
    generation  bigint NOT NULL, -- counts the claims: a commit of an earlier one is refused
    owner       text   NOT NULL, -- for operators
    claimed_at  timestamptz NOT NULL
) WITH (fillfactor = 10);

-- How long rows are kept, as `avl-cloud migrate` was told.
CREATE TABLE upkeep (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    retention      bigint, -- milliseconds; none: for ever
    compress_after bigint NOT NULL DEFAULT 604800000
);

INSERT INTO upkeep DEFAULT VALUES;

-- For people and tools: units that they know. Filter by `time_ms >= ms('2026-01-01')`; `time` finds no index.
CREATE VIEW fixes AS
SELECT v.fleet, v.vehicle, 
    -- Vehicles may send moments that no calendar of PostgreSQL has.
    CASE WHEN p.time BETWEEN -62135596800000 AND 253402300799999 THEN to_timestamp(p.time / 1000.0) END AS time,
    p.time AS time_ms, p.epoch, p.sequence,
    to_timestamp(p.received_at / 1000.0) AS received_at,
    p.latitude  / 10.0 ^ (p.scales & 15) / 60         AS latitude_degrees,
    p.longitude / 10.0 ^ ((p.scales >> 4) & 15) / 60  AS longitude_degrees,
    p.altitude  / 10.0 ^ ((p.scales >> 8) & 15)       AS altitude_metres,
    p.speed     / 10.0 ^ ((p.scales >> 12) & 15) * 1852 / 3600 AS speed_mps,
    p.course    / 10.0 ^ ((p.scales >> 16) & 15)      AS course_degrees,
    p.hdop      / 10.0 ^ ((p.scales >> 20) & 15)      AS hdop,
    p.satellites, p.quality, p.verdict, p.inputs, p.odometer AS odometer_metres
FROM positions p JOIN vehicles v ON v.id = p.vehicle_id;

-- Completeness by SQL: what was numbered and is neither here nor declared lost.
CREATE VIEW completeness AS
SELECT v.fleet, v.vehicle, e.epoch, e.next_sequence,
    coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(e.received) r), 0)::bigint AS received,
    coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(l.ranges - e.received) r), 0)::bigint AS lost,
    int8multirange(int8range(0, e.next_sequence)) - e.received - l.ranges AS missing
FROM epochs e JOIN vehicles v ON v.id = e.vehicle_id
CROSS JOIN LATERAL (
    SELECT coalesce(range_agg(int8range(first, last, '[]')), '{}'::int8multirange) AS ranges FROM lost WHERE epoch_id = e.id
) l;

-- What the fleet's processes share beside rows and ledger: tokens, certificates, orders, releases, sign-in links.
-- Times are milliseconds since 1970-01-01 UTC.

-- Numbers that grow in the order of the commits, since whoever takes one holds the row until it commits: who has seen a
-- number has seen everything below it. A sequence would not promise that.
CREATE TABLE counters (
    name  text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- orders: the newest number of `commands` and `configurations`. denied: grows whenever somebody else is denied.
INSERT INTO counters (name) VALUES ('orders'), ('denied');

-- Only the SHA-256 of a token's secret is kept: who reads this table can enrol nobody.
CREATE TABLE enrolment_tokens (
    secret_sha256 bytea PRIMARY KEY,
    fleet         text COLLATE "C" NOT NULL,
    vehicle       text COLLATE "C" NOT NULL,
    created_at    bigint NOT NULL,
    expires_at    bigint NOT NULL,
    used_at       bigint
);

CREATE INDEX enrolment_tokens_unused ON enrolment_tokens (fleet, vehicle) WHERE used_at IS NULL;

CREATE TABLE issued (
    serial     bytea PRIMARY KEY,
    vehicle    text COLLATE "C" NOT NULL, -- fleet/vehicle
    issued_at  bigint NOT NULL,
    not_after  bigint NOT NULL,
    revoked_at bigint
);

CREATE INDEX issued_of_vehicle ON issued (vehicle);
CREATE INDEX issued_by_end ON issued (not_after);

CREATE TABLE revoked_vehicles (
    vehicle    text COLLATE "C" PRIMARY KEY, -- fleet/vehicle
    revoked_at bigint NOT NULL,
    reason     text NOT NULL
);

CREATE TABLE commands (
    seq        bigint PRIMARY KEY, -- of the counter
    id         text COLLATE "C" NOT NULL,
    fleet      text COLLATE "C" NOT NULL,
    vehicle    text COLLATE "C" NOT NULL,
    action     text   NOT NULL,
    message    bytea  NOT NULL, -- avl.v1.Command
    state      text   NOT NULL, -- waiting, sent, accepted, done, failed, refused, expired
    detail     text   NOT NULL DEFAULT '',
    media_type text   NOT NULL DEFAULT '',
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    UNIQUE (fleet, vehicle, id)
);

CREATE INDEX commands_by_vehicle ON commands (fleet, vehicle, seq);
CREATE INDEX commands_open ON commands (expires_at) WHERE state IN ('waiting', 'sent');

CREATE TABLE command_results (
    seq     bigint  NOT NULL REFERENCES commands ON DELETE CASCADE,
    part    integer NOT NULL,
    payload bytea   NOT NULL,
    PRIMARY KEY (seq, part)
);

CREATE TABLE configurations (
    seq        bigint PRIMARY KEY, -- of the counter
    fleet      text COLLATE "C" NOT NULL,
    vehicle    text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    toml       text   NOT NULL,
    state      text   NOT NULL, -- waiting, sent, applied, rejected, rolled_back
    detail     text   NOT NULL DEFAULT '',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    UNIQUE (fleet, vehicle, version)
);

-- Files of releases, in parts of 256 KiB. A file whose row is here is whole.
CREATE TABLE release_files (
    sha256 text COLLATE "C" PRIMARY KEY,
    size   bigint NOT NULL
);

CREATE TABLE release_parts (
    sha256 text COLLATE "C" NOT NULL REFERENCES release_files ON DELETE CASCADE,
    part   integer NOT NULL,
    bytes  bytea   NOT NULL,
    PRIMARY KEY (sha256, part)
);

-- Programs are compressed already, or nearly: the server need not try.
ALTER TABLE release_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE releases (
    version   text COLLATE "C" NOT NULL,
    target    text COLLATE "C" NOT NULL,
    sha256    text COLLATE "C" NOT NULL REFERENCES release_files,
    manifest  bytea  NOT NULL, -- as it was signed
    signature bytea  NOT NULL,
    added_at  bigint NOT NULL,
    PRIMARY KEY (version, target)
);

-- Only the SHA-256 of a link's code is kept.
CREATE TABLE sign_in_links (
    code_sha256 bytea PRIMARY KEY,
    issued_at   bigint NOT NULL
);

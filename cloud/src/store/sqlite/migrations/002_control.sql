-- Orders to vehicles and what became of them. Times are milliseconds since 1970-01-01 UTC.

CREATE TABLE commands (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL,
    fleet      TEXT    NOT NULL,
    vehicle    TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    message    BLOB    NOT NULL, -- avl.v1.Command
    state      TEXT    NOT NULL, -- waiting, sent, accepted, done, failed, refused, expired
    detail     TEXT    NOT NULL DEFAULT '',
    media_type TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (fleet, vehicle, id)
) STRICT;

CREATE INDEX commands_by_vehicle ON commands (fleet, vehicle, seq);
CREATE INDEX commands_open ON commands (expires_at) WHERE state IN ('waiting', 'sent', 'accepted');

CREATE TABLE command_results (
    seq     INTEGER NOT NULL REFERENCES commands (seq) ON DELETE CASCADE,
    part    INTEGER NOT NULL,
    payload BLOB    NOT NULL,
    PRIMARY KEY (seq, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE configurations (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    fleet      TEXT    NOT NULL,
    vehicle    TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    toml       TEXT    NOT NULL,
    state      TEXT    NOT NULL, -- waiting, sent, applied, rejected, rolled_back
    detail     TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (fleet, vehicle, version)
) STRICT;

-- The file of a release is beside the store, under its SHA-256.
CREATE TABLE releases (
    version   TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    sha256    TEXT    NOT NULL,
    manifest  BLOB    NOT NULL, -- as it was signed
    signature BLOB    NOT NULL,
    added_at  INTEGER NOT NULL,
    PRIMARY KEY (version, target)
) STRICT, WITHOUT ROWID;

-- Columns that a vehicle sends only when it has them. The decimals of vdop and pdop follow those of hdop in `scales`.
ALTER TABLE positions ADD COLUMN vdop     INTEGER;
ALTER TABLE positions ADD COLUMN pdop     INTEGER;
ALTER TABLE positions ADD COLUMN in_view  INTEGER; -- satellites
ALTER TABLE positions ADD COLUMN mode     INTEGER; -- 1 none, 2 two-dimensional, 3 three-dimensional
ALTER TABLE positions ADD COLUMN odometer INTEGER; -- metres

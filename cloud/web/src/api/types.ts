// The shapes of the HTTP API and of the live stream, as the server documents them at /api/v1/openapi.json.

export type Quality =
  | 'no_fix' | 'gps' | 'dgps' | 'pps' | 'rtk' | 'float_rtk' | 'dead_reckoning' | 'manual' | 'simulation';

/** One GNSS fix. `null`: the receiver printed nothing. */
export interface Fix {
  /** RFC 3339 in UTC. */
  time: string | null;
  /** Degrees, WGS 84. */
  lat: number | null;
  lon: number | null;
  alt_m: number | null;
  speed_mps: number | null;
  /** Degrees from true north. */
  course_deg: number | null;
  hdop: number | null;
  satellites: number | null;
  quality: string;
  /** `ok`, or the reasons to doubt the fix, joined by commas. */
  verdict: string;
  /** What only some gateways send; absent in older answers. */
  satellites_in_view?: number | null;
  vdop?: number | null;
  pdop?: number | null;
  /** `none`, `2d` or `3d`. */
  fix_mode?: string | null;
  /** Metres driven in all. */
  odometer_m?: number | null;
}

/** A stored fix: its place in the vehicle's sequence, and when the cloud received it. */
export interface Row extends Fix {
  /** Eight hexadecimal digits. */
  epoch: string;
  sequence: number;
  received_at: string;
}

export interface VehicleSummary {
  fleet: string;
  vehicle: string;
  fixes: number;
  latest: Row | null;
}

export interface PositionsPage {
  positions: Row[];
  next_cursor: string | null;
}

/** First and last sequence number, both included. */
export type Range = [number, number];

export interface EpochCompleteness {
  epoch: string;
  next_sequence: number;
  received: Range[];
  missing: Range[];
  lost: { first: number; last: number; reason: string }[];
}

export interface Completeness {
  complete: boolean;
  received: number;
  missing: number;
  lost: number;
  epochs: EpochCompleteness[];
}

export interface Config {
  version: string;
  tile_url: string | null;
  tile_attribution: string | null;
}

/** A vehicle in the live stream: its name and its newest fix. */
export interface LiveVehicle extends Fix {
  fleet: string;
  vehicle: string;
  received_at?: string;
}

export type LiveMessage =
  | { type: 'snapshot'; vehicles: LiveVehicle[] }
  | { type: 'update'; vehicles: LiveVehicle[] }
  | { type: 'resync' };

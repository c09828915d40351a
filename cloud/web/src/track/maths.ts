// What a track shows: where it was driven how fast, how far, and a speed curve with few enough points to draw.

import type { Feature } from 'geojson';
import type { Row } from '../api/types';

export interface TrackPoint {
  /** ms; the time of the fix, or of its arrival when it has none. */
  time: number;
  lon: number;
  lat: number;
  speedMps: number | null;
  courseDeg: number | null;
  /** Whether the integrity checks found nothing against it. */
  trusted: boolean;
}

/** A pause this long between fixes is drawn as a dashed line: the road between is not known. */
const GAP_MS = 3 * 60_000;
/** Upper bounds of the speed classes, m/s: 20, 50, 90, 120 km/h. */
const CLASS_BOUNDS_MPS = [20, 50, 90, 120].map((kmh) => kmh / 3.6);
const EARTH_RADIUS_M = 6_371_008.8;

/** Rows without a position have no place in a track. */
export function toTrackPoints(rows: readonly Row[]): TrackPoint[] {
  const points: TrackPoint[] = [];
  for (const row of rows) {
    if (row.lat === null || row.lon === null) continue;
    const time = Date.parse(row.time ?? row.received_at);
    if (Number.isNaN(time)) continue;
    points.push({ time, lon: row.lon, lat: row.lat, speedMps: row.speed_mps, courseDeg: row.course_deg, trusted: row.verdict === 'ok' });
  }
  return points;
}

export function speedClass(mps: number | null): number {
  if (mps === null) return 0;
  const index = CLASS_BOUNDS_MPS.findIndex((bound) => mps < bound);
  return index < 0 ? CLASS_BOUNDS_MPS.length : index;
}

/** Lines of one speed class each; class -1 is a gap. Doubted fixes are left out of the line. */
export function trackLines(points: readonly TrackPoint[]): Feature[] {
  const runs: { kind: number; coordinates: [number, number][] }[] = [];
  let before: TrackPoint | null = null;
  for (const point of points) {
    if (!point.trusted) continue;
    if (before) {
      const kind = point.time - before.time > GAP_MS ? -1 : speedClass(point.speedMps);
      let run = runs.at(-1);
      if (run?.kind !== kind) {
        run = { kind, coordinates: [[before.lon, before.lat]] };
        runs.push(run);
      }
      run.coordinates.push([point.lon, point.lat]);
    }
    before = point;
  }
  return runs.map(({ kind, coordinates }) => ({
    type: 'Feature', properties: { class: kind }, geometry: { type: 'LineString', coordinates },
  }));
}

/** Along trusted fixes, gaps left out. */
export function drivenMetres(points: readonly TrackPoint[]): number {
  let sum = 0;
  let before: TrackPoint | null = null;
  for (const point of points) {
    if (!point.trusted) continue;
    // A parked receiver wanders: what it does below walking pace is not driving.
    const driving = (point.speedMps ?? 1) > 0.5;
    if (before && driving && point.time - before.time <= GAP_MS) sum += metresBetween(before, point);
    before = point;
  }
  return sum;
}

/** Great circle (haversine). */
export function metresBetween(a: Pick<TrackPoint, 'lon' | 'lat'>, b: Pick<TrackPoint, 'lon' | 'lat'>): number {
  const radians = Math.PI / 180;
  const dLat = (b.lat - a.lat) * radians;
  const dLon = (b.lon - a.lon) * radians;
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(a.lat * radians) * Math.cos(b.lat * radians) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

export interface SpeedBin {
  /** Middle of the bin, ms. */
  time: number;
  /** Highest speed in it; `null`: no fix in it. */
  mps: number | null;
}

/** The highest speed in each of `bins` equal parts of the period: no peak is averaged away. */
export function speedBins(points: readonly TrackPoint[], from: number, to: number, bins: number): SpeedBin[] {
  const width = (to - from) / bins;
  const result = Array.from({ length: bins }, (_, index): SpeedBin => ({ time: from + (index + 0.5) * width, mps: null }));
  if (!(width > 0)) return result;
  for (const point of points) {
    const bin = result[Math.min(bins - 1, Math.floor((point.time - from) / width))];
    if (!bin || point.time < from || point.speedMps === null || !point.trusted) continue;
    bin.mps = Math.max(bin.mps ?? 0, point.speedMps);
  }
  return result;
}

/** The point nearest in time. Points are in order of time. */
export function nearestInTime(points: readonly TrackPoint[], time: number): TrackPoint | null {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((points[middle]?.time ?? 0) < time) low = middle + 1;
    else high = middle;
  }
  const after = points[low];
  const before = points[low - 1];
  if (!after || !before) return after ?? before ?? null;
  return time - before.time <= after.time - time ? before : after;
}

/** A round speed at or above the highest, for the top of a chart, km/h. */
export function chartTopKmh(highestMps: number): number {
  const kmh = highestMps * 3.6;
  return [20, 40, 60, 80, 100, 120, 160, 200, 300].find((top) => kmh <= top) ?? Math.ceil(kmh / 100) * 100;
}

// Meridians and parallels at round distances, so that a place without streets still has a measure.

import type { Feature } from 'geojson';

/** Degrees, then minutes, then seconds of arc: the steps that a chart has. */
const STEPS = [30, 20, 10, 5, 2, 1, 30 / 60, 20 / 60, 10 / 60, 5 / 60, 2 / 60, 1 / 60, 30 / 3600, 20 / 3600, 10 / 3600, 5 / 3600, 2 / 3600, 1 / 3600];
/** About this many lines across. */
const LINES_ACROSS = 4;

export interface Bounds {
  west: number;
  south: number;
  east: number;
  north: number;
}

export function graticuleStep(spanDegrees: number): number {
  return STEPS.find((step) => spanDegrees / step >= LINES_ACROSS) ?? (STEPS.at(-1) ?? 1);
}

/** Lines through the bounds, each with its name at the edge. */
export function graticule(bounds: Bounds): Feature[] {
  const step = graticuleStep(bounds.east - bounds.west);
  const features: Feature[] = [];
  for (const lon of multiples(bounds.west, bounds.east, step)) {
    features.push(line([[lon, bounds.south], [lon, bounds.north]]), label(lon, bounds.north, formatAngle(lon, step, 'E', 'W'), 'top-left'));
  }
  for (const lat of multiples(Math.max(-85, bounds.south), Math.min(85, bounds.north), step)) {
    features.push(line([[bounds.west, lat], [bounds.east, lat]]), label(bounds.east, lat, formatAngle(lat, step, 'N', 'S'), 'top-right'));
  }
  return features;
}

function multiples(from: number, to: number, step: number): number[] {
  const found: number[] = [];
  for (let n = Math.ceil(from / step); n * step <= to; n += 1) found.push(n * step);
  return found;
}

/** As a chart prints it, with no more parts than the step needs: `3°42′W`. */
export function formatAngle(degrees: number, step: number, positive: string, negative: string): string {
  const wrapped = positive === 'E' ? ((((degrees + 180) % 360) + 360) % 360) - 180 : degrees;
  const seconds = Math.round(Math.abs(wrapped) * 3600);
  const parts = [`${Math.floor(seconds / 3600)}°`];
  if (step < 1) parts.push(`${String(Math.floor(seconds / 60) % 60).padStart(2, '0')}′`);
  if (step < 1 / 60) parts.push(`${String(seconds % 60).padStart(2, '0')}″`);
  const side = seconds === 0 ? '' : wrapped > 0 ? positive : negative;
  return parts.join('') + side;
}

function line(coordinates: [number, number][]): Feature {
  return { type: 'Feature', properties: {}, geometry: { type: 'LineString', coordinates } };
}

function label(lon: number, lat: number, text: string, anchor: string): Feature {
  return { type: 'Feature', properties: { label: text, anchor }, geometry: { type: 'Point', coordinates: [lon, lat] } };
}

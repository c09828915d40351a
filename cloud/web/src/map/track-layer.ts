// Puts the selected vehicle's track on the map.

import type { Feature } from 'geojson';
import type { GeoJSONSource, Map as MapLibre } from 'maplibre-gl';
import { nearestInTime, trackLines, type TrackPoint } from '../track/maths';

/** Past it the small circles of doubted fixes would cover the line. */
const MOST_DOUBTED = 500;

export function showTrack(map: MapLibre, points: readonly TrackPoint[]): void {
  void map.getSource<GeoJSONSource>('track')?.setData({ type: 'FeatureCollection', features: trackLines(points) });
}

export function showTrackPoints(map: MapLibre, points: readonly TrackPoint[], cursor: number | null): void {
  const features: Feature[] = points.filter((point) => !point.trusted).slice(-MOST_DOUBTED).map((point) => dot(point, 'doubted'));
  const start = points.find((point) => point.trusted);
  if (start) features.push(dot(start, 'start'));
  const at = cursor === null ? null : nearestInTime(points, cursor);
  if (at) features.push(dot(at, 'cursor'));
  void map.getSource<GeoJSONSource>('track-points')?.setData({ type: 'FeatureCollection', features });
}

function dot(point: TrackPoint, kind: 'doubted' | 'start' | 'cursor'): Feature {
  return { type: 'Feature', properties: { kind }, geometry: { type: 'Point', coordinates: [point.lon, point.lat] } };
}

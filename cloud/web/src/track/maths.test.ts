import { expect, test } from 'vitest';
import type { Row } from '../api/types';
import { chartTopKmh, drivenMetres, metresBetween, nearestInTime, speedBins, speedClass, toTrackPoints, trackLines, type TrackPoint } from './maths';

function point(seconds: number, lon: number, kmh: number | null = 30, trusted = true): TrackPoint {
  return { time: seconds * 1000, lon, lat: 0, speedMps: kmh === null ? null : kmh / 3.6, courseDeg: 90, trusted };
}

test('a degree on the equator is 111.195 km', () => {
  expect(metresBetween({ lon: 0, lat: 0 }, { lon: 1, lat: 0 })).toBeCloseTo(111_195, 0);
});

test('rows without a position have no place in the track; without a time they stand where they arrived', () => {
  const row: Row = {
    epoch: '0', sequence: 0, received_at: '2026-01-01T00:00:05Z', time: null, lat: 1, lon: 2, alt_m: null, speed_mps: 3,
    course_deg: null, hdop: null, satellites: null, quality: 'gps', verdict: 'no_time',
  };
  const points = toTrackPoints([row, { ...row, lat: null }]);
  expect(points).toHaveLength(1);
  expect(points[0]).toMatchObject({ time: Date.parse('2026-01-01T00:00:05Z'), trusted: false });
});

test('a new speed class begins a new line that touches the one before', () => {
  const lines = trackLines([point(0, 0), point(1, 1), point(2, 2, 100), point(3, 3, 100)]);
  expect(lines.map(({ properties }) => properties?.class as number)).toEqual([speedClass(30 / 3.6), speedClass(100 / 3.6)]);
  expect(lines.map(({ geometry }) => geometry.type === 'LineString' && geometry.coordinates.map(([lon]) => lon))).toEqual([[0, 1], [1, 2, 3]]);
});

test('a pause is a dashed line and is not driven', () => {
  const points = [point(0, 0), point(1, 0.001), point(1000, 0.5), point(1001, 0.501)];
  expect(trackLines(points).map(({ properties }) => properties?.class as number)).toEqual([1, -1, 1]);
  expect(drivenMetres(points)).toBeCloseTo(222.4, 0);
});

test('a doubted fix is neither drawn nor driven', () => {
  const points = [point(0, 0), point(1, 50, 30, false), point(2, 0.001)];
  expect(trackLines(points)).toHaveLength(1);
  expect(drivenMetres(points)).toBeCloseTo(111.2, 0);
});

test('the wandering of a parked receiver is not mileage', () => {
  expect(drivenMetres([point(0, 0, 0), point(1, 0.0001, 0.5), point(2, 0, 1)])).toBe(0);
});

test('bins keep the peak, know where no fix is, and leave doubted speeds out', () => {
  const bins = speedBins([point(1, 0, 10), point(2, 0, 90), point(3, 0, 20), point(9, 0, 40), point(8, 0, 300, false)], 0, 10_000, 5);
  expect(bins.map(({ mps }) => (mps === null ? null : Math.round(mps * 3.6)))).toEqual([10, 90, null, null, 40]);
});

test('the last moment of the period belongs to the last bin', () => {
  expect(speedBins([point(10, 0, 50)], 0, 10_000, 5).at(-1)?.mps).toBeCloseTo(50 / 3.6);
});

test('nearest in time, also outside of the track', () => {
  const points = [point(0, 0), point(10, 1), point(20, 2)];
  expect([-5, 4, 6, 14, 99].map((seconds) => nearestInTime(points, seconds * 1000)?.lon)).toEqual([0, 0, 1, 1, 2]);
  expect(nearestInTime([], 0)).toBeNull();
});

test('a chart ends at a round speed above the highest', () => {
  expect([0, 20 / 3.6, 21 / 3.6, 130 / 3.6, 350 / 3.6].map(chartTopKmh)).toEqual([20, 20, 40, 160, 400]);
});

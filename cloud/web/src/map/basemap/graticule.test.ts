import { expect, test } from 'vitest';
import { formatAngle, graticule, graticuleStep } from './graticule';

test('steps are those of a chart, with a handful of lines across', () => {
  expect(graticuleStep(1)).toBeCloseTo(10 / 60);
  expect(graticuleStep(0.1)).toBeCloseTo(1 / 60);
  expect(graticuleStep(100)).toBe(20);
});

test('angles have no more parts than the step needs', () => {
  expect(formatAngle(-3.7, 1 / 60, 'E', 'W')).toBe('3°42′W');
  expect(formatAngle(40.5, 30 / 3600, 'N', 'S')).toBe('40°30′00″N');
  expect(formatAngle(20, 10, 'E', 'W')).toBe('20°E');
  expect(formatAngle(0, 10, 'E', 'W')).toBe('0°');
  expect(formatAngle(190, 10, 'E', 'W')).toBe('170°W');
});

test('each line has a label', () => {
  const features = graticule({ west: -4, south: 40, east: -3, north: 40.5 });
  const kinds = features.map(({ geometry }) => geometry.type);
  expect(kinds.filter((kind) => kind === 'LineString').length).toBe(kinds.filter((kind) => kind === 'Point').length);
  expect(kinds.length).toBeGreaterThan(8);
});

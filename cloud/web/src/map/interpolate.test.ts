import { expect, test } from 'vitest';
import { mixCourse, motionDuration, moveTo, placeAt, type Placed } from './interpolate';
import { worldPerMetre } from './mercator';

const start = { x: 0.5, y: 0.4, course: 90 };
const scale = worldPerMetre(start.y);
const still = { speedMps: null, courseDeg: null };

function place(motion: Parameters<typeof placeAt>[0], u: number): Placed {
  const out = { x: 0, y: 0, course: null };
  placeAt(motion, u, out);
  return out;
}

test('a motion begins and ends exactly at its fixes', () => {
  const to = { x: 0.5 + 40 * scale, y: 0.4 + 30 * scale, course: 180 };
  const motion = moveTo(start, to, { speedMps: 12, courseDeg: 90 }, { speedMps: 9, courseDeg: 180 }, 5000, 5000, 0);
  expect(place(motion, 0)).toEqual(start);
  expect(place(motion, 1).x).toBeCloseTo(to.x, 15);
  expect(place(motion, 1).y).toBeCloseTo(to.y, 15);
});

test('without courses the way is straight and even', () => {
  const to = { x: 0.5 + 40 * scale, y: 0.4, course: null };
  const motion = moveTo(start, to, still, still, 5000, 5000, 0);
  for (const u of [0.25, 0.5, 0.75]) expect(place(motion, u).x).toBeCloseTo(start.x + u * (to.x - start.x), 14);
});

test('a corner is driven along both streets, not across the block', () => {
  // East for a while, then south: the middle of the way lies near the corner, east of the straight line.
  const to = { x: 0.5 + 50 * scale, y: 0.4 + 50 * scale, course: 180 };
  const motion = moveTo(start, to, { speedMps: 20, courseDeg: 90 }, { speedMps: 20, courseDeg: 180 }, 5000, 5000, 0);
  const middle = place(motion, 0.5);
  const eastOfChord = (middle.x - start.x - (middle.y - start.y)) / scale;
  expect(eastOfChord).toBeGreaterThan(10);
});

test('a curve never swings out by more than a third of its chord, whatever speed a receiver reports', () => {
  const to = { x: 0.5, y: 0.4 - 100 * scale, course: 0 };
  const motion = moveTo(start, to, { speedMps: 300, courseDeg: 90 }, { speedMps: 300, courseDeg: 270 }, 14_000, 5000, 0);
  for (let u = 0; u <= 1; u += 0.05) expect(Math.abs(place(motion, u).x - 0.5) / scale).toBeLessThan(40);
});

test('courses turn the shorter way around', () => {
  expect(mixCourse(350, 10, 0.5)).toBeCloseTo(0, 9);
  expect(mixCourse(10, 350, 0.25)).toBeCloseTo(5, 9);
  expect(mixCourse(null, 10, 0.5)).toBe(10);
  expect(mixCourse(10, null, 0.5)).toBe(10);
});

test('a movement lasts a little longer than the usual interval, within bounds', () => {
  expect(motionDuration(1000)).toBeCloseTo(1100);
  expect(motionDuration(10)).toBe(250);
  expect(motionDuration(60_000)).toBe(8000);
});

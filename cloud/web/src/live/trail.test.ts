import { expect, test } from 'vitest';
import { addToTrail, newTrail, TRAIL_CAPACITY, trailOffset } from './trail';

test('the newest place comes first and the oldest is overwritten', () => {
  const trail = newTrail();
  for (let i = 0; i < TRAIL_CAPACITY + 5; i += 1) addToTrail(trail, i, -i, i * 10);
  expect(trail.length).toBe(TRAIL_CAPACITY);
  expect(trail.places[trailOffset(trail, 0)]).toBe(TRAIL_CAPACITY + 4);
  expect(trail.places[trailOffset(trail, TRAIL_CAPACITY - 1)]).toBe(5);
});

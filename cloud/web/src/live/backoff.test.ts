import { expect, test } from 'vitest';
import { reconnectDelay } from './backoff';

test('the ceiling doubles with each failure and stays at twenty seconds', () => {
  expect([0, 1, 2, 3, 10, 1000].map((attempt) => reconnectDelay(attempt, 1))).toEqual([500, 1000, 2000, 4000, 20_000, 20_000]);
});

test('the whole range below the ceiling is used', () => {
  expect(reconnectDelay(3, 0)).toBe(0);
  expect(reconnectDelay(3, 0.25)).toBe(1000);
});

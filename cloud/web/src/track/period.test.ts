import { expect, test } from 'vitest';
import { resolvePeriod } from './period';

test('the last hour ends at the newest fix, not now, and stays open for what comes', () => {
  const newest = Date.parse('2020-06-01T12:00:00Z');
  expect(resolvePeriod({ kind: 'last', hours: 1 }, newest, Date.parse('2026-01-01T00:00:00Z'))).toEqual({ from: new Date('2020-06-01T11:00:00Z'), to: null });
});

test('without any fix it ends now', () => {
  expect(resolvePeriod({ kind: 'last', hours: 2 }, null, 7_200_000)).toEqual({ from: new Date(0), to: null });
});

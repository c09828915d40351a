import { expect, test } from 'vitest';
import type { Fix } from '../api/types';
import { SILENT_AFTER_MS, vehicleState } from './state';

const fix: Fix = { time: null, lat: 1, lon: 2, alt_m: null, speed_mps: 5, course_deg: 0, hdop: 1, satellites: 9, quality: 'gps', verdict: 'ok' };

test('speed tells moving from stopped, and a missing speed is no movement', () => {
  expect(vehicleState(fix, 0, 0)).toBe('moving');
  expect(vehicleState({ ...fix, speed_mps: 0.3 }, 0, 0)).toBe('stopped');
  expect(vehicleState({ ...fix, speed_mps: null }, 0, 0)).toBe('stopped');
});

test('without a position, or when the receiver says so, there is no fix', () => {
  expect(vehicleState({ ...fix, lat: null, lon: null }, 0, 0)).toBe('no-fix');
  expect(vehicleState({ ...fix, quality: 'no_fix' }, 0, 0)).toBe('no-fix');
});

test('a vehicle falls silent after three minutes whatever its last fix said', () => {
  expect(vehicleState(fix, 0, SILENT_AFTER_MS)).toBe('moving');
  expect(vehicleState(fix, 0, SILENT_AFTER_MS + 1)).toBe('silent');
});

import { expect, test } from 'vitest';
import { latitude, longitude, mercatorX, mercatorY, worldPerMetre } from './mercator';

test('known corners', () => {
  expect(mercatorX(-180)).toBe(0);
  expect(mercatorY(0)).toBe(0.5);
  expect(mercatorY(90)).toBeCloseTo(0, 6);
});

test('there and back again', () => {
  for (const lat of [-84, -33.3, 0, 40.4168, 71]) expect(latitude(mercatorY(lat))).toBeCloseTo(lat, 9);
  for (const lon of [-180, -3.7038, 0, 179.9]) expect(longitude(mercatorX(lon))).toBeCloseTo(lon, 9);
});

test('a metre at 60° north is twice as long as at the equator', () => {
  expect(worldPerMetre(mercatorY(60)) / worldPerMetre(0.5)).toBeCloseTo(2, 6);
});

import { expect, test } from 'vitest';
import { readHash, writeHash } from './hash';

test('a view and a vehicle survive the address bar', () => {
  const address = { view: { zoom: 13.25, lat: 40.416_8, lon: -3.703_8, bearing: 30 }, vehicle: 'north east/van+1&2' };
  const read = readHash(writeHash(address));
  expect(read.vehicle).toBe(address.vehicle);
  expect(read.view?.zoom).toBe(13.25);
  expect(read.view?.lat).toBeCloseTo(40.4168, 4);
  expect(read.view?.bearing).toBe(30);
});

test('a vehicle alone is enough, and so is a view alone', () => {
  expect(readHash('#&v=f/v')).toEqual({ view: null, vehicle: 'f/v' });
  expect(readHash('#5/40/-3')).toEqual({ view: { zoom: 5, lat: 40, lon: -3, bearing: 0 }, vehicle: null });
  expect(writeHash({ view: null, vehicle: 'f/v' })).toBe('#&v=f/v');
});

test('nonsense is no address', () => {
  for (const hash of ['', '#', '#a/b/c', '#5/40', '#99/40/-3', '#5/400/-3', '#&v=only', '#&v=a/b/c']) {
    expect(readHash(hash)).toEqual({ view: null, vehicle: null });
  }
});

import { expect, test } from 'vitest';
import type { LiveVehicle } from '../api/types';
import { latitude, longitude } from '../map/mercator';
import { Fleet } from './fleet';

const T0 = Date.parse('2026-05-01T10:00:00Z');

function at(seconds: number, lat: number | null, lon: number | null, more: Partial<LiveVehicle> = {}): LiveVehicle {
  return {
    fleet: 'f', vehicle: 'v', time: new Date(T0 + seconds * 1000).toISOString(), lat, lon, alt_m: null, speed_mps: null,
    course_deg: null, hdop: null, satellites: null, quality: 'gps', verdict: 'ok', ...more,
  };
}

function world() {
  const clock = { frame: 0, wall: T0 };
  const fleet = new Fleet({ frame: () => clock.frame, wall: () => clock.wall });
  const where = () => {
    const vehicle = fleet.vehicles.get('f/v');
    const place = { x: 0, y: 0, course: null };
    if (!vehicle || !fleet.place(vehicle, clock.frame, place)) return null;
    return [Number(latitude(place.y).toFixed(6)), Number(longitude(place.x).toFixed(6))];
  };
  const wait = (ms: number) => {
    clock.frame += ms;
    clock.wall += ms;
  };
  return { fleet, where, wait };
}

test('a vehicle of the snapshot stands where its fix is', () => {
  const { fleet, where } = world();
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3)] });
  expect(where()).toEqual([40, -3]);
});

test('an update moves the marker smoothly to the new fix and leaves it there', () => {
  const { fleet, where, wait } = world();
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3)] });
  wait(1000);
  fleet.apply({ type: 'update', vehicles: [at(1, 40, -3.001)] });
  expect(where()).toEqual([40, -3]);
  wait(550);
  expect(where()?.[1]).toBeCloseTo(-3.0005, 5);
  wait(10_000);
  expect(where()).toEqual([40, -3.001]);
});

test('an update in the middle of a movement goes on from where the marker is', () => {
  const { fleet, where, wait } = world();
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3)] });
  wait(1000);
  fleet.apply({ type: 'update', vehicles: [at(1, 40, -3.001)] });
  wait(550);
  const middle = where();
  fleet.apply({ type: 'update', vehicles: [at(2, 40, -3.002)] });
  expect(where()).toEqual(middle);
});

test('a jump of many kilometres is not flown', () => {
  const { fleet, where, wait } = world();
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3)] });
  wait(1000);
  fleet.apply({ type: 'update', vehicles: [at(1, 41, -3)] });
  expect(where()).toEqual([41, -3]);
});

test('people who want less movement see jumps', () => {
  const { fleet, where, wait } = world();
  fleet.still = true;
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3)] });
  wait(1000);
  fleet.apply({ type: 'update', vehicles: [at(1, 40, -3.001)] });
  expect(where()).toEqual([40, -3.001]);
});

test('a vehicle that loses its fix stays where it was last seen', () => {
  const { fleet, where, wait } = world();
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3)] });
  wait(1000);
  fleet.apply({ type: 'update', vehicles: [at(1, null, null, { quality: 'no_fix' })] });
  wait(5000);
  expect(where()).toEqual([40, -3]);
});

test('a vehicle without any position is listed but has no place', () => {
  const { fleet, where } = world();
  fleet.apply({ type: 'snapshot', vehicles: [at(0, null, null)] });
  expect(fleet.vehicles.size).toBe(1);
  expect(where()).toBeNull();
});

test('a snapshot after a reconnect forgets who is gone and does not call a repeated fix news', () => {
  const { fleet, wait } = world();
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3), { ...at(0, 41, -3), vehicle: 'w' }] });
  const heard = fleet.vehicles.get('f/v')?.heardAt;
  wait(60_000);
  fleet.apply({ type: 'snapshot', vehicles: [at(0, 40, -3)] });
  expect([...fleet.vehicles.keys()]).toEqual(['f/v']);
  expect(fleet.vehicles.get('f/v')?.heardAt).toBe(heard);
});

test('a replayed log with old times counts as heard when it arrives', () => {
  const { fleet, wait } = world();
  fleet.apply({ type: 'snapshot', vehicles: [] });
  wait(5000);
  fleet.apply({ type: 'update', vehicles: [at(-86_400 * 365, 40, -3)] });
  expect(fleet.vehicles.get('f/v')?.heardAt).toBe(T0 + 5000);
});

test('ages are counted on the clock of the server', () => {
  const { fleet } = world();
  fleet.clockOffsetMs = 90_000;
  expect(fleet.serverNow()).toBe(T0 + 90_000);
});

import { expect, test } from 'vitest';
import { Fleet } from '../live/fleet';
import { inListOrder, makeFleetList } from './filter-fleet';

function list(query: string, states: Parameters<typeof makeFleetList>[3] = []) {
  const fleet = new Fleet({ frame: () => 0, wall: () => 0 });
  const vehicle = (fleetName: string, name: string, speed: number) => ({
    fleet: fleetName, vehicle: name, time: null, lat: 1, lon: 1, alt_m: null, speed_mps: speed, course_deg: null,
    hdop: null, satellites: null, quality: 'gps', verdict: 'ok',
  });
  fleet.apply({ type: 'snapshot', vehicles: [vehicle('málaga', 'van-10', 9), vehicle('málaga', 'van-2', 0), vehicle('bilbao', 'bus-1', 9)] });
  return makeFleetList(inListOrder(fleet.vehicles.values()), 0, query, states);
}

const names = (found: ReturnType<typeof list>) => found.rows.map(({ vehicle }) => vehicle.name);

test('names are in the order a person counts', () => {
  expect(names(list(''))).toEqual(['bus-1', 'van-2', 'van-10']);
});

test('a search matches all words, without accents or capitals', () => {
  expect(names(list('MALAGA van'))).toEqual(['van-2', 'van-10']);
  expect(names(list('malaga bus'))).toEqual([]);
});

test('a filter by state leaves the counts of the others readable', () => {
  const found = list('', ['stopped']);
  expect(names(found)).toEqual(['van-2']);
  expect(found.counts).toEqual({ moving: 2, stopped: 1, 'no-fix': 0, silent: 0 });
  expect(found.filter).toEqual(new Set(['málaga/van-2']));
});

test('nothing typed filters nothing', () => {
  expect(list(' ').filter).toBeNull();
});

import { expect, test } from 'vitest';
import { parseLiveMessage } from './protocol';

const vehicle = { fleet: 'f', vehicle: 'v', time: null, lat: 40, lon: -3 };

test('a snapshot and an update keep their vehicles', () => {
  for (const type of ['snapshot', 'update'] as const) {
    expect(parseLiveMessage(JSON.stringify({ type, vehicles: [vehicle] }))).toEqual({ type, vehicles: [vehicle] });
  }
});

test('a vehicle without a position is kept, one with a broken field is left out', () => {
  const blind = { ...vehicle, lat: null, lon: null };
  const vehicles = [blind, { ...vehicle, lat: '40' }, { ...vehicle, fleet: 7 }, null, { ...vehicle, time: 5 }];
  expect(parseLiveMessage(JSON.stringify({ type: 'update', vehicles }))).toEqual({ type: 'update', vehicles: [blind] });
});

test('what is not a message of this protocol is nothing', () => {
  for (const text of ['', '{', 'null', '7', '{"type":"later"}', '{"type":"update"}', '{"type":"update","vehicles":{}}']) {
    expect(parseLiveMessage(text)).toBeNull();
  }
  expect(parseLiveMessage('{"type":"resync","vehicles":3}')).toEqual({ type: 'resync' });
});

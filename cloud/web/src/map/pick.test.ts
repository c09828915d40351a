import { expect, test } from 'vitest';
import type { Vehicle } from '../live/fleet';
import { pick } from './pick';

const vehicle = (key: string, px: number, py: number) => ({ vehicle: { key } as Vehicle, px, py });

test('the nearest within reach is picked, and nothing beyond it', () => {
  const scene = { clusters: [], shown: [vehicle('a', 100, 100), vehicle('b', 108, 100)] };
  const found = pick(scene, 106, 101, 14);
  expect(found?.kind === 'vehicle' && found.vehicle.vehicle.key).toBe('b');
  expect(pick(scene, 200, 200, 14)).toBeNull();
});

// What a vehicle is doing, in the words and colours of the map.

import type { Fix } from '../api/types';

export type VehicleState = 'moving' | 'stopped' | 'no-fix' | 'silent';

export const STATES: readonly VehicleState[] = ['moving', 'stopped', 'no-fix', 'silent'];

/** Below it a receiver's speed is mostly noise: a parked one prints up to about 2 km/h. */
export const MOVING_FROM_MPS = 0.8;

/** A vehicle reports at least each minute on a good link; three missed reports are worth a look. */
export const SILENT_AFTER_MS = 3 * 60_000;

/** `heardAt` and `now` are in the time of the server's clock, ms. */
export function vehicleState(fix: Fix, heardAt: number, now: number): VehicleState {
  if (now - heardAt > SILENT_AFTER_MS) return 'silent';
  if (fix.lat === null || fix.lon === null || fix.quality === 'no_fix') return 'no-fix';
  return (fix.speed_mps ?? 0) >= MOVING_FROM_MPS ? 'moving' : 'stopped';
}

// Search and filters over the fleet, without a screen.

import type { Vehicle } from '../live/fleet';
import { STATES, vehicleState, type VehicleState } from '../live/state';

export interface FleetList {
  /** In order of names, filtered. */
  rows: { vehicle: Vehicle; state: VehicleState }[];
  total: number;
  /** Of those that the search leaves. */
  counts: Record<VehicleState, number>;
  /** Keys of the rows; `null`: nothing is filtered. */
  filter: ReadonlySet<string> | null;
  /** Whether more than one fleet is shown, so that rows name it. */
  severalFleets: boolean;
}

export function makeFleetList(
  /** In the order of the list. */
  vehicles: readonly Vehicle[],
  now: number,
  query: string,
  states: readonly VehicleState[],
): FleetList {
  const words = fold(query).split(/\s+/).filter((word) => word !== '');
  const counts = Object.fromEntries(STATES.map((state) => [state, 0])) as Record<VehicleState, number>;
  const fleets = new Set<string>();
  const rows: FleetList['rows'] = [];
  let total = 0;
  for (const vehicle of vehicles) {
    total += 1;
    fleets.add(vehicle.fleet);
    if (words.length > 0) {
      const text = searchText(vehicle);
      if (!words.every((word) => text.includes(word))) continue;
    }
    const state = vehicleState(vehicle.fix, vehicle.heardAt, now);
    counts[state] += 1;
    if (states.length === 0 || states.includes(state)) rows.push({ vehicle, state });
  }
  const filtered = words.length > 0 || states.length > 0;
  return {
    rows, total, counts, severalFleets: fleets.size > 1,
    filter: filtered ? new Set(rows.map(({ vehicle }) => vehicle.key)) : null,
  };
}

/** `van-2` before `van-10`. */
const NATURAL = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

/** Thousands of names take a while to sort: done when vehicles come or go, not when they report. */
export function inListOrder(vehicles: Iterable<Vehicle>): Vehicle[] {
  return [...vehicles].sort((a, b) => NATURAL.compare(a.name, b.name) || NATURAL.compare(a.fleet, b.fleet));
}

const searchTexts = new WeakMap<Vehicle, string>();

function searchText(vehicle: Vehicle): string {
  let text = searchTexts.get(vehicle);
  if (text === undefined) {
    text = fold(vehicle.key);
    searchTexts.set(vehicle, text);
  }
  return text;
}

/** Small letters without accents. */
function fold(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}

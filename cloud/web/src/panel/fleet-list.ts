// The list as the reader filtered it. Made again at most twice a second, however many vehicles report.

import { useEffect, useMemo, useState } from 'react';
import type { Vehicle } from '../live/fleet';
import { STATES, vehicleState, type VehicleState } from '../live/state';
import { fleet } from '../session';
import { useUi } from '../ui/store';

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

const REFRESH_MS = 500;
/** Ages and silences change by themselves. */
const IDLE_REFRESH_MS = 5_000;

/** A number that changes when the fleet did. */
export function useFleetTick(): number {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const advance = () => {
      timer = undefined;
      setTick((value) => value + 1);
    };
    const unsubscribe = fleet.subscribe(() => { timer ??= setTimeout(advance, REFRESH_MS); });
    const idle = setInterval(advance, IDLE_REFRESH_MS);
    return () => {
      unsubscribe();
      clearTimeout(timer);
      clearInterval(idle);
    };
  }, []);
  return tick;
}

export function useFleetList(): FleetList {
  const tick = useFleetTick();
  const query = useUi((state) => state.query);
  const states = useUi((state) => state.states);
  return useMemo(() => makeFleetList(fleet.vehicles.values(), fleet.serverNow(), query, states), 
    // The fleet is changed in place; the tick says so.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [tick, query, states]);
}

export function makeFleetList(
  vehicles: Iterable<Vehicle>,
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
      const text = fold(vehicle.key);
      if (!words.every((word) => text.includes(word))) continue;
    }
    const state = vehicleState(vehicle.fix, vehicle.heardAt, now);
    counts[state] += 1;
    if (states.length === 0 || states.includes(state)) rows.push({ vehicle, state });
  }
  rows.sort((a, b) => NATURAL.compare(a.vehicle.name, b.vehicle.name) || NATURAL.compare(a.vehicle.fleet, b.vehicle.fleet));
  const filtered = words.length > 0 || states.length > 0;
  return {
    rows, total, counts, severalFleets: fleets.size > 1,
    filter: filtered ? new Set(rows.map(({ vehicle }) => vehicle.key)) : null,
  };
}

/** `van-2` before `van-10`. */
const NATURAL = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

/** Small letters without accents. */
function fold(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}

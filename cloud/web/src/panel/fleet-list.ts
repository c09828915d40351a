// The list as the reader filtered it. Made again at most twice a second, however many vehicles report.

import { useEffect, useMemo, useState } from 'react';
import { fleet } from '../session';
import { useUi } from '../ui/store';
import { inListOrder, makeFleetList, type FleetList } from './filter-fleet';

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
  const { membership } = fleet;
  // The fleet is changed in place; the two numbers say so.
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const ordered = useMemo(() => inListOrder(fleet.vehicles.values()), [membership]);
  // eslint-disable-next-line react-hooks/exhaustive-deps
  return useMemo(() => makeFleetList(ordered, fleet.serverNow(), query, states), [tick, ordered, query, states]);
}

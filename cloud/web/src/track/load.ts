// Loads the track and the completeness of the selected vehicle, and keeps them up to date while it reports.

import { create } from 'zustand';
import { ApiError, getCompleteness, getPositions, type Period, type VehicleId } from '../api/client';
import type { Completeness, Row } from '../api/types';
import { signedOut } from '../session';
import { toTrackPoints, type TrackPoint } from './maths';

export interface TrackState {
  status: 'idle' | 'loading' | 'ready' | 'failed';
  reason: string;
  points: readonly TrackPoint[];
  /** Whether the period holds more than is shown. */
  capped: boolean;
  period: Period;
  completeness: Completeness | null;
  completenessReason: string | null;
}

const EMPTY: TrackState = {
  status: 'idle', reason: '', points: [], capped: false, period: { from: null, to: null },
  completeness: null, completenessReason: null,
};

export const useTrack = create<TrackState>()(() => EMPTY);

const PAGE = 10_000;
/** More points than a screen can show, and about what a phone can hold. */
export const MOST_POINTS = 60_000;
const REFRESH_MS = 3_000;
const COMPLETENESS_EVERY = 3;

/** Loads now and refreshes until the returned function is called. `changed` says whether the vehicle has reported since. */
export function watchTrack(id: VehicleId, period: Period, changed: () => boolean): () => void {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let round = 0;
  let lastTime: string | null = null;
  useTrack.setState({ ...EMPTY, status: 'loading', period });

  const loadPages = async (from: Period) => {
    let cursor: string | null = null;
    do {
      const page = await getPositions(id, from, cursor, PAGE, abort.signal);
      append(page.positions);
      cursor = page.next_cursor;
      const { points } = useTrack.getState();
      if (cursor !== null && points.length >= MOST_POINTS) {
        useTrack.setState({ capped: true });
        return;
      }
    } while (cursor !== null);
  };
  const append = (rows: readonly Row[]) => {
    lastTime = rows.at(-1)?.time ?? lastTime;
    if (rows.length === 0) return;
    useTrack.setState((state) => ({ points: [...state.points, ...toTrackPoints(rows)] }));
  };
  const loadCompleteness = async () => {
    try {
      const completeness = await getCompleteness(id, period, abort.signal);
      useTrack.setState({ completeness, completenessReason: null });
    } catch (error) {
      if (!abort.signal.aborted) useTrack.setState({ completenessReason: reasonOf(error) });
    }
  };
  const refresh = async () => {
    timer = setTimeout(() => { void refresh(); }, REFRESH_MS);
    const { capped } = useTrack.getState();
    if (document.visibilityState === 'hidden' || capped || period.to !== null || !changed()) return;
    round += 1;
    // The newest fix that is shown was the last of its millisecond: from the next one on.
    const from = lastTime === null ? period.from : new Date(Date.parse(lastTime) + 1);
    await loadPages({ from, to: null }).catch(() => undefined);
    if (round % COMPLETENESS_EVERY === 0) await loadCompleteness();
  };

  void loadPages(period).then(
    () => {
      useTrack.setState({ status: 'ready' });
      timer = setTimeout(() => { void refresh(); }, REFRESH_MS);
    },
    (error: unknown) => {
      if (!abort.signal.aborted) useTrack.setState({ status: 'failed', reason: reasonOf(error) });
    },
  );
  void loadCompleteness();
  return () => {
    abort.abort();
    clearTimeout(timer);
    useTrack.setState(EMPTY);
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof ApiError && error.status === 401) signedOut();
  return error instanceof Error ? error.message : String(error);
}

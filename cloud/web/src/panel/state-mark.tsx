import type { VehicleState } from '../live/state';

/** The same shape and colour as on the map. An arrow points along the course. */
export function StateMark({ state, course }: { state: VehicleState; course?: number | null }) {
  return (
    <svg className={`mark mark-${state}`} width="18" height="18" viewBox="-10 -10 20 20" aria-hidden="true">
      {state === 'moving' && <path d="M0-8 6 7 0 4-6 7z" transform={`rotate(${(course ?? 0).toFixed(0)})`} fill="currentColor" />}
      {state === 'stopped' && <circle r="5" fill="currentColor" />}
      {state === 'no-fix' && <circle r="4" fill="none" stroke="currentColor" strokeWidth="2.6" />}
      {state === 'silent' && <circle r="3.6" fill="none" stroke="currentColor" strokeWidth="2" />}
    </svg>
  );
}

// Which part of the past is asked for.

import type { Period } from '../api/client';

export type PeriodChoice =
  /** This long, up to the newest fix. */
  | { kind: 'last'; hours: number }
  | { kind: 'between'; from: Date; to: Date };

/** The period as the API takes it. A period up to the newest fix has no end: what comes next belongs to it. */
export function resolvePeriod(choice: PeriodChoice, newestFix: number | null, now: number): Period {
  if (choice.kind === 'between') return { from: choice.from, to: choice.to };
  return { from: new Date((newestFix ?? now) - choice.hours * 3_600_000), to: null };
}

// What the reader chose and what the page knows besides vehicles. Choices are kept in this browser only.

import { create } from 'zustand';
import type { Config } from '../api/types';
import { chooseLocale, type Locale } from '../i18n/locale';
import type { ConnectionState } from '../live/connection';
import type { VehicleState } from '../live/state';
import type { PeriodChoice } from '../track/period';

export type ThemeChoice = 'system' | 'light' | 'dark';

export interface UiState {
  connection: ConnectionState;
  config: Config | null;
  locale: Locale;
  theme: ThemeChoice;
  selected: string | null;
  hovered: string | null;
  follow: boolean;
  query: string;
  /** Show only these; empty: all. */
  states: readonly VehicleState[];
  period: PeriodChoice;
  /** Time in the track that the pointer on the chart is at, ms. */
  cursor: number | null;
}

export const useUi = create<UiState>()(() => ({
  connection: { kind: 'connecting' },
  config: null,
  locale: chooseLocale(recall('avl.locale'), navigator.languages),
  theme: themeChoice(recall('avl.theme')),
  selected: null,
  hovered: null,
  follow: false,
  query: '',
  states: [],
  period: { kind: 'last', hours: 1 },
  cursor: null,
}));

export function select(key: string | null): void {
  useUi.setState((state) => (state.selected === key ? state : { selected: key, follow: false, cursor: null }));
}

export function setLocale(locale: Locale): void {
  remember('avl.locale', locale);
  useUi.setState({ locale });
}

export function setTheme(theme: ThemeChoice): void {
  remember('avl.theme', theme);
  useUi.setState({ theme });
}

function themeChoice(stored: string | null): ThemeChoice {
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}

/** Storage may be switched off in the browser: then nothing is kept. */
function recall(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Kept until the page is closed.
  }
}

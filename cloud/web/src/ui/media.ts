import { useSyncExternalStore } from 'react';
import type { Theme } from '../map/palette';
import { useUi } from './store';

/** Follows a media query, such as the system's dark mode. */
export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (changed) => {
      const list = window.matchMedia(query);
      list.addEventListener('change', changed);
      return () => { list.removeEventListener('change', changed); };
    },
    () => window.matchMedia(query).matches,
  );
}

/** The chosen theme, or the system's. */
export function useTheme(): Theme {
  const choice = useUi((state) => state.theme);
  const systemDark = useMedia('(prefers-color-scheme: dark)');
  return choice === 'system' ? (systemDark ? 'dark' : 'light') : choice;
}

export const PHONE = '(max-width: 719px)';
export const LESS_MOTION = '(prefers-reduced-motion: reduce)';

// The colours of the map, one set for light and one for dark. Those of vehicles differ in lightness as well as in hue,
// and each state has its own shape, so that nobody needs to tell green from red.

import type { VehicleState } from '../live/state';

export type Theme = 'light' | 'dark';

export interface Palette {
  water: string;
  land: string;
  coast: string;
  border: string;
  graticule: string;
  label: string;
  labelMinor: string;
  labelCountry: string;
  labelHalo: string;
  placeDot: string;
  vehicle: Record<VehicleState, string>;
  outline: string;
  selection: string;
  clusterFace: string;
  clusterText: string;
  trackCasing: string;
  /** Slow to fast. */
  track: readonly [string, string, string, string, string];
}

export const PALETTES: Record<Theme, Palette> = {
  light: {
    water: '#c9dbe6',
    land: '#f6f4ee',
    coast: '#8fafc1',
    border: '#b9b0a2',
    graticule: '#8a97a3',
    label: '#3d4752',
    labelMinor: '#6a7580',
    labelCountry: '#8a8172',
    labelHalo: '#f9f8f4',
    placeDot: '#7a858f',
    vehicle: { moving: '#078a5f', stopped: '#3565d4', 'no-fix': '#cf2f3c', silent: '#737d87' },
    outline: '#ffffff',
    selection: '#111827',
    clusterFace: '#ffffff',
    clusterText: '#1c2530',
    trackCasing: '#ffffff',
    track: ['#3b4cc0', '#3f8fd0', '#2ca58d', '#e29a2b', '#d1432f'],
  },
  dark: {
    water: '#0c1118',
    land: '#1a212b',
    coast: '#3b4d60',
    border: '#3d4651',
    graticule: '#6b7b8c',
    label: '#c3ccd6',
    labelMinor: '#8c98a5',
    labelCountry: '#7b8794',
    labelHalo: '#141a22',
    placeDot: '#76828f',
    vehicle: { moving: '#34d399', stopped: '#7aa2ff', 'no-fix': '#ff6b74', silent: '#9aa5b1' },
    outline: '#0d1219',
    selection: '#f8fafc',
    clusterFace: '#1e2732',
    clusterText: '#f1f5f9',
    trackCasing: '#0d1219',
    track: ['#7f8cff', '#58b4ff', '#3fd6b4', '#ffc15a', '#ff7f66'],
  },
};

/** `#rrggbb` as three numbers in 0..1. */
export function rgb(colour: string): [number, number, number] {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}

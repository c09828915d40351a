// What a fix says of itself beside its place: what only some gateways send is shown where it is there.

import type { Fix } from '../api/types';
import type { Texts } from '../i18n/use-text';

/** `14 of 21`: used, of those in view. */
export function satellitesText(fix: Fix, { t, f }: Pick<Texts, 't' | 'f'>): string {
  const used = fix.satellites === null ? '–' : f.integer(fix.satellites);
  return fix.satellites_in_view == null ? used : t('vehicle.satellites-of', { used, seen: f.integer(fix.satellites_in_view) });
}

/** Name and value of the dilutions that are known, horizontal first. */
export function dilutions(fix: Fix, f: Texts['f']): { name: string; value: string } {
  const known = ([['HDOP', fix.hdop], ['VDOP', fix.vdop], ['PDOP', fix.pdop]] as const)
    .flatMap(([name, value]) => (value == null ? [] : [{ name, value: f.decimal(value) }]));
  return known.length === 0
    ? { name: 'HDOP', value: '–' }
    : { name: known.map(({ name }) => name).join(' / '), value: known.map(({ value }) => value).join(' / ') };
}

/** `2D` or `3D`; empty where there is nothing to say. */
export function modeText(fix: Fix): string {
  return fix.fix_mode == null || fix.fix_mode === 'none' ? '' : fix.fix_mode.toUpperCase();
}

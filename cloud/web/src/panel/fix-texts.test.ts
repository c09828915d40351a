import { expect, test } from 'vitest';
import type { Fix } from '../api/types';
import { Formats } from '../i18n/format';
import { translate } from '../i18n/translate';
import type { Texts } from '../i18n/use-text';
import { dilutions, modeText, satellitesText } from './fix-texts';

const fix: Fix = {
  time: null, lat: 1, lon: 2, alt_m: null, speed_mps: 5, course_deg: 0, hdop: 0.8, satellites: 14, quality: 'gps', verdict: 'ok',
};
const texts = (locale: 'en' | 'es'): Texts => ({
  locale, t: (key, values, count) => translate(locale, key, values, count), f: new Formats(locale),
});

test('what only some gateways send is shown where it is there', () => {
  const full: Fix = { ...fix, satellites_in_view: 21, vdop: 1.15, pdop: 1.4, fix_mode: '3d' };
  expect(satellitesText(full, texts('en'))).toBe('14 of 21');
  expect(satellitesText(full, texts('es'))).toBe('14 de 21');
  expect(dilutions(full, texts('en').f)).toEqual({ name: 'HDOP / VDOP / PDOP', value: '0.8 / 1.2 / 1.4' });
  expect(modeText(full)).toBe('3D');
});

test('of other gateways the panel shows what it always did', () => {
  for (const bare of [fix, { ...fix, satellites_in_view: null, vdop: null, pdop: null, fix_mode: null }]) {
    expect(satellitesText(bare, texts('en'))).toBe('14');
    expect(dilutions(bare, texts('en').f)).toEqual({ name: 'HDOP', value: '0.8' });
    expect(modeText(bare)).toBe('');
  }
  expect(dilutions({ ...fix, hdop: null }, texts('en').f)).toEqual({ name: 'HDOP', value: '–' });
  expect(modeText({ ...fix, fix_mode: 'none' })).toBe('');
});

import { expect, test } from 'vitest';
import { en } from './en';
import { es } from './es';
import { compassPoint, Formats } from './format';
import { chooseLocale, formattingLocale } from './locale';
import { translate, type TextKey } from './translate';

test('both languages fill in the same values', () => {
  const names = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  for (const key of Object.keys(en) as TextKey[]) {
    const distinct = (text: string) => [...new Set(names(text))];
    expect(distinct(es[key]), key).toEqual(distinct(en[key]));
    expect(es[key].split('|').length, key).toBe(en[key].split('|').length);
  }
});

test('the form follows the number', () => {
  expect(translate('en', 'list.count', { n: 1 }, 1)).toBe('1 vehicle');
  expect(translate('en', 'list.count', { n: 0 }, 0)).toBe('0 vehicles');
  expect(translate('es', 'complete.missing', { n: 3 }, 3)).toBe('faltan 3 posiciones');
});

test('a value that is not given stays visible instead of vanishing', () => {
  expect(translate('en', 'map.failed')).toContain('{reason}');
});

test('the stored language wins, then the browser, then English', () => {
  expect(chooseLocale('es', ['en'])).toBe('es');
  expect(chooseLocale(null, ['fr-FR', 'es-MX', 'en'])).toBe('es');
  expect(chooseLocale('xx', ['fr'])).toBe('en');
  expect(formattingLocale('es', ['en-US', 'es-MX'])).toBe('es-MX');
  expect(formattingLocale('es', ['en-US'])).toBe('es-ES');
});

test('times are in the zone of the reader', () => {
  const noon = Date.parse('2026-07-01T12:00:00Z');
  expect(new Formats('en-GB', 'Europe/Madrid').time(noon)).toBe('14:00');
  expect(new Formats('en-GB', 'Asia/Kolkata').time(noon)).toBe('17:30');
});

test('speeds, distances and ages as the reader writes them', () => {
  const es_ = new Formats('es-ES', 'UTC');
  expect(es_.speed(27.5)).toBe('99 km/h');
  expect(es_.distance(950)).toBe('950 m');
  expect(es_.distance(12_340)).toBe('12,3 km');
  const en_ = new Formats('en-GB', 'UTC');
  expect(en_.age(5_000)).toMatch(/^5 sec/);
  expect(en_.age(-3_000)).toMatch(/^0 sec/);
  expect(en_.age(10 * 60_000)).toMatch(/^10 min/);
  expect(en_.age(3 * 86_400_000)).toMatch(/^3 days/);
});

test('compass points in both languages', () => {
  expect(compassPoint(315, 'en')).toBe('NW');
  expect(compassPoint(315, 'es')).toBe('NO');
  expect(compassPoint(359, 'en')).toBe('N');
});

// Texts by key. A key that is missing in a language does not compile.

import { en } from './en';
import { es } from './es';
import type { Locale } from './locale';

export type TextKey = keyof typeof en;
export type Dictionary = Record<TextKey, string>;
export type Values = Record<string, string | number>;

const DICTIONARIES: Record<Locale, Dictionary> = { en, es };

/** The text, with `{name}` filled in; with a `count`, in the form that the language has for that number. */
export function translate(locale: Locale, key: TextKey, values: Values = {}, count?: number): string {
  const forms = DICTIONARIES[locale][key].split('|');
  const one = count !== undefined && new Intl.PluralRules(locale).select(count) === 'one';
  const form = (one ? forms[0] : forms.at(-1)) ?? key;
  return form.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export function isTextKey(key: string): key is TextKey {
  return Object.hasOwn(en, key);
}

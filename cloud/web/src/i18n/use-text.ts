import { useMemo } from 'react';
import { useUi } from '../ui/store';
import { Formats } from './format';
import { formattingLocale, type Locale } from './locale';
import { translate, type TextKey, type Values } from './translate';

export interface Texts {
  locale: Locale;
  t: (key: TextKey, values?: Values, count?: number) => string;
  f: Formats;
}

/** Texts and formats in the reader's language. */
export function useTexts(): Texts {
  const locale = useUi((state) => state.locale);
  return useMemo(
    () => ({
      locale,
      t: (key, values, count) => translate(locale, key, values, count),
      f: new Formats(formattingLocale(locale, navigator.languages)),
    }),
    [locale],
  );
}

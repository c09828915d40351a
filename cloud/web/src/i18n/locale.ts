export type Locale = 'en' | 'es';

/** The stored choice, else the first of the browser's languages that this page speaks, else English. */
export function chooseLocale(stored: string | null, languages: readonly string[]): Locale {
  if (stored === 'en' || stored === 'es') return stored;
  for (const language of languages) {
    const primary = language.toLowerCase().split('-')[0];
    if (primary === 'en' || primary === 'es') return primary;
  }
  return 'en';
}

/** The reader's own variety of the language, for dates and numbers: `es-MX` rather than `es`. */
export function formattingLocale(locale: Locale, languages: readonly string[]): string {
  return languages.find((language) => language.toLowerCase().split('-')[0] === locale) ?? (locale === 'es' ? 'es-ES' : 'en-GB');
}

import { useTexts } from '../i18n/use-text';
import { Icon } from '../ui/icon';
import { setLocale, setTheme, useUi, type ThemeChoice } from '../ui/store';
import { ConnectionMark } from './connection-mark';

const NEXT_THEME: Record<ThemeChoice, ThemeChoice> = { system: 'light', light: 'dark', dark: 'system' };
const THEME_ICON = { system: 'system', light: 'sun', dark: 'moon' } as const;

export function Header({ floating = false }: { floating?: boolean }) {
  const { t, locale } = useTexts();
  const theme = useUi((state) => state.theme);
  const themeText = `${t('theme.label')}: ${t(`theme.${theme}`)}`;
  return (
    <header className={floating ? 'header header-floating' : 'header'}>
      <span className="logo" aria-hidden="true" />
      <h1>AVL</h1>
      <ConnectionMark />
      <span className="spring" />
      <button type="button" className="icon-button" title={themeText} aria-label={themeText} onClick={() => { setTheme(NEXT_THEME[theme]); }}>
        <Icon name={THEME_ICON[theme]} />
      </button>
      <button
        type="button" className="icon-button language" lang={locale === 'en' ? 'es' : 'en'}
        title={t('locale.switch')} aria-label={t('locale.switch')}
        onClick={() => { setLocale(locale === 'en' ? 'es' : 'en'); }}
      >
        {locale === 'en' ? 'ES' : 'EN'}
      </button>
    </header>
  );
}

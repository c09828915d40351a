import { useEffect, useMemo, useState } from 'react';
import { useTexts } from './i18n/use-text';
import { MapView } from './map/map-view';
import { useFleetList } from './panel/fleet-list';
import { Panel } from './panel/panel';
import { SignIn } from './sign-in';
import { PHONE, useMedia, useTheme } from './ui/media';
import { useUi } from './ui/store';

/** Width of the panel with its margins, as panel.css has it. */
const PANEL_PX = 392;
const GAP_PX = 12;

export function App() {
  const { t, locale } = useTexts();
  const theme = useTheme();
  const phone = useMedia(PHONE);
  const signedOut = useUi((state) => state.connection.kind === 'signed-out');
  const [sheetPx, setSheetPx] = useState(0);
  const list = useFleetList();

  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    document.documentElement.lang = locale;
    document.title = `${t('app.title')} · AVL`;
  }, [theme, locale, t]);

  const padding = useMemo(
    () =>
      phone
        ? { top: 0, right: 0, bottom: Math.min(sheetPx, window.innerHeight * 0.6), left: 0 }
        : { top: 0, right: 0, bottom: 0, left: PANEL_PX + GAP_PX },
    [phone, sheetPx],
  );

  if (signedOut) return <SignIn />;
  return (
    <>
      <MapView padding={padding} filter={list.filter} />
      <Panel list={list} phone={phone} onHeight={setSheetPx} />
    </>
  );
}

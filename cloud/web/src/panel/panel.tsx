// The panel beside the map: list or one vehicle. On a phone it is a sheet that is drawn up from the bottom.

import { useUi } from '../ui/store';
import { useTexts } from '../i18n/use-text';
import type { FleetList } from './filter-fleet';
import { Header } from './header';
import { Sheet } from './sheet';
import { VehicleList } from './vehicle-list';
import { VehicleDetail } from './vehicle-detail';

export interface PanelProps {
  list: FleetList;
  phone: boolean;
  onHeight: (px: number) => void;
}

export function Panel({ list, phone, onHeight }: PanelProps) {
  const { t } = useTexts();
  const selected = useUi((state) => state.selected);
  const content = selected === null ? <VehicleList list={list} /> : <VehicleDetail key={selected} id={selected} />;
  if (phone) {
    return (
      <>
        <Header floating />
        <Sheet label={t('app.panel')} onHeight={onHeight} raised={selected !== null}>{content}</Sheet>
      </>
    );
  }
  return (
    <aside className="panel" aria-label={t('app.panel')}>
      <Header />
      {content}
    </aside>
  );
}

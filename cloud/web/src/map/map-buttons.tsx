import { useEffect, useState } from 'react';
import { useTexts } from '../i18n/use-text';
import { Icon } from '../ui/icon';
import { LESS_MOTION, useMedia } from '../ui/media';
import type { FleetMap } from './fleet-map';

export function MapButtons({ fleetMap }: { fleetMap: FleetMap }) {
  const { t } = useTexts();
  const calm = useMedia(LESS_MOTION);
  const [bearing, setBearing] = useState(fleetMap.map.getBearing());
  const { map } = fleetMap;
  useEffect(() => {
    const turned = () => { setBearing(map.getBearing()); };
    map.on('rotate', turned);
    return () => { map.off('rotate', turned); };
  }, [map]);
  const animate = !calm;
  return (
    <div className="map-buttons">
      <button type="button" title={t('map.fit')} aria-label={t('map.fit')} onClick={() => { fleetMap.fitAll(animate); }}>
        <Icon name="fit" />
      </button>
      <button type="button" title={t('map.zoom-in')} aria-label={t('map.zoom-in')} onClick={() => { map.zoomIn({ animate }); }}>
        <Icon name="plus" />
      </button>
      <button type="button" title={t('map.zoom-out')} aria-label={t('map.zoom-out')} onClick={() => { map.zoomOut({ animate }); }}>
        <Icon name="minus" />
      </button>
      {Math.abs(bearing) > 0.5 && (
        <button type="button" title={t('map.north')} aria-label={t('map.north')} onClick={() => { map.rotateTo(0, { animate }); }}>
          <span style={{ display: 'grid', transform: `rotate(${(-bearing).toFixed(0)}deg)` }}><Icon name="north" /></span>
        </button>
      )}
    </div>
  );
}

import { useMemo } from 'react';
import { downloadUrl } from '../api/client';
import { useTexts } from '../i18n/use-text';
import { MOST_POINTS, useTrack } from '../track/load';
import { drivenMetres } from '../track/maths';
import { Icon } from '../ui/icon';
import { useUi } from '../ui/store';
import { CompletenessLine } from './completeness-line';
import { PeriodPicker } from './period-picker';
import { SpeedChart } from './speed-chart';

export function TrackSection({ fleetId, vehicleId }: { fleetId: string; vehicleId: string }) {
  const { t, f } = useTexts();
  const { status, reason, points, capped, period } = useTrack();
  const driven = useMemo(() => drivenMetres(points), [points]);
  const highest = useMemo(() => points.reduce((top, point) => (point.trusted ? Math.max(top, point.speedMps ?? 0) : top), 0), [points]);
  const id = { fleet: fleetId, vehicle: vehicleId };
  const first = points[0];
  const last = points.at(-1);
  return (
    <div className="track">
      <h3>{t('track.title')}</h3>
      <PeriodPicker />
      {status === 'failed' && (
        <p className="problem" role="alert">
          {t('track.failed', { reason })}{' '}
          <button type="button" className="link" onClick={() => { useUi.setState((ui) => ({ period: { ...ui.period } })); }}>{t('track.retry')}</button>
        </p>
      )}
      {first && last ? (
        <>
          <SpeedChart points={points} from={first.time} to={last.time} highest={highest} />
          <p className="track-sums quiet">
            {t('track.distance', { distance: f.distance(driven) })} · {t('track.highest', { speed: f.speed(highest) })} · {t('track.fixes', { n: f.integer(points.length) }, points.length)}
          </p>
        </>
      ) : (
        <div className="chart-empty quiet">{status === 'loading' ? t('track.loading') : status === 'ready' ? t('track.none') : ''}</div>
      )}
      {capped && <p className="quiet">{t('track.capped', { n: f.integer(MOST_POINTS) })}</p>}
      <CompletenessLine />
      <div className="downloads">
        {(['csv', 'gpx'] as const).map((format) => (
          <a key={format} className="button" href={downloadUrl(id, period, format)} download={`${vehicleId}.${format}`} aria-label={t(`download.${format}`)} title={t(`download.${format}`)}>
            <Icon name="download" size={16} />{format.toUpperCase()}
          </a>
        ))}
      </div>
    </div>
  );
}

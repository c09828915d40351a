// One vehicle: what it does now, where it has been, whether its data is complete.

import { useEffect } from 'react';
import { compassPoint } from '../i18n/format';
import { isTextKey } from '../i18n/translate';
import { useTexts, type Texts } from '../i18n/use-text';
import type { Vehicle } from '../live/fleet';
import { vehicleState } from '../live/state';
import { fleet } from '../session';
import { watchTrack } from '../track/load';
import { resolvePeriod } from '../track/period';
import { Icon } from '../ui/icon';
import { select, useUi } from '../ui/store';
import { dilutions, modeText, satellitesText } from './fix-texts';
import { useFleetTick } from './fleet-list';
import { requestShow } from './show-request';
import { StateMark } from './state-mark';
import { TrackSection } from './track-section';

export function VehicleDetail({ id }: { id: string }) {
  const texts = useTexts();
  const { t } = texts;
  useFleetTick();
  const vehicle = fleet.vehicles.get(id);
  const known = vehicle !== undefined;
  useTrackOf(id, known);

  useEffect(() => {
    const leave = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLInputElement;
      if (event.key === 'Escape' && !typing) select(null);
    };
    window.addEventListener('keydown', leave);
    return () => { window.removeEventListener('keydown', leave); };
  }, []);

  const state = vehicle ? vehicleState(vehicle.fix, vehicle.heardAt, fleet.serverNow()) : 'silent';
  return (
    <section className="detail" aria-label={id}>
      <div className="detail-head">
        <button type="button" className="icon-button" title={t('vehicle.back')} aria-label={t('vehicle.back')} onClick={() => { select(null); }}>
          <Icon name="back" />
        </button>
        <div className="detail-name">
          <h2>{vehicle?.name ?? id}</h2>
          <p className="quiet">{vehicle?.fleet}</p>
        </div>
        <span className={`badge badge-${state}`}><StateMark state={state} course={vehicle?.fix.course_deg ?? null} />{t(`state.${state}`)}</span>
      </div>
      <div className="detail-body">
        {vehicle ? <Now vehicle={vehicle} texts={texts} /> : <p className="quiet">{t('vehicle.unknown')}</p>}
        {vehicle && <TrackSection fleetId={vehicle.fleet} vehicleId={vehicle.name} />}
      </div>
    </section>
  );
}

/** The track follows the choice of vehicle and period, and grows while the vehicle reports. */
function useTrackOf(key: string, known: boolean): void {
  const period = useUi((state) => state.period);
  useEffect(() => {
    const vehicle = fleet.vehicles.get(key);
    if (!known || !vehicle) return;
    let seen = vehicle.fixTime;
    const changed = () => {
      const latest = fleet.vehicles.get(key)?.fixTime ?? null;
      const news = latest !== seen;
      seen = latest;
      return news;
    };
    return watchTrack({ fleet: vehicle.fleet, vehicle: vehicle.name }, resolvePeriod(period, vehicle.fixTime, fleet.serverNow()), changed);
  }, [key, known, period]);
}

function Now({ vehicle, texts: { t, f, locale } }: { vehicle: Vehicle; texts: Texts }) {
  const { fix, fixTime } = vehicle;
  const follow = useUi((state) => state.follow);
  const now = fleet.serverNow();
  const dash = '–';
  return (
    <>
      <div className="now">
        <p className="speed"><strong>{fix.speed_mps === null ? dash : f.speedNumber(fix.speed_mps)}</strong> km/h</p>
        <div className="now-actions">
          <button
            type="button" className="button" aria-pressed={follow}
            onClick={() => { requestShow(vehicle.key); useUi.setState({ follow: !follow }); }}
          >
            <Icon name="follow" size={16} />{t(follow ? 'vehicle.following' : 'vehicle.follow')}
          </button>
          <button type="button" className="icon-button bordered" title={t('vehicle.locate')} aria-label={t('vehicle.locate')} onClick={() => { requestShow(vehicle.key); }}>
            <Icon name="locate" />
          </button>
        </div>
      </div>
      <p className="last-fix">
        {fixTime === null ? t('vehicle.no-time') : <time dateTime={new Date(fixTime).toISOString()}>{f.full(fixTime)}</time>}
        <span className="quiet"> · {t('vehicle.heard', { age: f.age(now - vehicle.heardAt) })}</span>
      </p>
      <dl className="facts">
        <Fact name={t('vehicle.course')} value={fix.course_deg === null ? dash : `${f.integer(fix.course_deg)}° ${compassPoint(fix.course_deg, locale)}`} />
        <Fact name={t('vehicle.altitude')} value={fix.alt_m === null ? dash : `${f.integer(fix.alt_m)} m`} />
        <Fact name={t('vehicle.satellites')} value={satellitesText(fix, { t, f })} />
        <Fact {...dilutions(fix, f)} />
        <Fact name={t('vehicle.quality')} value={`${named(t, 'quality', fix.quality)} ${modeText(fix)}`.trim()} />
        <Fact name={t('vehicle.verdict')} value={verdictText(t, fix.verdict)} doubt={fix.verdict !== 'ok'} />
        {fix.odometer_m != null && <Fact name={t('vehicle.odometer')} value={f.distance(fix.odometer_m)} />}
        <Fact name={t('vehicle.position')} value={fix.lat === null || fix.lon === null ? dash : `${fix.lat.toFixed(6)}, ${fix.lon.toFixed(6)}`} wide />
      </dl>
    </>
  );
}

function Fact({ name, value, doubt = false, wide = false }: { name: string; value: string; doubt?: boolean; wide?: boolean }) {
  return (
    <div className={wide ? 'fact fact-wide' : 'fact'}>
      <dt>{name}</dt>
      <dd className={doubt ? 'doubt' : undefined}>{value}</dd>
    </div>
  );
}

/** A name that this page does not know is shown as the server wrote it. */
function named(t: Texts['t'], group: 'quality' | 'verdict', name: string): string {
  const key = `${group}.${name}`;
  return isTextKey(key) ? t(key) : name;
}

function verdictText(t: Texts['t'], verdict: string): string {
  return verdict.split(',').map((name) => named(t, 'verdict', name)).join(', ');
}

// Which part of the past is shown. Dates are typed in the reader's own zone, which is named.

import { useId, useState } from 'react';
import { useTexts } from '../i18n/use-text';
import { fleet } from '../session';
import { useTrack } from '../track/load';
import type { PeriodChoice } from '../track/period';
import { useUi } from '../ui/store';

const HOURS = [1, 6, 24, 168] as const;

export function PeriodPicker() {
  const { t } = useTexts();
  const period = useUi((state) => state.period);
  const [custom, setCustom] = useState(period.kind === 'between');
  const choose = (choice: PeriodChoice) => { useUi.setState({ period: choice, cursor: null }); };
  return (
    <>
      <div className="segments" role="group" aria-label={t('period.label')}>
        {HOURS.map((hours) => (
          <button
            key={hours} type="button" aria-pressed={!custom && period.kind === 'last' && period.hours === hours}
            onClick={() => { setCustom(false); choose({ kind: 'last', hours }); }}
          >
            {hours < 48 ? t('period.hours', { n: hours }) : t('period.days', { n: hours / 24 })}
          </button>
        ))}
        <button type="button" aria-pressed={custom} aria-expanded={custom} onClick={() => { setCustom(true); }}>{t('period.custom')}</button>
      </div>
      {custom && <Between choose={choose} />}
    </>
  );
}

function Between({ choose }: { choose: (choice: PeriodChoice) => void }) {
  const { t, f } = useTexts();
  const period = useUi((state) => state.period);
  const shown = useTrack((state) => state.period);
  const end = period.kind === 'between' ? period.to : (shown.to ?? new Date(fleet.serverNow()));
  const [from, setFrom] = useState(() => toInput(shown.from ?? new Date(end.getTime() - 3_600_000)));
  const [to, setTo] = useState(() => toInput(end));
  const [wrong, setWrong] = useState(false);
  const ids = useId();
  const apply = (fromText: string, toText: string) => {
    const start = new Date(fromText);
    const stop = new Date(toText);
    const valid = start.getTime() < stop.getTime();
    setWrong(!valid);
    if (valid) choose({ kind: 'between', from: start, to: stop });
  };
  return (
    <div className="between">
      <label htmlFor={`${ids}from`}>{t('period.from')}</label>
      <input id={`${ids}from`} type="datetime-local" value={from} aria-invalid={wrong} onChange={(event) => { setFrom(event.target.value); apply(event.target.value, to); }} />
      <label htmlFor={`${ids}to`}>{t('period.to')}</label>
      <input id={`${ids}to`} type="datetime-local" value={to} aria-invalid={wrong} onChange={(event) => { setTo(event.target.value); apply(from, event.target.value); }} />
      <p className={wrong ? 'problem' : 'quiet'} role={wrong ? 'alert' : undefined}>{wrong ? t('period.invalid') : t('period.zone', { zone: f.zoneName() })}</p>
    </div>
  );
}

/** Local time as `datetime-local` wants it, to the minute. */
function toInput(date: Date): string {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}

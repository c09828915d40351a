// Speed over time. Pointing at it shows the place on the map; arrow keys do the same.

import { useMemo } from 'react';
import { useTexts } from '../i18n/use-text';
import { chartTopKmh, nearestInTime, speedBins, type SpeedBin, type TrackPoint } from '../track/maths';
import { useUi } from '../ui/store';

const WIDTH = 344;
const HEIGHT = 104;
const TOP = 8;
const BOTTOM = 18;
const LEFT = 28;
const PLOT = WIDTH - LEFT;
/** Two pixels a bin. */
const BINS = PLOT / 2;

export interface SpeedChartProps {
  /** In order of time. */
  points: readonly TrackPoint[];
  from: number;
  to: number;
  /** m/s */
  highest: number;
}

export function SpeedChart({ points, from, to, highest }: SpeedChartProps) {
  const { t, f } = useTexts();
  const cursor = useUi((state) => state.cursor);
  const top = chartTopKmh(highest);
  const bins = useMemo(() => speedBins(points, from, to, BINS), [points, from, to]);
  const x = (time: number) => LEFT + (to > from ? ((time - from) / (to - from)) * PLOT : 0);
  const y = (mps: number) => HEIGHT - BOTTOM - ((mps * 3.6) / top) * (HEIGHT - TOP - BOTTOM);
  const base = HEIGHT - BOTTOM;
  const runs = splitRuns(bins, Math.max(2, Math.ceil((90_000 / Math.max(1, to - from)) * BINS)));
  const at = cursor === null ? null : nearestInTime(points, cursor);

  const move = (time: number) => { useUi.setState({ cursor: Math.max(from, Math.min(to, time)) }); };
  const step = (to - from) / 60;
  const keys: Record<string, () => void> = {
    ArrowLeft: () => { move((cursor ?? to) - step); },
    ArrowRight: () => { move((cursor ?? from) + step); },
    Home: () => { move(from); },
    End: () => { move(to); },
    Escape: () => { useUi.setState({ cursor: null }); },
  };
  return (
    <div className="chart">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="slider" tabIndex={0}
        aria-label={t('track.chart', { from: f.time(from), to: f.time(to), speed: f.speed(highest) })}
        aria-valuemin={from} aria-valuemax={to} aria-valuenow={at?.time ?? to}
        aria-valuetext={at ? `${f.timeWithSeconds(at.time)}, ${at.speedMps === null ? '–' : f.speed(at.speedMps)}` : f.time(to)}
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          move(from + (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / PLOT * (to - from));
        }}
        onPointerLeave={() => { useUi.setState({ cursor: null }); }}
        onBlur={() => { useUi.setState({ cursor: null }); }}
        onKeyDown={(event) => {
          const act = keys[event.key];
          if (!act) return;
          event.preventDefault();
          event.stopPropagation();
          act();
        }}
      >
        {[0, 0.5, 1].map((part) => (
          <g key={part}>
            <line className="chart-grid" x1={LEFT} x2={WIDTH} y1={y((part * top) / 3.6)} y2={y((part * top) / 3.6)} />
            <text className="chart-text" x={LEFT - 5} y={y((part * top) / 3.6) + 3} textAnchor="end">{f.integer(part * top)}</text>
          </g>
        ))}
        {runs.map((run) => {
          const line = run.map((bin) => `${x(bin.time).toFixed(1)},${y(bin.mps ?? 0).toFixed(1)}`);
          const first = run[0];
          const last = run.at(-1);
          if (!first || !last) return null;
          return (
            <g key={first.time}>
              <polygon className="chart-area" points={[`${x(first.time).toFixed(1)},${base}`, ...line, `${x(last.time).toFixed(1)},${base}`].join(' ')} />
              <polyline className="chart-line" points={line.join(' ')} />
            </g>
          );
        })}
        <text className="chart-text" x={LEFT} y={HEIGHT - 4}>{f.time(from)}</text>
        <text className="chart-text" x={WIDTH} y={HEIGHT - 4} textAnchor="end">{f.time(to)}</text>
        {at && (
          <g>
            <line className="chart-cursor" x1={x(at.time)} x2={x(at.time)} y1={TOP} y2={base} />
            <circle className="chart-dot" cx={x(at.time)} cy={y(at.speedMps ?? 0)} r="4" />
          </g>
        )}
      </svg>
      <p className="chart-readout" aria-hidden="true">
        {at ? `${f.timeWithSeconds(at.time)}  ·  ${at.speedMps === null ? '–' : f.speed(at.speedMps)}` : ' '}
      </p>
    </div>
  );
}

/** Parts of the curve without a pause of more than `mostEmpty` bins; empty bins within a part are stepped over. */
function splitRuns(bins: readonly SpeedBin[], mostEmpty: number): SpeedBin[][] {
  const runs: SpeedBin[][] = [];
  let current: SpeedBin[] = [];
  let empty = 0;
  for (const bin of bins) {
    if (bin.mps === null) {
      empty += 1;
      continue;
    }
    if (empty > mostEmpty && current.length > 0) {
      runs.push(current);
      current = [];
    }
    empty = 0;
    current.push(bin);
  }
  if (current.length > 0) runs.push(current);
  return runs;
}

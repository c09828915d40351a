// Search, filters by state, and the vehicles. Only the rows in view exist: ten thousand scroll like ten.

import { useEffect, useRef, useState } from 'react';
import { useTexts } from '../i18n/use-text';
import { STATES, type VehicleState } from '../live/state';
import { fleet } from '../session';
import { Icon } from '../ui/icon';
import { select, useUi } from '../ui/store';
import type { FleetList } from './filter-fleet';
import { StateMark } from './state-mark';
import { requestShow } from './show-request';

const ROW_PX = 56;
const OVERSCAN = 6;

export function VehicleList({ list }: { list: FleetList }) {
  const { t, f } = useTexts();
  const query = useUi((state) => state.query);
  return (
    <div className="list">
      <div className="search">
        <Icon name="search" />
        <input
          type="text" inputMode="search" value={query} placeholder={t('list.search')} aria-label={t('list.search')} spellCheck={false}
          onChange={(event) => { useUi.setState({ query: event.target.value }); }}
          onKeyDown={(event) => { if (event.key === 'Escape') useUi.setState({ query: '' }); }}
        />
        {query !== '' && (
          <button type="button" className="icon-button" aria-label={t('list.clear')} onClick={() => { useUi.setState({ query: '' }); }}>
            <Icon name="close" size={16} />
          </button>
        )}
      </div>
      <div className="chips">
        {STATES.map((state) => <StateChip key={state} state={state} count={list.counts[state]} />)}
      </div>
      <Rows list={list} />
      <p className="list-foot quiet" role="status">{t('list.count', { n: f.integer(list.rows.length) }, list.rows.length)}</p>
    </div>
  );
}

function StateChip({ state, count }: { state: VehicleState; count: number }) {
  const { t, f } = useTexts();
  const active = useUi((ui) => ui.states.includes(state));
  const name = t(`state.${state}`);
  const toggle = () => {
    useUi.setState((ui) => ({ states: active ? ui.states.filter((other) => other !== state) : [...ui.states, state] }));
  };
  return (
    <button type="button" className="chip" aria-pressed={active} aria-label={`${t('list.filter', { state: name })} (${f.integer(count)})`} onClick={toggle}>
      <span className="chip-count"><StateMark state={state} course={45} />{f.integer(count)}</span>
      <span className="chip-name">{name}</span>
    </button>
  );
}

function Rows({ list }: { list: FleetList }) {
  const { t } = useTexts();
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [active, setActive] = useState(0);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => { setHeight(element.clientHeight); });
    observer.observe(element);
    return () => { observer.disconnect(); };
  }, []);

  if (list.rows.length === 0) {
    return (
      <div className="list-empty">
        <p>{t(list.total === 0 ? 'list.empty' : 'list.none')}</p>
        {list.total === 0 && <p className="quiet">{t('list.empty.hint')}</p>}
      </div>
    );
  }
  const current = Math.min(active, list.rows.length - 1);
  const first = Math.max(0, Math.floor(top / ROW_PX) - OVERSCAN);
  const last = Math.min(list.rows.length, Math.ceil((top + height) / ROW_PX) + OVERSCAN);
  const open = (index: number) => {
    const row = list.rows[index];
    if (!row) return;
    select(row.vehicle.key);
    requestShow(row.vehicle.key);
  };
  const go = (index: number) => {
    const next = Math.max(0, Math.min(list.rows.length - 1, index));
    setActive(next);
    const element = box.current;
    if (!element) return;
    if (next * ROW_PX < element.scrollTop) element.scrollTop = next * ROW_PX;
    else if ((next + 1) * ROW_PX > element.scrollTop + element.clientHeight) element.scrollTop = (next + 1) * ROW_PX - element.clientHeight;
  };
  const page = Math.max(1, Math.floor(height / ROW_PX) - 1);
  const keys: Record<string, () => void> = {
    ArrowDown: () => { go(current + 1); },
    ArrowUp: () => { go(current - 1); },
    PageDown: () => { go(current + page); },
    PageUp: () => { go(current - page); },
    Home: () => { go(0); },
    End: () => { go(list.rows.length - 1); },
    Enter: () => { open(current); },
    ' ': () => { open(current); },
  };
  return (
    <div
      ref={box} className="rows" role="listbox" tabIndex={0} aria-label={t('list.label')} aria-activedescendant={`row-${current}`}
      onScroll={(event) => { setTop(event.currentTarget.scrollTop); }}
      onKeyDown={(event) => {
        const act = keys[event.key];
        if (!act) return;
        event.preventDefault();
        act();
      }}
    >
      <div style={{ height: list.rows.length * ROW_PX, position: 'relative' }}>
        {list.rows.slice(first, last).map((row, offset) => {
          const index = first + offset;
          return (
            <Row
              key={row.vehicle.key} row={row} index={index} total={list.rows.length} active={index === current}
              showFleet={list.severalFleets} onOpen={() => { setActive(index); open(index); }}
            />
          );
        })}
      </div>
    </div>
  );
}

interface RowProps {
  row: FleetList['rows'][number];
  index: number;
  total: number;
  active: boolean;
  showFleet: boolean;
  onOpen: () => void;
}

function Row({ row: { vehicle, state }, index, total, active, showFleet, onOpen }: RowProps) {
  const { t, f } = useTexts();
  const { speed_mps: speed, course_deg: course } = vehicle.fix;
  return (
    <div
      id={`row-${index}`} role="option" aria-selected={active} aria-posinset={index + 1} aria-setsize={total}
      className="row" style={{ transform: `translateY(${index * ROW_PX}px)`, height: ROW_PX }} onClick={onOpen}
      onPointerEnter={(event) => { if (event.pointerType === 'mouse') useUi.setState({ hovered: vehicle.key }); }}
      onPointerLeave={() => { useUi.setState({ hovered: null }); }}
    >
      <StateMark state={state} course={course} />
      <span className="row-text">
        <span className="row-name">{vehicle.name}</span>
        <span className="row-note">{showFleet ? `${vehicle.fleet} · ` : ''}{t(`state.${state}`)} · {f.age(fleet.serverNow() - vehicle.heardAt)}</span>
      </span>
      {state === 'moving' && speed !== null && <span className="row-speed">{f.speedNumber(speed)}<small> km/h</small></span>}
    </div>
  );
}

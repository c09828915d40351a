// The name and speed beside the selected vehicle and the one under the pointer. Placed after each frame, outside React.

import { useEffect, useRef } from 'react';
import { useTexts } from '../i18n/use-text';
import { useUi } from '../ui/store';
import type { FleetMap } from './fleet-map';

export function MapLabels({ fleetMap }: { fleetMap: FleetMap }) {
  const { f } = useTexts();
  const selected = useRef<HTMLDivElement>(null);
  const hovered = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const show = (label: HTMLDivElement | null, key: string | null) => {
      if (!label) return;
      const shown = key === null ? undefined : fleetMap.vehicles.scene.shown.find(({ vehicle }) => vehicle.key === key);
      label.hidden = shown === undefined;
      if (!shown) return;
      const { name, fix } = shown.vehicle;
      const text = fix.speed_mps === null ? name : `${name}  ${f.speed(fix.speed_mps)}`;
      if (label.textContent !== text) label.textContent = text;
      label.style.transform = `translate(${shown.px.toFixed(1)}px, ${shown.py.toFixed(1)}px) translate(-50%, -250%)`;
    };
    return fleetMap.onFrame(() => {
      const state = useUi.getState();
      show(selected.current, state.selected);
      show(hovered.current, state.hovered === state.selected ? null : state.hovered);
    });
  }, [fleetMap, f]);

  return (
    <div className="map-labels" aria-hidden="true">
      <div ref={hovered} className="map-label" hidden />
      <div ref={selected} className="map-label map-label-selected" hidden />
    </div>
  );
}

// The map as a part of the page: follows theme, language, selection and address.

import { useEffect, useRef, useState } from 'react';
import type { PaddingOptions } from 'maplibre-gl';
import { useTexts } from '../i18n/use-text';
import { fleet } from '../session';
import { useTrack } from '../track/load';
import { onShowRequest } from '../panel/show-request';
import { LESS_MOTION, useMedia, useTheme } from '../ui/media';
import { select, useUi } from '../ui/store';
import { exposeDebug } from './debug';
import { FleetMap } from './fleet-map';
import { readHash, writeHash } from './hash';
import { MapButtons } from './map-buttons';
import { MapLabels } from './map-labels';
import { showTrack, showTrackPoints } from './track-layer';

export interface MapViewProps {
  padding: PaddingOptions;
  /** Keys left by search and filters; `null`: all. */
  filter: ReadonlySet<string> | null;
}

export function MapView({ padding, filter }: MapViewProps) {
  const container = useRef<HTMLDivElement>(null);
  const [fleetMap, setFleetMap] = useState<FleetMap | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const { t, f } = useTexts();
  const theme = useTheme();
  const calm = useMedia(LESS_MOTION);
  const config = useUi((state) => state.config);
  const selected = useUi((state) => state.selected);
  const hovered = useUi((state) => state.hovered);
  const cursor = useUi((state) => state.cursor);
  const points = useTrack((state) => state.points);

  useEffect(() => {
    if (!container.current || !config) return;
    const box = container.current;
    let made: FleetMap | null = null;
    let given = false;
    const start = () => {
      if (given) return;
      const address = readHash(window.location.hash);
      const tiles = config.tile_url === null ? null : { url: config.tile_url, attribution: config.tile_attribution };
      try {
        made = new FleetMap(box, fleet, theme, tiles, { view: address.view, locale: f.locale, label: t('app.map'), calm });
      } catch (error) {
        setFailure(error instanceof Error ? error.message : String(error));
        return;
      }
      if (address.vehicle !== null) select(address.vehicle);
      showAllOnce(made, address.view !== null, address.vehicle);
      exposeDebug(made, fleet);
      setFleetMap(made);
    };
    // Names are drawn with the page's font: it has to be there first.
    void document.fonts.load('600 13px "Inter Variable"').then(start, start);
    return () => {
      given = true;
      made?.remove();
      setFleetMap(null);
    };
    // What else is used here is kept up to date by the effects below, without making a new map.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [config]);

  useEffect(() => { fleetMap?.setTheme(theme); }, [fleetMap, theme]);
  useEffect(() => { fleetMap?.setLocale(f.locale); }, [fleetMap, f]);
  useEffect(() => { fleet.still = calm; }, [calm]);
  useEffect(() => { fleetMap?.map.setPadding(padding); }, [fleetMap, padding]);
  useEffect(() => {
    if (!fleetMap) return;
    fleetMap.emphasise({ selected, hovered, filter });
  }, [fleetMap, selected, hovered, filter]);
  useEffect(() => { fleetMap?.onReady(() => { showTrack(fleetMap.map, points); }); }, [fleetMap, points]);
  useEffect(() => { fleetMap?.onReady(() => { showTrackPoints(fleetMap.map, points, cursor); }); }, [fleetMap, points, cursor]);
  useEffect(() => (fleetMap ? keepAddress(fleetMap) : undefined), [fleetMap]);
  useEffect(() => (fleetMap ? onShowRequest((key) => { fleetMap.flyTo(key, !calm); }) : undefined), [fleetMap, calm]);

  return (
    <div className="map">
      <div ref={container} className="map-canvas" />
      {failure !== null && <p className="map-failure" role="alert">{t('map.failed', { reason: failure })}</p>}
      {fleetMap && <MapLabels fleetMap={fleetMap} />}
      {fleetMap && <MapButtons fleetMap={fleetMap} />}
    </div>
  );
}

/** A first visit starts with the whole fleet, a link to a vehicle with that vehicle. */
function showAllOnce(fleetMap: FleetMap, hasView: boolean, vehicle: string | null): void {
  if (hasView) return;
  const look = () => {
    if (vehicle !== null && fleet.vehicles.has(vehicle)) fleetMap.flyTo(vehicle, false);
    else fleetMap.fitAll(false);
  };
  if (fleet.vehicles.size > 0) {
    look();
    return;
  }
  const done = fleet.subscribe(() => {
    if (fleet.vehicles.size === 0) return;
    done();
    look();
  });
}

/** The address bar follows the map, and the map follows a changed address. */
function keepAddress(fleetMap: FleetMap): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const write = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const centre = fleetMap.map.getCenter();
      const view = { zoom: fleetMap.map.getZoom(), lat: centre.lat, lon: centre.lng, bearing: fleetMap.map.getBearing() };
      window.history.replaceState(null, '', writeHash({ view, vehicle: useUi.getState().selected }));
    }, 400);
  };
  const read = () => {
    const { view, vehicle } = readHash(window.location.hash);
    if (view) fleetMap.map.jumpTo({ center: [view.lon, view.lat], zoom: view.zoom, bearing: view.bearing });
    select(vehicle);
  };
  fleetMap.map.on('moveend', write);
  const unsubscribe = useUi.subscribe((state, before) => { if (state.selected !== before.selected) write(); });
  window.addEventListener('hashchange', read);
  return () => {
    clearTimeout(timer);
    unsubscribe();
    fleetMap.map.off('moveend', write);
    window.removeEventListener('hashchange', read);
  };
}

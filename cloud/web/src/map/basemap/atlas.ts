// Land, coasts and borders of Natural Earth, coarse first and fine when somebody zooms in.

import coarseUrl from 'world-atlas/countries-50m.json?url';
import fineUrl from 'world-atlas/countries-10m.json?url';
import type { GeoJSONSource, Map as MapLibre } from 'maplibre-gl';
import type { Atlas } from './atlas-worker';
import { FINE_FROM_ZOOM } from './style';

/** Fills the sources of the style; the fine shapes are fetched once the map is near enough to show them. */
export function loadAtlas(map: MapLibre): void {
  unpack(coarseUrl, (atlas) => { fill(map, 'coarse', atlas); });
  const fetchFine = () => {
    if (map.getZoom() < FINE_FROM_ZOOM - 1) return;
    map.off('zoom', fetchFine);
    unpack(fineUrl, (atlas) => { fill(map, 'fine', atlas); });
  };
  map.on('zoom', fetchFine);
  fetchFine();
}

function unpack(url: string, done: (atlas: Atlas) => void): void {
  const worker = new Worker(new URL('./atlas-worker.ts', import.meta.url), { type: 'module' });
  worker.onmessage = (event: MessageEvent<Atlas>) => {
    worker.terminate();
    done(event.data);
  };
  worker.onerror = (event) => {
    worker.terminate();
    // The map still works without it: vehicles on plain ground.
    console.warn(`the base map could not be loaded: ${event.message}`);
  };
  worker.postMessage(new URL(url, document.baseURI).href);
}

function fill(map: MapLibre, resolution: 'coarse' | 'fine', atlas: Atlas): void {
  for (const part of ['land', 'coast', 'borders'] as const) {
    void map.getSource<GeoJSONSource>(`${part}-${resolution}`)?.setData(atlas[part]);
  }
}

// Land, coasts and borders of Natural Earth, coarse first and fine when somebody zooms in.

import coarseUrl from 'world-atlas/countries-50m.json?url';
import fineUrl from 'world-atlas/countries-10m.json?url';
import type { GeoJSONSource, Map as MapLibre } from 'maplibre-gl';
import type { Atlas } from './atlas-worker';
import { FINE_FROM_ZOOM } from './style';

export interface AtlasProgress {
  /** Shapes that were asked for and are not on the map yet. */
  pending: number;
}

/** Fills the sources of the style; the fine shapes are fetched once the map is near enough to show them. */
export function loadAtlas(map: MapLibre): AtlasProgress {
  const progress: AtlasProgress = { pending: 1 };
  const settle = () => { progress.pending -= 1; };
  unpack(coarseUrl, (atlas) => {
    whenShown(map, 'land-coarse', settle);
    fill(map, 'coarse', atlas);
  }, settle);
  const fetchFine = () => {
    if (map.getZoom() < FINE_FROM_ZOOM - 1) return;
    map.off('zoom', fetchFine);
    progress.pending += 1;
    unpack(fineUrl, (atlas) => {
      whenShown(map, 'land-fine', () => {
        endCoarse(map);
        settle();
      });
      fill(map, 'fine', atlas);
    }, settle);
  };
  map.on('zoom', fetchFine);
  fetchFine();
  return progress;
}

function unpack(url: string, done: (atlas: Atlas) => void, failed: () => void): void {
  const worker = new Worker(new URL('./atlas-worker.ts', import.meta.url), { type: 'module' });
  worker.onmessage = (event: MessageEvent<Atlas>) => {
    worker.terminate();
    done(event.data);
  };
  worker.onerror = (event) => {
    worker.terminate();
    // The map still works without it: vehicles on plain ground.
    console.warn(`the base map could not be loaded: ${event.message}`);
    failed();
  };
  worker.postMessage(new URL(url, document.baseURI).href);
}

/** Calls once when the source's new data has its tiles. (`idle` never comes while vehicles move.) */
function whenShown(map: MapLibre, source: string, action: () => void): void {
  const look = (event: { sourceId?: string; tile?: unknown }) => {
    // Between new data and the first tile made of it, a source calls itself loaded.
    if (event.sourceId !== source || event.tile === undefined || !map.isSourceLoaded(source)) return;
    map.off('sourcedata', look);
    action();
  };
  map.on('sourcedata', look);
}

/** Once the fine shapes are drawn, the coarse ones under them would only blur the coast. */
function endCoarse(map: MapLibre): void {
  for (const part of ['land', 'coast', 'borders']) map.setLayerZoomRange(`${part}-coarse`, 0, FINE_FROM_ZOOM + 0.5);
}

function fill(map: MapLibre, resolution: 'coarse' | 'fine', atlas: Atlas): void {
  for (const part of ['land', 'coast', 'borders'] as const) {
    void map.getSource<GeoJSONSource>(`${part}-${resolution}`)?.setData(atlas[part]);
  }
}

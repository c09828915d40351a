// The look of the ground: a quiet atlas sheet, so that the vehicles are what one sees.

import type {
  ExpressionSpecification, LayerSpecification, SourceSpecification, StyleSpecification,
} from 'maplibre-gl';
import type { Palette } from '../palette';

/** From here on the 1:10m shapes replace the 1:50m ones. */
export const FINE_FROM_ZOOM = 4.5;
const FONT = ['Inter Variable'];
const EMPTY = { type: 'FeatureCollection' as const, features: [] };

export interface Tiles {
  url: string;
  attribution: string | null;
}

export function makeStyle(palette: Palette, tiles: Tiles | null): StyleSpecification {
  const sources: Record<string, SourceSpecification> = {
    countries: { type: 'geojson', data: EMPTY },
    places: { type: 'geojson', data: EMPTY, attribution: 'Natural Earth · <a href="https://www.geonames.org/" target="_blank" rel="noreferrer">GeoNames</a> (CC BY 4.0)' },
    graticule: { type: 'geojson', data: EMPTY },
    track: { type: 'geojson', data: EMPTY },
    'track-points': { type: 'geojson', data: EMPTY },
  };
  for (const part of ['land', 'coast', 'borders']) {
    // Simplified outlines of a whole continent cross themselves, and then whole tiles of it fill wrongly: areas stay exact.
    const tolerance = part === 'land' ? 0 : 0.35;
    sources[`${part}-coarse`] = { type: 'geojson', data: EMPTY, maxzoom: 5, tolerance };
    sources[`${part}-fine`] = { type: 'geojson', data: EMPTY, maxzoom: 9, tolerance };
  }
  if (tiles) {
    sources.tiles = {
      type: 'raster', tiles: [tiles.url], tileSize: 256, maxzoom: 19,
      ...(tiles.attribution === null ? {} : { attribution: escapeHtml(tiles.attribution) }),
    };
  }
  // No `glyphs`: names are drawn with the fonts of the page, so nothing is fetched from anywhere.
  return { version: 8, sources, layers: makeLayers(palette, tiles !== null) };
}

/** The layers in the colours of a palette; also used to recolour a map that is shown already. */
export function makeLayers(palette: Palette, withTiles: boolean): LayerSpecification[] {
  return [
    { id: 'water', type: 'background', paint: { 'background-color': palette.water } },
    ...ground(palette),
    ...(withTiles ? [{ id: 'tiles', type: 'raster', source: 'tiles' } satisfies LayerSpecification] : []),
    {
      id: 'graticule', type: 'line', source: 'graticule', filter: ['==', ['geometry-type'], 'LineString'],
      paint: { 'line-color': palette.graticule, 'line-width': 0.6, 'line-opacity': 0.35 },
    },
    ...names(palette),
    ...trackLayers(palette),
  ];
}

function ground(palette: Palette): LayerSpecification[] {
  const layers: LayerSpecification[] = [];
  for (const [resolution, zooms] of [
    // Until the fine shapes have come, coarse ones are better than none.
    ['coarse', {}],
    ['fine', { minzoom: FINE_FROM_ZOOM }],
  ] as const) {
    layers.push(
      {
        id: `land-${resolution}`, type: 'fill', source: `land-${resolution}`, ...zooms,
        paint: { 'fill-color': palette.land, 'fill-antialias': false },
      },
      {
        id: `coast-${resolution}`, type: 'line', source: `coast-${resolution}`, ...zooms,
        layout: { 'line-join': 'round', 'line-cap': 'round' },
        paint: { 'line-color': palette.coast, 'line-width': ['interpolate', ['linear'], ['zoom'], 1, 0.5, 6, 1, 12, 1.6] },
      },
      {
        id: `borders-${resolution}`, type: 'line', source: `borders-${resolution}`, ...zooms,
        layout: { 'line-join': 'round', 'line-cap': 'round' },
        paint: { 'line-color': palette.border, 'line-width': ['interpolate', ['linear'], ['zoom'], 1, 0.4, 6, 1, 12, 1.8] },
      },
    );
  }
  return layers;
}

function names(palette: Palette): LayerSpecification[] {
  const halo = { 'text-halo-color': palette.labelHalo, 'text-halo-width': 1.4, 'text-halo-blur': 0.4 };
  return [
    {
      id: 'graticule-labels', type: 'symbol', source: 'graticule', filter: ['==', ['geometry-type'], 'Point'],
      layout: {
        'text-field': ['get', 'label'], 'text-font': FONT, 'text-size': 10, 'text-anchor': ['get', 'anchor'],
        'text-offset': ['match', ['get', 'anchor'], 'top-right', ['literal', [-0.5, 0.3]], ['literal', [0.4, 0.3]]], 'text-padding': 0,
      },
      paint: { 'text-color': palette.labelMinor, 'text-opacity': 0.8, ...halo },
    },
    {
      id: 'places', type: 'symbol', source: 'places', minzoom: 3,
      filter: ['>=', ['zoom'], ['get', 'from']] as ExpressionSpecification,
      layout: {
        'text-field': ['get', 'name'], 'text-font': FONT,
        'text-size': ['interpolate', ['linear'], ['zoom'],
          4, ['match', ['get', 'size'], 3, 12, 2, 11, 10],
          10, ['match', ['get', 'size'], 3, 19, 2, 15, 1, 12.5, 11.5],
          14, ['match', ['get', 'size'], 3, 24, 2, 19, 1, 15, 13]],
        'text-variable-anchor': ['left', 'right', 'top', 'bottom'], 'text-radial-offset': 0.45, 'text-justify': 'auto',
        'text-max-width': 8, 'text-padding': 6, 'symbol-sort-key': ['get', 'rank'], 'icon-image': 'place',
        'icon-size': ['match', ['get', 'size'], 3, 1, 2, 0.8, 0.6], 'icon-optional': false,
      },
      paint: { 'text-color': ['case', ['>=', ['get', 'size'], 2], palette.label, palette.labelMinor], 'icon-opacity': ['interpolate', ['linear'], ['zoom'], 11, 1, 13, 0], ...halo },
    },
    {
      id: 'countries', type: 'symbol', source: 'countries', maxzoom: 7.5,
      filter: ['>=', ['zoom'], ['get', 'from']] as ExpressionSpecification,
      layout: {
        'text-field': ['get', 'name'], 'text-font': FONT, 'text-transform': 'uppercase', 'text-letter-spacing': 0.12,
        'text-size': ['interpolate', ['linear'], ['zoom'], 1, 9, 6, 14], 'text-max-width': 7, 'text-padding': 8,
        'symbol-sort-key': ['-', ['get', 'extent']],
      },
      paint: { 'text-color': palette.labelCountry, ...halo },
    },
  ];
}

/** The selected vehicle's way, in colours of its speed. */
function trackLayers(palette: Palette): LayerSpecification[] {
  const width: ExpressionSpecification = ['interpolate', ['linear'], ['zoom'], 6, 2, 12, 3.5, 17, 6];
  const shape = { 'line-join': 'round', 'line-cap': 'round' } as const;
  const driven: ExpressionSpecification = ['!=', ['get', 'class'], -1];
  return [
    {
      id: 'track-gap', type: 'line', source: 'track', filter: ['==', ['get', 'class'], -1],
      layout: { 'line-join': 'round' }, paint: { 'line-color': palette.labelMinor, 'line-width': 1.5, 'line-dasharray': [1.5, 2.5] },
    },
    {
      id: 'track-casing', type: 'line', source: 'track', filter: driven, layout: shape,
      paint: { 'line-color': palette.trackCasing, 'line-width': ['interpolate', ['linear'], ['zoom'], 6, 4, 12, 6.5, 17, 10], 'line-opacity': 0.9 },
    },
    {
      id: 'track', type: 'line', source: 'track', filter: driven, layout: shape,
      paint: {
        'line-width': width,
        'line-color': ['match', ['get', 'class'], 0, palette.track[0], 1, palette.track[1], 2, palette.track[2], 3, palette.track[3], palette.track[4]],
      },
    },
    {
      id: 'track-points', type: 'circle', source: 'track-points',
      paint: {
        'circle-radius': ['match', ['get', 'kind'], 'doubted', 3.5, 'start', 5, 6.5],
        'circle-color': ['match', ['get', 'kind'], 'doubted', palette.land, 'start', palette.land, palette.selection],
        'circle-stroke-width': 2,
        'circle-stroke-color': ['match', ['get', 'kind'], 'doubted', palette.vehicle['no-fix'], 'start', palette.selection, palette.outline],
      },
    },
  ];
}

/** MapLibre writes attributions as markup; what the server was configured with is text. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

// Names of countries and places. Countries are named in the reader's language by the browser itself; places come as
// files by area, fetched when somebody looks there from near enough.

import type { Feature, Point } from 'geojson';
import type { GeoJSONSource, Map as MapLibre } from 'maplibre-gl';

/** name, longitude, latitude, population, kind (2 capital, 1 district of a city, 0 other). */
type PlaceRow = [string, number, number, number, 0 | 1 | 2];
/** ISO 3166-1 numeric code, longitude, latitude, extent in degrees, English name. */
type CountryRow = [string, number, number, number, string];

interface PlacesFile {
  cellDegrees: number;
  cells: string[];
  countries: CountryRow[];
  major: PlaceRow[];
}

const CELLS_FROM_ZOOM = 6.5;
const FOLDER = '/basemap';

export class Places {
  private file: PlacesFile | null = null;
  private readonly features: Feature<Point>[] = [];
  private readonly asked = new Set<string>();

  constructor(
    private readonly map: MapLibre,
    private locale: string,
  ) {
    map.on('moveend', () => { void this.loadCells(); });
  }

  async load(): Promise<void> {
    this.file = (await fetchJson(`${FOLDER}/places.json`)) as PlacesFile;
    this.features.push(...this.file.major.map(placeFeature));
    this.show();
    this.nameCountries();
    await this.loadCells();
  }

  setLocale(locale: string): void {
    this.locale = locale;
    this.nameCountries();
  }

  private async loadCells(): Promise<void> {
    if (!this.file || this.map.getZoom() < CELLS_FROM_ZOOM) return;
    const { cellDegrees, cells } = this.file;
    const bounds = this.map.getBounds();
    const wanted: string[] = [];
    for (let column = Math.floor(bounds.getWest() / cellDegrees); column <= Math.floor(bounds.getEast() / cellDegrees); column += 1) {
      for (let row = Math.floor(bounds.getSouth() / cellDegrees); row <= Math.floor(bounds.getNorth() / cellDegrees); row += 1) {
        const columns = 360 / cellDegrees;
        const wrapped = ((((column + columns / 2) % columns) + columns) % columns) - columns / 2;
        const key = `${wrapped}_${row}`;
        if (cells.includes(key) && !this.asked.has(key)) wanted.push(key);
      }
    }
    for (const key of wanted) {
      this.asked.add(key);
      try {
        const rows = (await fetchJson(`${FOLDER}/places/${key}.json`)) as PlaceRow[];
        this.features.push(...rows.map(placeFeature));
        this.show();
      } catch (error) {
        // Asked again at the next move.
        this.asked.delete(key);
        console.warn(error);
      }
    }
  }

  private show(): void {
    void this.map.getSource<GeoJSONSource>('places')?.setData({ type: 'FeatureCollection', features: this.features });
  }

  private nameCountries(): void {
    if (!this.file) return;
    const names = new Intl.DisplayNames(this.locale, { type: 'region' });
    const features = this.file.countries.map(([code, lon, lat, extent, english]): Feature<Point> => ({
      type: 'Feature',
      properties: { name: countryName(names, code, english), extent, from: extent > 40 ? 1.2 : extent > 18 ? 2 : extent > 7 ? 3 : extent > 3 ? 4 : 5 },
      geometry: { type: 'Point', coordinates: [lon, lat] },
    }));
    void this.map.getSource<GeoJSONSource>('countries')?.setData({ type: 'FeatureCollection', features });
  }
}

/** The numeric code becomes a letter code by the rules of language tags (`und-724` is `und-ES`). */
function countryName(names: Intl.DisplayNames, code: string, english: string): string {
  try {
    const region = new Intl.Locale(Intl.getCanonicalLocales(`und-${code}`)[0] ?? 'und').region;
    return (region !== undefined && /^[A-Z]{2}$/.test(region) ? names.of(region) : undefined) ?? english;
  } catch {
    return english;
  }
}

function placeFeature([name, lon, lat, population, kind]: PlaceRow): Feature<Point> {
  const size = kind === 1 ? 0 : population >= 1_000_000 ? 3 : population >= 150_000 || kind === 2 ? 2 : population >= 15_000 ? 1 : 0;
  return {
    type: 'Feature',
    properties: { name, size, from: shownFrom(population, kind), rank: -population * (kind === 2 ? 4 : kind === 1 ? 0.2 : 1) },
    geometry: { type: 'Point', coordinates: [lon, lat] },
  };
}

/** Zoom from which a place of this size is named. */
function shownFrom(population: number, kind: 0 | 1 | 2): number {
  if (kind === 1) return 11;
  if (kind === 2) return population > 1_000_000 ? 3 : 4.5;
  if (population >= 3_000_000) return 3.5;
  if (population >= 700_000) return 4.5;
  if (population >= 300_000) return 5.2;
  if (population >= 150_000) return 6;
  if (population >= 50_000) return 7;
  if (population >= 15_000) return 8.5;
  if (population >= 4_000) return 9.5;
  return 10.5;
}

async function fetchJson(url: string): Promise<unknown> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return response.json();
}

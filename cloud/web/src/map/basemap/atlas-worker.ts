// Unpacks the bundled TopoJSON atlas away from the thread that draws.

import { feature, mesh } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import type { Feature, MultiLineString, Position } from 'geojson';

export interface Atlas {
  land: GeoJSON.GeoJSON;
  coast: Feature<MultiLineString>;
  borders: Feature<MultiLineString>;
}

self.onmessage = async (event: MessageEvent<string>) => {
  const response = await fetch(event.data);
  if (!response.ok) throw new Error(`base map: ${response.status} ${response.statusText} for ${event.data}`);
  const topology = (await response.json()) as Topology<{ countries: GeometryCollection; land: GeometryCollection }>;
  const { countries, land } = topology.objects;
  const atlas: Atlas = {
    // Country by country: a whole continent as one area is too much for the triangulation of some tiles.
    land: feature(topology, countries),
    coast: line(withoutMapEdge(mesh(topology, land).coordinates)),
    borders: line(mesh(topology, countries, (a, b) => a !== b).coordinates),
  };
  self.postMessage(atlas);
};

function line(coordinates: Position[][]): Feature<MultiLineString> {
  return { type: 'Feature', properties: {}, geometry: { type: 'MultiLineString', coordinates } };
}

/** A polygon that crosses 180° is cut there, and Antarctica is closed along the pole: neither cut is a coast. */
function withoutMapEdge(lines: Position[][]): Position[][] {
  const onEdge = ([lon = 0, lat = 0]: Position) => Math.abs(lon) > 179.99 || lat < -85;
  const pieces: Position[][] = [];
  for (const points of lines) {
    let piece: Position[] = [];
    points.forEach((point, index) => {
      const previous = points[index - 1];
      if (previous && onEdge(point) && onEdge(previous)) {
        if (piece.length > 1) pieces.push(piece);
        piece = [];
      }
      piece.push(point);
    });
    if (piece.length > 1) pieces.push(piece);
  }
  return pieces;
}

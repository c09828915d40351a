import type { Map as MapLibre } from 'maplibre-gl';
import type { Camera } from './camera';
import { mercatorX, mercatorY } from './mercator';

/** Pixels across the world at zoom 0. */
const WORLD_PX = 512;

export function readCamera(map: MapLibre): Camera {
  const centre = map.getCenter();
  const at = map.project(centre);
  const canvas = map.getCanvas();
  const zoom = map.getZoom();
  return {
    x: mercatorX(centre.lng),
    y: mercatorY(centre.lat),
    centreX: at.x,
    centreY: at.y,
    worldSize: WORLD_PX * 2 ** zoom,
    zoom,
    bearingRadians: (map.getBearing() * Math.PI) / 180,
    width: canvas.clientWidth,
    height: canvas.clientHeight,
  };
}

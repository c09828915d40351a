// A read-only view of what the map shows, for tests that drive the page in a browser and for a look from the console.

import type { Fleet } from '../live/fleet';
import { vehicleState, type VehicleState } from '../live/state';
import { useUi } from '../ui/store';
import { toPixelX, toPixelY } from './camera';
import type { FleetMap } from './fleet-map';
import type { Placed } from './interpolate';
import { latitude, longitude } from './mercator';
import { readCamera } from './read-camera';

export interface DebugVehicle {
  key: string;
  state: VehicleState;
  /** Where the marker is now, between two fixes as a rule. */
  lon: number;
  lat: number;
  /** Pixels of the map's box. */
  x: number;
  y: number;
}

export interface DebugHandle {
  vehicles: () => DebugVehicle[];
  connection: () => string;
  /** Frames drawn, and how many markers, groups and trail pieces the last one had. */
  drawn: () => { frames: number; markers: number; groups: number; trailPieces: number };
  /** CPU time to compose a frame of the present view, ms, averaged over `rounds`. */
  composeMs: (rounds: number) => number;
  /** Whether land and names in sight are drawn. */
  groundLoaded: () => boolean;
}

declare global {
  interface Window {
    __avl?: DebugHandle;
  }
}

export function exposeDebug(fleetMap: FleetMap, fleet: Fleet): void {
  const { scene } = fleetMap.vehicles;
  window.__avl = Object.freeze<DebugHandle>({
    vehicles: () => {
      const camera = readCamera(fleetMap.map);
      const now = fleet.frameNow();
      const place: Placed = { x: 0, y: 0, course: null };
      const found: DebugVehicle[] = [];
      for (const vehicle of fleet.vehicles.values()) {
        if (!fleet.place(vehicle, now, place)) continue;
        found.push({
          key: vehicle.key,
          state: vehicleState(vehicle.fix, vehicle.heardAt, fleet.serverNow()),
          lon: longitude(place.x),
          lat: latitude(place.y),
          x: toPixelX(camera, place.x, place.y),
          y: toPixelY(camera, place.x, place.y),
        });
      }
      return found;
    },
    connection: () => useUi.getState().connection.kind,
    drawn: () => ({
      frames: fleetMap.frames, markers: scene.markers.count, groups: scene.clusters.length, trailPieces: scene.trails.count,
    }),
    composeMs: (rounds) => {
      const camera = readCamera(fleetMap.map);
      const started = performance.now();
      for (let i = 0; i < rounds; i += 1) scene.compose(fleet, camera, fleetMap.vehicles.emphasis, null);
      return (performance.now() - started) / rounds;
    },
    groundLoaded: () => fleetMap.groundLoaded(),
  });
}

// What lies under the pointer.

import type { Scene, ShownCluster, ShownVehicle } from './vehicles/scene';

/** A finger is less exact than a mouse. */
export const MOUSE_REACH_PX = 14;
export const TOUCH_REACH_PX = 24;

export type Picked = { kind: 'cluster'; cluster: ShownCluster } | { kind: 'vehicle'; vehicle: ShownVehicle } | null;

export function pick(scene: Pick<Scene, 'clusters' | 'shown'>, px: number, py: number, reach: number): Picked {
  for (const cluster of scene.clusters) {
    if (Math.hypot(cluster.px - px, cluster.py - py) <= cluster.radius) return { kind: 'cluster', cluster };
  }
  let nearest: ShownVehicle | null = null;
  let distance = reach;
  for (const vehicle of scene.shown) {
    const away = Math.hypot(vehicle.px - px, vehicle.py - py);
    if (away <= distance) {
      nearest = vehicle;
      distance = away;
    }
  }
  return nearest ? { kind: 'vehicle', vehicle: nearest } : null;
}

// What is to be drawn in one frame, computed on the CPU in double precision: places of all vehicles now, the groups they
// form, and the numbers for the instances. Ten thousand vehicles take about a millisecond.

import type { Fleet, Vehicle } from '../../live/fleet';
import { STATES, vehicleState } from '../../live/state';
import { TRAIL_MS, trailOffset } from '../../live/trail';
import { toPixelX, toPixelY, wrapX, type Camera } from '../camera';
import { clusterZoom, makeClusters, SKIP, type Cluster, type Clusters, type Points } from '../cluster';
import type { Placed } from '../interpolate';
import { Instances } from './gl';
import { clusterText, type GlyphStrip } from './glyphs';

/** From here on every vehicle is shown by itself. */
const CLUSTERS_BELOW_ZOOM = 13.5;
const TRAILS_FROM_ZOOM = 8.5;
/** More trails than this are a tangle, and cost more than the markers. */
const MOST_TRAILS = 1_500;
const REGROUP_MS = 400;
/** Time in which a group's disc covers most of the way to its new place. */
const EASE_MS = 160;
const MARGIN_PX = 40;
const EDGE_PX = 200;
/** Size (nose to middle) of a marker from far and from near. */
const FAR_PX = 8;
const NEAR_PX = 13;

export interface ShownCluster extends Cluster {
  /** Where its disc is now; the target is in `x`, `y`. */
  shownX: number;
  shownY: number;
  px: number;
  py: number;
  radius: number;
}

export interface ShownVehicle {
  vehicle: Vehicle;
  px: number;
  py: number;
}

export interface Emphasis {
  selected: string | null;
  hovered: string | null;
  /** Keys that a search or a filter leaves; `null`: all. */
  filter: ReadonlySet<string> | null;
}

export class Scene {
  readonly markers = new Instances(6);
  readonly discs = new Instances(7);
  readonly glyphs = new Instances(6);
  readonly trails = new Instances(7);
  clusters: ShownCluster[] = [];
  /** Vehicles drawn by themselves in this frame. */
  shown: ShownVehicle[] = [];
  /** Whether something in sight will have moved by the next frame. */
  lively = false;

  private points: Points = { x: new Float64Array(0), y: new Float64Array(0), state: new Uint8Array(0), count: 0 };
  private order: Vehicle[] = [];
  private courses = new Float64Array(0);
  private groups: Clusters = { clusters: [], of: new Int32Array(0) };
  private groupedAt = -Infinity;
  private groupedFor = '';
  private shownFor = -Infinity;
  private readonly place: Placed = { x: 0, y: 0, course: null };

  compose(fleet: Fleet, camera: Camera, emphasis: Emphasis, strip: GlyphStrip | null): void {
    const now = fleet.frameNow();
    this.lively = false;
    this.locate(fleet, camera, now, emphasis);
    this.regroup(camera, now, emphasis.selected, `${clusterZoom(camera.zoom)} ${emphasis.selected ?? ''} ${this.points.count}`);
    this.composeMarkers(camera, emphasis);
    this.composeTrails(camera, now);
    this.composeClusters(camera, now, strip);
    this.shownFor = now;
  }

  /** Places of all vehicles that can be in sight. */
  private locate(fleet: Fleet, camera: Camera, now: number, emphasis: Emphasis): void {
    const size = fleet.vehicles.size;
    if (this.points.x.length < size) {
      const capacity = Math.ceil(size * 1.5) + 64;
      this.points = { x: new Float64Array(capacity), y: new Float64Array(capacity), state: new Uint8Array(capacity), count: 0 };
      this.courses = new Float64Array(capacity);
    }
    const wall = fleet.serverNow();
    // Whatever way the camera is turned; and some more, so that a group at the edge keeps its members.
    const reach = (Math.hypot(camera.width, camera.height) + EDGE_PX) / camera.worldSize;
    const { points, place } = this;
    this.order.length = 0;
    for (const vehicle of fleet.vehicles.values()) {
      if (emphasis.filter && !emphasis.filter.has(vehicle.key) && vehicle.key !== emphasis.selected) continue;
      const { motion } = vehicle;
      if (!motion) continue;
      const far = Math.abs(wrapX(motion.toX, camera) - camera.x) > reach || Math.abs(motion.toY - camera.y) > reach;
      if (far || !fleet.place(vehicle, now, place)) continue;
      const index = this.order.length;
      this.order.push(vehicle);
      points.x[index] = place.x;
      points.y[index] = place.y;
      points.state[index] = STATES.indexOf(vehicleState(vehicle.fix, vehicle.heardAt, wall));
      this.courses[index] = place.course ?? 0;
      if (motion.durationMs > 0 && now - motion.startedAt < motion.durationMs) this.lively = true;
    }
    points.count = this.order.length;
  }

  /** Groups again when the inputs changed, and now and then because vehicles move. */
  private regroup(camera: Camera, now: number, selected: string | null, inputs: string): void {
    if (camera.zoom >= CLUSTERS_BELOW_ZOOM) {
      this.groups = { clusters: [], of: new Int32Array(0) };
      this.clusters = [];
      this.groupedFor = '';
      return;
    }
    if (inputs === this.groupedFor && now - this.groupedAt < REGROUP_MS) return;
    this.groupedFor = inputs;
    this.groupedAt = now;
    const states = this.points.state.slice(0, this.points.count);
    if (selected !== null) {
      const index = this.order.findIndex((vehicle) => vehicle.key === selected);
      if (index >= 0) states[index] = SKIP;
    }
    this.groups = makeClusters({ ...this.points, state: states }, camera.zoom);
    const before = new Map(this.clusters.map((cluster) => [cluster.key, cluster]));
    this.clusters = this.groups.clusters.map((cluster) => {
      const old = before.get(cluster.key);
      return { ...cluster, shownX: old?.shownX ?? cluster.x, shownY: old?.shownY ?? cluster.y, px: 0, py: 0, radius: radiusOf(cluster.count) };
    });
  }

  private composeMarkers(camera: Camera, emphasis: Emphasis): void {
    const { points, markers } = this;
    markers.clear();
    this.shown = [];
    const near = Math.max(0, Math.min(1, (camera.zoom - 5) / 7));
    const size = FAR_PX + (NEAR_PX - FAR_PX) * near;
    let last: [ShownVehicle, number] | null = null;
    for (let i = 0; i < points.count; i += 1) {
      if ((this.groups.of[i] ?? -1) >= 0) continue;
      const vehicle = this.order[i];
      if (!vehicle) continue;
      const x = points.x[i] ?? 0;
      const y = points.y[i] ?? 0;
      const px = toPixelX(camera, x, y);
      const py = toPixelY(camera, x, y);
      if (px < -MARGIN_PX || py < -MARGIN_PX || px > camera.width + MARGIN_PX || py > camera.height + MARGIN_PX) continue;
      const item = { vehicle, px, py };
      this.shown.push(item);
      // The selected one is drawn last: on top of the others.
      if (vehicle.key === emphasis.selected) last = [item, i];
      else this.addMarker(item, i, camera, size, vehicle.key === emphasis.hovered ? 1 : 0);
    }
    if (last) this.addMarker(last[0], last[1], camera, size * 1.15, 2);
  }

  private addMarker(item: ShownVehicle, index: number, camera: Camera, size: number, emphasis: number): void {
    const { markers } = this;
    const at = markers.next();
    markers.data[at] = item.px;
    markers.data[at + 1] = item.py;
    markers.data[at + 2] = ((this.courses[index] ?? 0) * Math.PI) / 180 - camera.bearingRadians;
    markers.data[at + 3] = size;
    markers.data[at + 4] = this.points.state[index] ?? 0;
    markers.data[at + 5] = emphasis;
  }

  private composeTrails(camera: Camera, now: number): void {
    const { trails } = this;
    trails.clear();
    if (camera.zoom < TRAILS_FROM_ZOOM || this.shown.length > MOST_TRAILS) return;
    const strength = Math.min(1, (camera.zoom - TRAILS_FROM_ZOOM) / 1.5) * 0.75;
    for (const { vehicle, px, py } of this.shown) {
      const { trail, motion } = vehicle;
      if (trail.length === 0 || !motion) continue;
      let fromX = px;
      let fromY = py;
      let fromOpacity = strength;
      for (let age = 0; age < trail.length; age += 1) {
        const offset = trailOffset(trail, age);
        const opacity = strength * (1 - (now - (trail.places[offset + 2] ?? 0)) / TRAIL_MS);
        if (opacity <= 0) break;
        const x = trail.places[offset] ?? 0;
        const y = trail.places[offset + 1] ?? 0;
        const toX = toPixelX(camera, x, y);
        const toY = toPixelY(camera, x, y);
        if (Math.hypot(toX - fromX, toY - fromY) < 0.75) continue;
        const at = trails.next();
        trails.data.set([fromX, fromY, toX, toY, fromOpacity, opacity, 0], at);
        fromX = toX;
        fromY = toY;
        fromOpacity = opacity;
      }
    }
  }

  private composeClusters(camera: Camera, now: number, strip: GlyphStrip | null): void {
    const { discs, glyphs } = this;
    discs.clear();
    glyphs.clear();
    const ease = 1 - Math.exp(-Math.min(1_000, now - this.shownFor) / EASE_MS);
    for (const cluster of this.clusters) {
      cluster.shownX += (cluster.x - cluster.shownX) * ease;
      cluster.shownY += (cluster.y - cluster.shownY) * ease;
      cluster.px = toPixelX(camera, cluster.shownX, cluster.shownY);
      cluster.py = toPixelY(camera, cluster.shownX, cluster.shownY);
      const reach = cluster.radius + 10;
      if (cluster.px < -reach || cluster.py < -reach || cluster.px > camera.width + reach || cluster.py > camera.height + reach) continue;
      const [moving, stopped, noFix, silent] = cluster.byState;
      discs.data.set(
        [cluster.px, cluster.py, cluster.radius, moving / cluster.count, stopped / cluster.count, noFix / cluster.count, silent / cluster.count],
        discs.next(),
      );
      if (strip) this.addText(clusterText(cluster.count), cluster.px, cluster.py, strip);
    }
  }

  private addText(text: string, px: number, py: number, strip: GlyphStrip): void {
    const parts = Array.from(text).map((character) => strip.glyphs.get(character)).filter((glyph) => glyph !== undefined);
    // The air around each glyph overlaps with its neighbour's.
    let x = px - parts.reduce((sum, glyph) => sum + glyph.widthPx - 1, 0) / 2;
    for (const glyph of parts) {
      const at = this.glyphs.next();
      this.glyphs.data.set([x + glyph.widthPx / 2 - 0.5, py, glyph.widthPx, strip.heightPx, glyph.left, glyph.share], at);
      x += glyph.widthPx - 1;
    }
  }
}

function radiusOf(count: number): number {
  return 14 + Math.min(16, Math.log10(count) * 6);
}

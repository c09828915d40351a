// All vehicles that the page knows, and how they move between fixes. React does not own this: the map reads it in each
// frame, and panels are told at most a few times a second that something changed.

import type { LiveMessage, LiveVehicle } from '../api/types';
import { moveTo, motionDuration, placeAt, progress, resting, type Motion, type Placed } from '../map/interpolate';
import { mercatorX, mercatorY } from '../map/mercator';
import { addToTrail, clearTrail, newTrail, type Trail } from './trail';

export interface Vehicle {
  readonly key: string;
  readonly fleet: string;
  readonly name: string;
  fix: LiveVehicle;
  /** GNSS time of the fix, ms; `null` when the receiver had none. */
  fixTime: number | null;
  /** When the cloud last heard it, ms of the server's clock. */
  heardAt: number;
  /** `null` until a first position is known. A vehicle that loses its fix stays where it was. */
  motion: Motion | null;
  trail: Trail;
  /** Usual time between its updates, ms. */
  intervalMs: number;
  /** Arrival of its last update, clock of the animation. */
  updatedAt: number;
}

/** The clock of the animation and the wall clock, both ms. */
export interface Clock {
  frame: () => number;
  wall: () => number;
}

const FIRST_INTERVAL_MS = 1_000;
/** Share of the newest interval in the running estimate. */
const INTERVAL_WEIGHT = 0.35;

export function vehicleKey(fleet: string, vehicle: string): string {
  return `${fleet}/${vehicle}`;
}

export class Fleet {
  readonly vehicles = new Map<string, Vehicle>();
  /** Counts vehicles that came or went, for caches. */
  membership = 0;
  /** Server's clock minus this computer's, ms. */
  clockOffsetMs = 0;
  /** Jump instead of glide, for people who asked for less movement. */
  still = false;
  private readonly listeners = new Set<(changed: readonly Vehicle[]) => void>();

  constructor(private readonly clock: Clock = { frame: () => performance.now(), wall: () => Date.now() }) {}

  serverNow(): number {
    return this.clock.wall() + this.clockOffsetMs;
  }

  frameNow(): number {
    return this.clock.frame();
  }

  subscribe(listener: (changed: readonly Vehicle[]) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  apply(message: LiveMessage): void {
    if (message.type === 'resync') return;
    if (message.type === 'snapshot') this.forgetAbsent(message.vehicles);
    const changed = message.vehicles.map((item) => this.put(item, message.type === 'snapshot'));
    for (const listener of this.listeners) listener(changed);
  }

  /** Where the marker stands now; `false`: it has none. */
  place(vehicle: Vehicle, now: number, out: Placed): boolean {
    if (!vehicle.motion) return false;
    placeAt(vehicle.motion, progress(vehicle.motion, now), out);
    return true;
  }

  private forgetAbsent(present: readonly LiveVehicle[]): void {
    const keys = new Set(present.map((item) => vehicleKey(item.fleet, item.vehicle)));
    for (const key of this.vehicles.keys()) {
      if (keys.has(key)) continue;
      this.vehicles.delete(key);
      this.membership += 1;
    }
  }

  private put(item: LiveVehicle, fromSnapshot: boolean): Vehicle {
    const key = vehicleKey(item.fleet, item.vehicle);
    const now = this.clock.frame();
    const fixTime = parseTime(item.time);
    const received = parseTime(item.received_at ?? null);
    const known = this.vehicles.get(key);
    if (!known) {
      const vehicle: Vehicle = {
        key, fleet: item.fleet, name: item.vehicle, fix: item, fixTime,
        heardAt: received ?? (fromSnapshot ? (fixTime ?? this.serverNow()) : this.serverNow()),
        motion: null, trail: newTrail(), intervalMs: FIRST_INTERVAL_MS, updatedAt: now,
      };
      this.placeFirst(vehicle, item, now);
      this.vehicles.set(key, vehicle);
      this.membership += 1;
      return vehicle;
    }
    const before = known.fix;
    const elapsedMs = fixTime !== null && known.fixTime !== null ? fixTime - known.fixTime : 0;
    // After a reconnect the snapshot repeats fixes that are shown already.
    const repeated = fromSnapshot && elapsedMs === 0 && fixTime !== null;
    known.fix = item;
    known.fixTime = fixTime;
    known.heardAt = received ?? (repeated ? known.heardAt : this.serverNow());
    if (!repeated) this.glide(known, before, item, elapsedMs, now);
    return known;
  }

  private glide(vehicle: Vehicle, before: LiveVehicle, item: LiveVehicle, elapsedMs: number, now: number): void {
    const waited = now - vehicle.updatedAt;
    vehicle.updatedAt = now;
    vehicle.intervalMs += INTERVAL_WEIGHT * (Math.min(waited, 60_000) - vehicle.intervalMs);
    if (item.lat === null || item.lon === null) return;
    if (!vehicle.motion) {
      this.placeFirst(vehicle, item, now);
      return;
    }
    this.extendTrail(vehicle, now);
    const from: Placed = { x: 0, y: 0, course: null };
    this.place(vehicle, now, from);
    const to: Placed = { x: mercatorX(item.lon), y: mercatorY(item.lat), course: item.course_deg ?? from.course };
    vehicle.motion = this.still
      ? resting(to.x, to.y, to.course, now)
      : moveTo(
          from, to,
          { speedMps: before.speed_mps, courseDeg: before.course_deg },
          { speedMps: item.speed_mps, courseDeg: item.course_deg },
          elapsedMs, motionDuration(vehicle.intervalMs), now,
        );
    const jumped = !this.still && vehicle.motion.durationMs === 0;
    if (jumped) clearTrail(vehicle.trail);
  }

  private placeFirst(vehicle: Vehicle, item: LiveVehicle, now: number): void {
    if (item.lat === null || item.lon === null) return;
    vehicle.motion = resting(mercatorX(item.lon), mercatorY(item.lat), item.course_deg, now);
  }

  /** Keeps the curve that was just driven, in as many pieces as it takes to look like one. */
  private extendTrail(vehicle: Vehicle, now: number): void {
    const { motion } = vehicle;
    if (!motion) return;
    const end = progress(motion, now);
    const pieces = motion.durationMs > 1_500 ? 4 : 1;
    const place: Placed = { x: 0, y: 0, course: null };
    for (let piece = 1; piece <= pieces; piece += 1) {
      const u = (end * piece) / pieces;
      placeAt(motion, u, place);
      addToTrail(vehicle.trail, place.x, place.y, Math.min(now, motion.startedAt + u * motion.durationMs));
    }
  }
}

function parseTime(text: string | null): number | null {
  if (text === null) return null;
  const time = Date.parse(text);
  return Number.isNaN(time) ? null : time;
}

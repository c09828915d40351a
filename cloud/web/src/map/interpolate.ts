// Movement between two fixes: a cubic Hermite curve through both, leaving and arriving along the courses that the
// receiver reported, so that a corner is driven as a curve. Without a course, or after a long silence, a straight line.

import { worldPerMetre } from './mercator';

export interface Motion {
  fromX: number;
  fromY: number;
  toX: number;
  toY: number;
  /** Hermite tangents, world units over the whole motion. */
  startX: number;
  startY: number;
  endX: number;
  endY: number;
  /** Course over ground, degrees; `null`: unknown. */
  fromCourse: number | null;
  toCourse: number | null;
  /** Clock of the animation, ms. */
  startedAt: number;
  durationMs: number;
}

export interface Velocity {
  speedMps: number | null;
  courseDeg: number | null;
}

export interface Placed {
  x: number;
  y: number;
  course: number | null;
}

/** Past it the road between two fixes is anybody's guess, and a curve through it would be an invention. */
const CURVE_UP_TO_MS = 15_000;
/** Nobody wants to watch a vehicle creep for a minute to where it was a minute ago. */
const LONGEST_MS = 8_000;
const SHORTEST_MS = 250;
/** Farther than this many pixels' worth of world, a marker jumps rather than flies. About 5 km. */
const JUMP_FROM_METRES = 5_000;

/** How long to move for, when updates of this vehicle come about `intervalMs` apart. */
export function motionDuration(intervalMs: number): number {
  // A little longer than the interval: a late update then finds the vehicle still moving, not stopped and leaping.
  return Math.max(SHORTEST_MS, Math.min(LONGEST_MS, intervalMs * 1.1));
}

export function resting(x: number, y: number, course: number | null, now: number): Motion {
  return {
    fromX: x, fromY: y, toX: x, toY: y, startX: 0, startY: 0, endX: 0, endY: 0,
    fromCourse: course, toCourse: course, startedAt: now, durationMs: 0,
  };
}

/** From where the marker is shown now to the new fix. `elapsedMs` is GNSS time between the two fixes. */
export function moveTo(
  from: Placed,
  to: Placed,
  before: Velocity,
  after: Velocity,
  elapsedMs: number,
  durationMs: number,
  now: number,
): Motion {
  const scale = worldPerMetre(to.y);
  const distance = Math.hypot(to.x - from.x, to.y - from.y);
  if (distance / scale > JUMP_FROM_METRES) return resting(to.x, to.y, to.course, now);
  const curved = elapsedMs > 0 && elapsedMs <= CURVE_UP_TO_MS;
  const start = curved ? tangent(before, elapsedMs, scale, distance) : null;
  const end = curved ? tangent(after, elapsedMs, scale, distance) : null;
  const straight = { x: to.x - from.x, y: to.y - from.y };
  return {
    fromX: from.x, fromY: from.y, toX: to.x, toY: to.y,
    startX: (start ?? straight).x, startY: (start ?? straight).y,
    endX: (end ?? straight).x, endY: (end ?? straight).y,
    fromCourse: from.course, toCourse: to.course, startedAt: now, durationMs,
  };
}

function tangent(velocity: Velocity, elapsedMs: number, scale: number, distance: number): { x: number; y: number } | null {
  if (velocity.speedMps === null || velocity.courseDeg === null) return null;
  const length = (velocity.speedMps * elapsedMs * scale) / 1000;
  if (length === 0) return { x: 0, y: 0 };
  // A tangent much longer than the chord makes the curve swing out and back.
  const bounded = Math.min(length, distance * 1.5);
  const course = (velocity.courseDeg * Math.PI) / 180;
  return { x: bounded * Math.sin(course), y: -bounded * Math.cos(course) };
}

/** Progress of a motion, 0..1. */
export function progress(motion: Motion, now: number): number {
  if (motion.durationMs <= 0) return 1;
  return Math.max(0, Math.min(1, (now - motion.startedAt) / motion.durationMs));
}

/** Writes the place at progress `u` into `out`: called for each vehicle in each frame, so it makes no garbage. */
export function placeAt(motion: Motion, u: number, out: Placed): void {
  const u2 = u * u;
  const u3 = u2 * u;
  const a = 2 * u3 - 3 * u2 + 1;
  const b = u3 - 2 * u2 + u;
  const c = 3 * u2 - 2 * u3;
  const d = u3 - u2;
  out.x = a * motion.fromX + b * motion.startX + c * motion.toX + d * motion.endX;
  out.y = a * motion.fromY + b * motion.startY + c * motion.toY + d * motion.endY;
  out.course = mixCourse(motion.fromCourse, motion.toCourse, u);
}

/** The shorter way around the compass. */
export function mixCourse(from: number | null, to: number | null, u: number): number | null {
  if (from === null) return to;
  if (to === null) return from;
  const turn = ((((to - from) % 360) + 540) % 360) - 180;
  return (from + turn * u + 360) % 360;
}

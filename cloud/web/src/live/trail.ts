// The short way that a vehicle has just come: a ring of places, oldest forgotten first.

export const TRAIL_CAPACITY = 48;
/** Older places fade out completely. */
export const TRAIL_MS = 90_000;

export interface Trail {
  /** x, y, time: three numbers a place. */
  readonly places: Float64Array;
  /** Index of the next place to write. */
  next: number;
  length: number;
}

export function newTrail(): Trail {
  return { places: new Float64Array(TRAIL_CAPACITY * 3), next: 0, length: 0 };
}

export function addToTrail(trail: Trail, x: number, y: number, time: number): void {
  const at = trail.next * 3;
  trail.places[at] = x;
  trail.places[at + 1] = y;
  trail.places[at + 2] = time;
  trail.next = (trail.next + 1) % TRAIL_CAPACITY;
  trail.length = Math.min(trail.length + 1, TRAIL_CAPACITY);
}

export function clearTrail(trail: Trail): void {
  trail.length = 0;
}

/** Offset into `places` of the `age`th newest place; 0 is the newest. */
export function trailOffset(trail: Trail, age: number): number {
  return ((trail.next - 1 - age + TRAIL_CAPACITY * 2) % TRAIL_CAPACITY) * 3;
}

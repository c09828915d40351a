// How long to wait before the next attempt to connect: exponential with full jitter, so that a thousand open pages do
// not all return in the same second after a restart of the server.

const BASE_MS = 500;
const CAP_MS = 20_000;

/** `attempt` counts failures since the last stable connection, from 0; `random` is in 0..1. */
export function reconnectDelay(attempt: number, random: number): number {
  const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 16));
  return random * ceiling;
}

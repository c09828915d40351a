// Reads one message of the live stream. A message this page does not know is left out, so that a newer server can add kinds.

import type { LiveMessage } from '../api/types';

export function parseLiveMessage(text: string): LiveMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || !('type' in value)) return null;
  if (value.type === 'resync') return { type: 'resync' };
  if (value.type !== 'snapshot' && value.type !== 'update') return null;
  if (!('vehicles' in value) || !Array.isArray(value.vehicles)) return null;
  const vehicles = value.vehicles.filter(isLiveVehicle);
  return { type: value.type, vehicles };
}

type LiveVehicles = Extract<LiveMessage, { type: 'snapshot' }>['vehicles'];

function isLiveVehicle(value: unknown): value is LiveVehicles[number] {
  if (typeof value !== 'object' || value === null) return false;
  const { fleet, vehicle, lat, lon, time } = value as Record<string, unknown>;
  return (
    typeof fleet === 'string' && typeof vehicle === 'string' && isNumberOrNull(lat) && isNumberOrNull(lon) &&
    (time === null || typeof time === 'string')
  );
}

function isNumberOrNull(value: unknown): boolean {
  return value === null || (typeof value === 'number' && Number.isFinite(value));
}

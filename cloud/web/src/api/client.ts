// Requests to the API of the server that this page came from.

import type { Completeness, Config, PositionsPage } from './types';

const BASE = '/api/v1';

/** The server said no. `status` 401 means that this browser is not signed in. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export interface Period {
  /** Included. */
  from: Date | null;
  /** Not included. */
  to: Date | null;
}

export interface VehicleId {
  fleet: string;
  vehicle: string;
}

export async function isSignedIn(signal?: AbortSignal): Promise<boolean> {
  const response = await fetch(`${BASE}/session`, { signal: signal ?? null });
  if (response.status === 401) return false;
  if (!response.ok) throw await problem(response);
  return true;
}

export function getConfig(): Promise<Config> {
  return get<Config>(`${BASE}/config`);
}

export function getPositions(
  id: VehicleId,
  period: Period,
  cursor: string | null,
  limit: number,
  signal: AbortSignal,
): Promise<PositionsPage> {
  const query = periodQuery(period);
  query.set('format', 'json');
  query.set('limit', String(limit));
  if (cursor !== null) query.set('cursor', cursor);
  return get<PositionsPage>(`${vehiclePath(id)}/positions?${query}`, signal);
}

export function getCompleteness(id: VehicleId, period: Period, signal: AbortSignal): Promise<Completeness> {
  return get<Completeness>(`${vehiclePath(id)}/completeness?${periodQuery(period)}`, signal);
}

/** Where the browser downloads the whole period as a file. */
export function downloadUrl(id: VehicleId, period: Period, format: 'csv' | 'gpx'): string {
  const query = periodQuery(period);
  query.set('format', format);
  return `${vehiclePath(id)}/positions?${query}`;
}

export function liveUrl(location: Pick<Location, 'protocol' | 'host'>): string {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return `${scheme}//${location.host}${BASE}/live`;
}

function vehiclePath(id: VehicleId): string {
  return `${BASE}/vehicles/${encodeURIComponent(id.fleet)}/${encodeURIComponent(id.vehicle)}`;
}

function periodQuery(period: Period): URLSearchParams {
  const query = new URLSearchParams();
  if (period.from) query.set('from', period.from.toISOString());
  if (period.to) query.set('to', period.to.toISOString());
  return query;
}

async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  const response = await fetch(url, { signal: signal ?? null, headers: { accept: 'application/json' } });
  if (!response.ok) throw await problem(response);
  return (await response.json()) as T;
}

/** Errors come as application/problem+json: `detail` names the cause and the cure. */
async function problem(response: Response): Promise<ApiError> {
  let message = `${response.status} ${response.statusText}`;
  try {
    const body: unknown = await response.json();
    if (typeof body === 'object' && body !== null) {
      if ('detail' in body && typeof body.detail === 'string') message = body.detail;
      else if ('title' in body && typeof body.title === 'string') message = body.title;
    }
  } catch {
    // Not JSON: the status line is all there is.
  }
  return new ApiError(response.status, message);
}

// The one fleet of this page, and the connection that feeds it.

import { getConfig, isSignedIn, liveUrl } from './api/client';
import { connectLive } from './live/connection';
import { Fleet } from './live/fleet';
import { useUi } from './ui/store';

export const fleet = new Fleet();

let disconnect: (() => void) | null = null;

/** Signs in by the cookie that a sign-in link left, and goes live; without one the page says how to get it. */
export async function startSession(): Promise<void> {
  disconnect?.();
  disconnect = null;
  useUi.setState({ connection: { kind: 'connecting' } });
  try {
    if (!(await isSignedIn())) {
      signedOut();
      return;
    }
    const config = await getConfig();
    useUi.setState({ config });
  } catch {
    // The server is away: the live connection keeps trying, and the bundled map needs no configuration.
    useUi.setState((state) => ({ config: state.config ?? { version: '', tile_url: null, tile_attribution: null } }));
  }
  await measureClock().catch(() => undefined);
  disconnect = connectLive(liveUrl(window.location), {
    onState: (connection) => { useUi.setState({ connection }); },
    onMessage: (message) => { fleet.apply(message); },
  });
}

export function signedOut(): void {
  disconnect?.();
  disconnect = null;
  useUi.setState({ connection: { kind: 'signed-out' } });
}

/** A reader's computer may be minutes off; ages are counted on the server's clock (to the second, as `Date` has it). */
async function measureClock(): Promise<void> {
  const asked = Date.now();
  const response = await fetch('/healthz', { cache: 'no-store' });
  const answered = Date.now();
  const server = Date.parse(response.headers.get('date') ?? '');
  if (Number.isNaN(server)) return;
  const offset = server + 500 - (asked + answered) / 2;
  fleet.clockOffsetMs = Math.abs(offset) < 2_000 ? 0 : offset;
}

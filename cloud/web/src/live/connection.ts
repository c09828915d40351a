// Keeps one WebSocket to the live stream open for as long as the page lives.

import { isSignedIn } from '../api/client';
import type { LiveMessage } from '../api/types';
import { reconnectDelay } from './backoff';
import { parseLiveMessage } from './protocol';

export type ConnectionState =
  | { kind: 'connecting' }
  | { kind: 'open' }
  /** `retryAt` is in the time of `Date.now`. */
  | { kind: 'waiting'; retryAt: number }
  | { kind: 'signed-out' };

/** A connection that lived this long was good: the next loss starts again with a short wait. */
const STABLE_AFTER_MS = 10_000;

export interface ConnectionHandlers {
  onState: (state: ConnectionState) => void;
  onMessage: (message: LiveMessage) => void;
}

/** Connects now; returns what ends it for good. */
export function connectLive(url: string, handlers: ConnectionHandlers): () => void {
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let ended = false;

  const open = () => {
    clearTimeout(timer);
    handlers.onState({ kind: 'connecting' });
    const current = new WebSocket(url);
    socket = current;
    let openedAt: number | null = null;
    current.onopen = () => {
      openedAt = Date.now();
      handlers.onState({ kind: 'open' });
    };
    current.onmessage = (event: MessageEvent<unknown>) => {
      if (typeof event.data !== 'string') return;
      const message = parseLiveMessage(event.data);
      if (message) handlers.onMessage(message);
    };
    current.onclose = () => {
      if (ended || socket !== current) return;
      socket = null;
      if (openedAt !== null && Date.now() - openedAt > STABLE_AFTER_MS) attempt = 0;
      void afterLoss();
    };
  };

  // A browser hides why a WebSocket was refused, so a plain request asks whether the session still stands.
  const afterLoss = async () => {
    const signedIn = await isSignedIn().catch(() => true);
    if (ended) return;
    if (!signedIn) {
      handlers.onState({ kind: 'signed-out' });
      return;
    }
    const delay = reconnectDelay(attempt, Math.random());
    attempt += 1;
    handlers.onState({ kind: 'waiting', retryAt: Date.now() + delay });
    timer = setTimeout(open, delay);
  };

  // A laptop that wakes up, or a phone that finds the network again, should not wait out the rest of a long delay.
  const hurry = () => {
    if (ended || socket !== null || timer === undefined || document.visibilityState === 'hidden') return;
    open();
  };
  window.addEventListener('online', hurry);
  document.addEventListener('visibilitychange', hurry);

  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    window.removeEventListener('online', hurry);
    document.removeEventListener('visibilitychange', hurry);
    socket?.close();
  };
}

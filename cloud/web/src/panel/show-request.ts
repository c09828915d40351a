// The panel asks the map to go to a vehicle without knowing the map.

type Listener = (key: string) => void;
const listeners = new Set<Listener>();

export function requestShow(key: string): void {
  for (const listener of listeners) listener(key);
}

export function onShowRequest(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// A development tool: the API of avl-cloud with a simulated fleet behind it, for work on the page without a server.
//
//   npm run fleet -- [--vehicles N] [--port P] [--interval MS] [--serve DIST] [--signed-out] [--drop-after S]
//
// Vehicles drive made-up streets in cities of Spain (and a few on the roads between); some stop, some lose their fix,
// some fall silent. `--serve` also serves a built page, with the headers that avl-cloud sets.

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';
import { makeFleet } from './simulated-fleet.mjs';

const { values: options } = parseArgs({
  options: {
    vehicles: { type: 'string', default: '60' },
    port: { type: 'string', default: '8090' },
    interval: { type: 'string', default: '1000' },
    serve: { type: 'string' },
    'signed-out': { type: 'boolean', default: false },
    'drop-after': { type: 'string' },
  },
});
const intervalMs = Number(options.interval);
const fleet = makeFleet(Number(options.vehicles), Date.now());

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.svg': 'image/svg+xml', '.woff2': 'font/woff2',
};
const POLICY =
  "default-src 'self'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' ws:";

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const json = (value, status = 200) => {
    response.writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json' });
    response.end(JSON.stringify(value));
  };
  if (url.pathname === '/healthz') return void response.end('ok');
  if (options['signed-out'] && url.pathname.startsWith('/api/')) return json({ title: 'Unauthorized', status: 401 }, 401);
  if (url.pathname === '/api/v1/session') return json({});
  if (url.pathname === '/api/v1/config') return json({ version: 'dev', tile_url: null, tile_attribution: null });
  if (url.pathname === '/api/v1/vehicles') return json({ vehicles: fleet.vehicles.map((vehicle) => vehicle.summary()) });
  const match = /^\/api\/v1\/vehicles\/([^/]+)\/([^/]+)\/(positions|completeness)$/.exec(url.pathname);
  if (match) {
    const vehicle = fleet.find(decodeURIComponent(match[1]), decodeURIComponent(match[2]));
    if (!vehicle) return json({ title: 'Not Found', status: 404, detail: 'no such vehicle' }, 404);
    const from = Date.parse(url.searchParams.get('from') ?? '') || 0;
    const to = Date.parse(url.searchParams.get('to') ?? '') || Infinity;
    if (match[3] === 'completeness') return json(vehicle.completeness(from, to));
    const offset = Number(url.searchParams.get('cursor') ?? 0);
    const limit = Math.min(10_000, Number(url.searchParams.get('limit') ?? 1000));
    const rows = vehicle.rows(from, to);
    return json({ positions: rows.slice(offset, offset + limit), next_cursor: offset + limit < rows.length ? String(offset + limit) : null });
  }
  if (options.serve && !url.pathname.startsWith('/api/')) return serveFile(url.pathname, response);
  return json({ title: 'Not Found', status: 404 }, 404);
});

function serveFile(path, response) {
  const file = normalize(join(options.serve, path === '/' ? 'index.html' : path));
  if (!file.startsWith(normalize(options.serve)) || !existsSync(file) || !statSync(file).isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-security-policy': POLICY });
  createReadStream(file).pipe(response);
}

const sockets = new WebSocketServer({ server, path: '/api/v1/live' });
sockets.on('connection', (socket) => {
  if (options['signed-out']) return socket.close();
  socket.send(JSON.stringify({ type: 'snapshot', vehicles: fleet.vehicles.map((vehicle) => vehicle.live()) }));
  if (options['drop-after']) setTimeout(() => socket.terminate(), Number(options['drop-after']) * 1000);
});

// Reports come spread over the interval, coalesced as avl-cloud does: at most one message each 100 ms.
const SLICES = Math.max(1, Math.floor(intervalMs / 100));
let slice = 0;
setInterval(() => {
  const changed = fleet.step(Date.now(), slice, SLICES);
  slice = (slice + 1) % SLICES;
  if (changed.length === 0) return;
  const message = JSON.stringify({ type: 'update', vehicles: changed.map((vehicle) => vehicle.live()) });
  for (const socket of sockets.clients) if (socket.readyState === socket.OPEN) socket.send(message);
}, intervalMs / SLICES);

server.listen(Number(options.port), '127.0.0.1', () => {
  const address = server.address();
  console.log(`simulated fleet of ${fleet.vehicles.length}: http://127.0.0.1:${address.port}`);
});

// Measures the page under a large simulated fleet: frames per second and the CPU time that the page itself spends.
//
//   npm run build && node e2e/frame-rate.mjs [--vehicles 10000] [--seconds 8]
//
// Frames here come from a software renderer, so their rate says little about a graphics card. What holds everywhere is
// the CPU time of the page's own thread: to compose one frame, and as a share of a second under live updates.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openPage, startBrowser } from './browser.mjs';

const { values: options } = parseArgs({ options: { vehicles: { type: 'string', default: '10000' }, seconds: { type: 'string', default: '8' } } });
const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const server = spawn(process.execPath, [path('../dev/fleet-server.mjs'), '--vehicles', options.vehicles, '--port', '0', '--serve', path('../dist')], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const [line] = await once(server.stdout, 'data');
const url = /http:\S+/.exec(String(line))[0];
const browser = await startBrowser();
const ROUNDS = 200;
const views = [['whole country', '#5.6/39.9/-3.7'], ['region', '#9/40.42/-3.7'], ['city', '#12.5/40.42/-3.7'], ['streets', '#14.5/40.42/-3.7']];
try {
  for (const [name, hash] of views) {
    const { context, page, problems } = await openPage(browser, { url: `${url}/${hash}`, width: 1280, height: 800 });
    await page.waitForFunction((least) => (window.__avl?.vehicles().length ?? 0) >= least, Number(options.vehicles) * 0.9, { timeout: 60_000 });
    await page.waitForTimeout(5000);
    const cdp = await context.newCDPSession(page);
    // CPU time of the page's main thread: what other programs do meanwhile does not count.
    await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
    const cpu = async () => Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]));
    const before = await cpu();
    const result = await page.evaluate(async (seconds) => {
      const before = window.__avl.drawn().frames;
      const started = performance.now();
      await new Promise((done) => setTimeout(done, seconds * 1000));
      const elapsed = (performance.now() - started) / 1000;
      const drawn = window.__avl.drawn();
      return {
        framesPerSecond: Number(((drawn.frames - before) / elapsed).toFixed(1)),
        frames: drawn.frames - before, markers: drawn.markers, groups: drawn.groups, trailPieces: drawn.trailPieces,
      };
    }, Number(options.seconds));
    const after = await cpu();
    const composed = await cpu();
    await page.evaluate((rounds) => window.__avl.composeMs(rounds), ROUNDS);
    const composeMs = (((await cpu()).TaskDuration - composed.TaskDuration) / ROUNDS) * 1000;
    const share = (metric) => `${(((after[metric] - before[metric]) / Number(options.seconds)) * 100).toFixed(1)} %`;
    console.log(JSON.stringify({
      view: name, ...result, composeMs: Number(composeMs.toFixed(2)), mainThread: share('TaskDuration'), script: share('ScriptDuration'), problems,
    }));
    await context.close();
  }
} finally {
  await browser.close();
  server.kill();
}

// Opens the live map of a running avl-cloud by a sign-in link, and proves that vehicles move on it.
//
//   node e2e/live-map.mjs --url SIGN_IN_LINK --screenshot FILE.png [--vehicles N] [--timeout SECONDS] [--select FLEET/VEHICLE]
//
// Exit code 0: at least N vehicles were shown, at least one moved on the map between two looks, and neither the console
// nor the network of the page had an error. Pictures: FILE.png (desktop, light), FILE-dark.png, FILE-phone.png, and with
// --select FILE-vehicle.png.

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { openPage, startBrowser, watch } from './browser.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    screenshot: { type: 'string' },
    vehicles: { type: 'string', default: '1' },
    timeout: { type: 'string', default: '60' },
    select: { type: 'string' },
  },
});
if (!options.url || !options.screenshot) {
  console.error('usage: live-map.mjs --url SIGN_IN_LINK --screenshot FILE.png [--vehicles N] [--timeout SECONDS] [--select FLEET/VEHICLE]');
  process.exit(2);
}
const wanted = Number(options.vehicles);
const timeout = Number(options.timeout) * 1000;
const picture = (suffix) => options.screenshot.replace(/(\.png)?$/, `${suffix}.png`);
mkdirSync(dirname(options.screenshot), { recursive: true });

const browser = await startBrowser();
const failures = [];
/** What the console and the network of all pages complained of. */
const complaints = [];
try {
  await check();
} catch (error) {
  failures.push(error.message);
} finally {
  failures.push(...new Set(complaints.flat()));
  await browser.close();
}
for (const failure of failures) console.error(`FAILED: ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);

async function check() {
  const { context, page, problems } = await openPage(browser, { url: options.url, width: 1440, height: 900 });
  complaints.push(problems);
  const home = new URL('/', page.url()).href;
  const shown = () => page.evaluate(() => window.__avl?.vehicles() ?? []);
  const count = () => page.evaluate(() => window.__avl?.vehicles().length ?? 0);
  try {
    await page.waitForFunction((least) => (window.__avl?.vehicles().length ?? 0) >= least, wanted, { timeout });
  } catch {
    failures.push(`${await count()} of ${wanted} vehicles shown after ${options.timeout} s; the page says: ${(await page.innerText('body')).slice(0, 300)}`);
  }
  const before = new Map((await shown()).map((vehicle) => [vehicle.key, vehicle]));
  const framesBefore = await page.evaluate(() => window.__avl?.drawn().frames ?? 0);
  const moved = await movedSince(page, before);
  if (moved === 0) failures.push(`none of ${before.size} vehicles moved on the map within ${options.timeout} s`);
  const frames = (await page.evaluate(() => window.__avl?.drawn().frames ?? 0)) - framesBefore;
  if (moved > 0 && frames === 0) failures.push('vehicles moved but the map drew no frame');

  await settled(page);
  await page.screenshot({ path: picture('') });
  await page.emulateMedia({ colorScheme: 'dark' });
  await settled(page);
  await page.screenshot({ path: picture('-dark') });
  if (options.select) {
    await page.emulateMedia({ colorScheme: 'light' });
    await page.goto(`${home}#&v=${options.select}`);
    await page.reload();
    await page.waitForSelector('.chart svg, .chart-empty', { timeout });
    await page.waitForTimeout(3000);
    await settled(page);
    await page.screenshot({ path: picture('-vehicle') });
  }

  // A second window of the same session: the link itself works only once.
  const cookies = await context.cookies();
  const phone = await browser.newContext({
    viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, locale: 'es-ES', timezoneId: 'Europe/Madrid',
  });
  await phone.addCookies(cookies);
  const small = await phone.newPage();
  complaints.push(watch(small));
  await small.goto(home);
  await small.waitForFunction((least) => (window.__avl?.vehicles().length ?? 0) >= least, wanted, { timeout });
  await settled(small);
  await small.screenshot({ path: picture('-phone') });
  console.log(JSON.stringify({ vehicles: before.size, moved, frames, connection: await page.evaluate(() => window.__avl?.connection()), pictures: picture('') }));
}

/** How many markers are somewhere else than at the first look; waits until there is one. */
async function movedSince(page, before) {
  const end = Date.now() + timeout;
  let moved = 0;
  // Ten centimetres on the ground: a parked receiver's last digit is no movement.
  while (moved === 0 && Date.now() < end) {
    await page.waitForTimeout(3000);
    const after = await page.evaluate(() => window.__avl?.vehicles() ?? []);
    moved = after.filter(({ key, lat, lon }) => {
      const old = before.get(key);
      return old && Math.hypot(lat - old.lat, (lon - old.lon) * Math.cos((lat * Math.PI) / 180)) * 111_320 > 0.1;
    }).length;
  }
  return moved;
}

/** The ground and its names are loaded and drawn. */
async function settled(page) {
  await page.waitForFunction(() => window.__avl?.groundLoaded() ?? false, undefined, { timeout: 30_000 }).catch(() => undefined);
  await page.waitForTimeout(1500);
}

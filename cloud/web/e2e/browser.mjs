// Starts the Chromium of the system for the tests. Set CHROMIUM when it is somewhere else.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PLACES = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function startBrowser() {
  const executablePath = PLACES.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error('no Chromium found: install it (apt-get install chromium) or set CHROMIUM to its path');
  return chromium.launch({
    executablePath,
    args: [
      // CI often runs as root in a container, where Chromium's own sandbox cannot start.
      '--no-sandbox', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-quic', '--disable-extensions', '--disable-default-apps',
      // There is no graphics card: WebGL is computed.
      '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist',
    ],
  });
}

/** A page that collects what went wrong in it. `rejects` would also fail a page that silently misses a file. */
export async function openPage(browser, { url, width, height, dark = false, phone = false, locale = 'en-GB' }) {
  const context = await browser.newContext({
    viewport: { width, height }, deviceScaleFactor: phone ? 2 : 1, hasTouch: phone, isMobile: phone,
    colorScheme: dark ? 'dark' : 'light', locale, timezoneId: 'Europe/Madrid',
  });
  const page = await context.newPage();
  const problems = watch(page);
  await page.goto(url, { waitUntil: 'load' });
  return { context, page, problems };
}

export function watch(page) {
  const problems = [];
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    // Said by Chromium about its own software renderer, not by the page.
    if (/GPU stall due to ReadPixels|Automatic fallback to software WebGL|GL Driver Message/.test(message.text())) return;
    problems.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`page error: ${error.message}`));
  page.on('requestfailed', (request) => {
    // A page that is closed or reloaded gives up what it was fetching.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') problems.push(`request failed: ${request.url()} ${request.failure()?.errorText}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) problems.push(`${response.status()}: ${response.url()}`);
  });
  return problems;
}

import { expect, test } from 'vitest';
import { toPixelX, toPixelY, type Camera } from './camera';

const camera: Camera = { x: 0.5, y: 0.5, centreX: 400, centreY: 300, worldSize: 1000, zoom: 1, bearingRadians: 0, width: 800, height: 600 };

test('east is right and north is up', () => {
  expect([toPixelX(camera, 0.6, 0.4), toPixelY(camera, 0.6, 0.4)].map(Math.round)).toEqual([500, 200]);
});

test('with the camera turned east, north points left', () => {
  const turned = { ...camera, bearingRadians: Math.PI / 2 };
  expect(toPixelX(turned, 0.5, 0.4)).toBeCloseTo(300, 9);
  expect(toPixelY(turned, 0.5, 0.4)).toBeCloseTo(300, 9);
});

test('across the date line the nearer copy is taken', () => {
  expect(toPixelX({ ...camera, x: 0.99 }, 0.01, 0.5)).toBeCloseTo(420, 9);
});

import { expect, test } from 'vitest';
import { makeClusters, SKIP, type Points } from './cluster';

function points(places: [number, number, number?][]): Points {
  return {
    x: Float64Array.from(places, ([x]) => x), y: Float64Array.from(places, ([, y]) => y),
    state: Uint8Array.from(places, ([, , state]) => state ?? 0), count: places.length,
  };
}

const heap = (x: number, y: number, count: number, state = 0) =>
  Array.from({ length: count }, (_, i): [number, number, number] => [x + i * 1e-6, y, state]);

test('markers on top of each other become one group with their number and states', () => {
  const { clusters, of } = makeClusters(points([...heap(0.5, 0.4, 6), ...heap(0.5, 0.4, 2, 3)]), 6);
  expect(clusters).toHaveLength(1);
  expect(clusters[0]?.count).toBe(8);
  expect(clusters[0]?.byState).toEqual([6, 0, 0, 2]);
  expect([...of]).toEqual(Array(8).fill(0));
});

test('every point is in exactly one group or alone', () => {
  const spread = Array.from({ length: 2000 }, (_, i): [number, number, number] => [0.48 + ((i * 7919) % 1000) * 4e-5, 0.38 + ((i * 104729) % 997) * 4e-5, i % 4]);
  const { clusters, of } = makeClusters(points(spread), 7);
  const counted = clusters.map(() => 0);
  for (const index of of) if (index >= 0) counted[index] = (counted[index] ?? 0) + 1;
  expect(counted).toEqual(clusters.map(({ count }) => count));
  expect(clusters.map(({ byState, count }) => byState.reduce((a, b) => a + b) - count)).toEqual(clusters.map(() => 0));
});

test('a few markers beside each other stay alone', () => {
  const side = 56 / (512 * 2 ** 6);
  const { clusters } = makeClusters(points([[0.5 + side * 0.1, 0.4], [0.5 + side * 0.5, 0.4], [0.5 + side * 0.9, 0.4]]), 6);
  expect(clusters).toEqual([]);
});

test('two that cover each other are a group, and come apart from nearer', () => {
  const pair = points([[0.5, 0.4], [0.500_05, 0.4]]);
  expect(makeClusters(pair, 6).clusters).toHaveLength(1);
  expect(makeClusters(pair, 11).clusters).toHaveLength(0);
});

test('the selected vehicle is never swallowed', () => {
  const { of, clusters } = makeClusters(points([...heap(0.5, 0.4, 6), [0.5, 0.4, SKIP]]), 6);
  expect(of[6]).toBe(-1);
  expect(clusters[0]?.count).toBe(6);
});

test('a group keeps its key while a member moves within its cell', () => {
  const before = makeClusters(points(heap(0.5, 0.4, 6)), 6).clusters[0];
  const after = makeClusters(points([...heap(0.5, 0.4, 5), [0.500_1, 0.400_1]]), 6).clusters[0];
  expect(after?.key).toBe(before?.key);
});

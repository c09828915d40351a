// Groups markers that would lie on top of each other. A grid that is fixed to the world (not to the screen) keeps a
// group together while the map is panned; a group is shown at the mean of its members, and swallows a neighbouring cell
// whose mean is as near as its own members are.

export interface Points {
  /** World units. */
  x: Float64Array;
  y: Float64Array;
  /** Index into the states of a vehicle; `SKIP`: stays alone. */
  state: Uint8Array;
  count: number;
}

export interface Cluster {
  /** Stays the same while the group stays where it is: easing needs to know it again. */
  key: string;
  x: number;
  y: number;
  count: number;
  /** Members by state. */
  byState: [number, number, number, number];
}

export interface Clusters {
  clusters: Cluster[];
  /** For each point the index of its cluster, or -1. */
  of: Int32Array;
}

export const SKIP = 255;
/** Side of a cell, pixels: about two markers. */
const CELL_PX = 56;
/** Fewer than this in a cell can still be told apart, unless they all lie within a marker's width. */
const SMALLEST = 4;
const HEAP_PX = 14;
/** Cells of this many zooms are the same, so that zooming regroups in steps instead of always. */
const ZOOM_STEP = 0.5;

interface Cell {
  column: number;
  row: number;
  members: number[];
  sumX: number;
  sumY: number;
  cluster: number;
}

export function clusterZoom(zoom: number): number {
  return Math.floor(zoom / ZOOM_STEP) * ZOOM_STEP;
}

export function makeClusters(points: Points, zoom: number): Clusters {
  const step = clusterZoom(zoom);
  const cellsInWorld = (512 * 2 ** step) / CELL_PX;
  const cells = fillCells(points, cellsInWorld);
  const crowded = [...cells.values()].filter((cell) => cell.members.length >= SMALLEST || isHeap(cell, points, cellsInWorld));
  crowded.sort((a, b) => b.members.length - a.members.length || a.row - b.row || a.column - b.column);

  const clusters: Cluster[] = [];
  const of = new Int32Array(points.count).fill(-1);
  for (const seed of crowded) {
    if (seed.cluster >= 0) continue;
    const index = clusters.length;
    const cluster: Cluster = { key: `${step}:${seed.column}:${seed.row}`, x: 0, y: 0, count: 0, byState: [0, 0, 0, 0] };
    clusters.push(cluster);
    let sumX = 0;
    let sumY = 0;
    const take = (cell: Cell) => {
      cell.cluster = index;
      sumX += cell.sumX;
      sumY += cell.sumY;
      cluster.count += cell.members.length;
      for (const member of cell.members) {
        of[member] = index;
        const state = points.state[member] ?? 0;
        cluster.byState[state as 0 | 1 | 2 | 3] += 1;
      }
      cluster.x = sumX / cluster.count;
      cluster.y = sumY / cluster.count;
    };
    take(seed);
    for (const near of neighbours(cells, seed)) {
      const dx = (near.sumX / near.members.length - cluster.x) * cellsInWorld;
      const dy = (near.sumY / near.members.length - cluster.y) * cellsInWorld;
      if (near.cluster < 0 && Math.hypot(dx, dy) < 0.8) take(near);
    }
  }
  return { clusters, of };
}

/** Whether two or three markers cover each other. */
function isHeap(cell: Cell, points: Points, cellsInWorld: number): boolean {
  if (cell.members.length < 2) return false;
  const x = cell.members.map((member) => points.x[member] ?? 0);
  const y = cell.members.map((member) => points.y[member] ?? 0);
  const extent = Math.max(Math.max(...x) - Math.min(...x), Math.max(...y) - Math.min(...y));
  return extent * cellsInWorld * CELL_PX < HEAP_PX;
}

function fillCells(points: Points, cellsInWorld: number): Map<number, Cell> {
  const cells = new Map<number, Cell>();
  for (let i = 0; i < points.count; i += 1) {
    if (points.state[i] === SKIP) continue;
    const x = points.x[i] ?? 0;
    const y = points.y[i] ?? 0;
    const column = Math.floor(x * cellsInWorld);
    const row = Math.floor(y * cellsInWorld);
    const id = cellId(column, row);
    let cell = cells.get(id);
    if (!cell) {
      cell = { column, row, members: [], sumX: 0, sumY: 0, cluster: -1 };
      cells.set(id, cell);
    }
    cell.members.push(i);
    cell.sumX += x;
    cell.sumY += y;
  }
  return cells;
}

function neighbours(cells: Map<number, Cell>, cell: Cell): Cell[] {
  const found: Cell[] = [];
  for (let row = cell.row - 1; row <= cell.row + 1; row += 1) {
    for (let column = cell.column - 1; column <= cell.column + 1; column += 1) {
      const near = cells.get(cellId(column, row));
      if (near && near !== cell) found.push(near);
    }
  }
  return found;
}

/** At zoom 14 the world has 150,000 columns: both fit in one safe integer. */
function cellId(column: number, row: number): number {
  return column * 4_194_304 + row;
}

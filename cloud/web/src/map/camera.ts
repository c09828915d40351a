// Where the (unpitched) camera stands, and the two affine maps between world units and pixels of the map's box.

export interface Camera {
  /** World units. */
  x: number;
  y: number;
  /** Pixel that the centre falls on: padding for panels moves it off the middle. */
  centreX: number;
  centreY: number;
  /** Pixels in one world unit. */
  worldSize: number;
  zoom: number;
  bearingRadians: number;
  width: number;
  height: number;
}

/** Of the copies of the world side by side, takes the one nearest to the camera. */
export function wrapX(x: number, camera: Camera): number {
  return x - Math.round(x - camera.x);
}

export function toPixelX(camera: Camera, x: number, y: number): number {
  const dx = (wrapX(x, camera) - camera.x) * camera.worldSize;
  const dy = (y - camera.y) * camera.worldSize;
  return camera.centreX + dx * Math.cos(camera.bearingRadians) + dy * Math.sin(camera.bearingRadians);
}

export function toPixelY(camera: Camera, x: number, y: number): number {
  const dx = (wrapX(x, camera) - camera.x) * camera.worldSize;
  const dy = (y - camera.y) * camera.worldSize;
  return camera.centreY - dx * Math.sin(camera.bearingRadians) + dy * Math.cos(camera.bearingRadians);
}

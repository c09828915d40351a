// Web Mercator in world units: x and y in 0..1, y downwards, as in tile schemes. (EPSG:3857, scaled.)

/** Circumference of the sphere of Web Mercator, metres. */
const EARTH_CIRCUMFERENCE_M = 2 * Math.PI * 6_378_137;
const MAX_LATITUDE = 85.051_129;

export function mercatorX(lon: number): number {
  return lon / 360 + 0.5;
}

export function mercatorY(lat: number): number {
  const clamped = Math.max(-MAX_LATITUDE, Math.min(MAX_LATITUDE, lat));
  const sine = Math.sin((clamped * Math.PI) / 180);
  return 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
}

export function longitude(x: number): number {
  return (x - 0.5) * 360;
}

export function latitude(y: number): number {
  return (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
}

/** World units in a metre at this y. */
export function worldPerMetre(y: number): number {
  return Math.cosh(Math.PI * (1 - 2 * y)) / EARTH_CIRCUMFERENCE_M;
}

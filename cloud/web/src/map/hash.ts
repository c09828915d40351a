// The address of a view: `#zoom/latitude/longitude/bearing&v=fleet/vehicle`, all parts optional from the right.

export interface View {
  zoom: number;
  lat: number;
  lon: number;
  bearing: number;
}

export interface Address {
  view: View | null;
  /** `fleet/vehicle`. */
  vehicle: string | null;
}

export function readHash(hash: string): Address {
  const [place = '', ...rest] = hash.replace(/^#/, '').split('&');
  const [zoom, lat, lon, bearing = 0] = place.split('/').map(Number);
  const named = new URLSearchParams(rest.join('&')).get('v');
  return {
    view:
      zoom !== undefined && lat !== undefined && lon !== undefined && [zoom, lat, lon, bearing].every(Number.isFinite) &&
      zoom >= 0 && zoom <= 24 && Math.abs(lat) <= 90 && place !== ''
        ? { zoom, lat, lon, bearing }
        : null,
    vehicle: named !== null && /^[^/]+\/[^/]+$/.test(named) ? named : null,
  };
}

export function writeHash({ view, vehicle }: Address): string {
  const parts: string[] = [];
  if (view) {
    // A screen pixel at this zoom decides how many decimals mean anything.
    const decimals = Math.max(0, Math.min(6, Math.ceil((view.zoom * Math.LN2 + Math.log(512 / 360)) / Math.LN10)));
    const place = [view.zoom.toFixed(2), view.lat.toFixed(decimals), view.lon.toFixed(decimals)];
    if (Math.abs(view.bearing) >= 0.5) place.push(view.bearing.toFixed(0));
    parts.push(place.join('/'));
  } else {
    parts.push('');
  }
  if (vehicle !== null) parts.push(`v=${vehicle.split('/').map(encodeURIComponent).join('/')}`);
  return `#${parts.join('&')}`;
}

// The map itself: sets MapLibre up, keeps it repainting while something moves, and turns pointer events into choices.

import { AttributionControl, LngLatBounds, Map as MapLibre, ScaleControl, setWorkerUrl, type GeoJSONSource } from 'maplibre-gl';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url';
import type { Fleet } from '../live/fleet';
import { useUi, select } from '../ui/store';
import { loadAtlas, type AtlasProgress } from './basemap/atlas';
import { graticule } from './basemap/graticule';
import { Places } from './basemap/places';
import { makeLayers, makeStyle, type Tiles } from './basemap/style';
import type { View } from './hash';
import type { Placed } from './interpolate';
import { latitude, longitude } from './mercator';
import { PALETTES, type Palette, type Theme } from './palette';
import { MOUSE_REACH_PX, pick, TOUCH_REACH_PX } from './pick';
import { VehicleLayer } from './vehicles/layer';
import type { Emphasis } from './vehicles/scene';

setWorkerUrl(workerUrl);

const GRATICULE_FROM_ZOOM = 8;
const SELECTED_ZOOM = 14;
/** From far away nothing moves a pixel between frames: repaint less, and leave the battery alone. */
const FAR_ZOOM = 9;
const FAR_FRAME_MS = 100;

export class FleetMap {
  readonly map: MapLibre;
  readonly vehicles: VehicleLayer;
  /** Frames drawn since the page was opened. */
  frames = 0;
  private atlas: AtlasProgress = { pending: 1 };
  private readonly places: Places;
  private readonly place: Placed = { x: 0, y: 0, course: null };
  private frameRequest = 0;
  private lastFrame = 0;
  private ready = false;
  private readonly whenReady: (() => void)[] = [];

  constructor(
    container: HTMLElement,
    private readonly fleet: Fleet,
    private theme: Theme,
    private readonly tiles: Tiles | null,
    options: { view: View | null; locale: string; label: string; calm: boolean },
  ) {
    const palette = PALETTES[theme];
    this.map = new MapLibre({
      container,
      style: makeStyle(palette, tiles),
      center: options.view ? [options.view.lon, options.view.lat] : [-3.7, 40.2],
      zoom: options.view?.zoom ?? 4.6,
      bearing: options.view?.bearing ?? 0,
      maxPitch: 0,
      minZoom: 1,
      maxZoom: 19,
      attributionControl: false,
      fadeDuration: options.calm ? 0 : 150,
    });
    this.map.addControl(new AttributionControl({ compact: true }), 'bottom-right');
    this.map.addControl(new ScaleControl({ maxWidth: 110 }), 'bottom-right');
    this.map.getCanvas().setAttribute('aria-label', options.label);
    this.vehicles = new VehicleLayer(fleet, palette, theme === 'dark');
    this.places = new Places(this.map, options.locale);
    this.map.once('style.load', () => { this.begin(); });
    this.listen();
  }

  /** Whether the ground in sight is drawn. */
  groundLoaded(): boolean {
    return this.atlas.pending === 0 && this.map.areTilesLoaded();
  }

  /** Runs once the style stands. */
  onReady(action: () => void): void {
    if (this.ready) action();
    else this.whenReady.push(action);
  }

  remove(): void {
    cancelAnimationFrame(this.frameRequest);
    this.map.remove();
  }

  setTheme(theme: Theme): void {
    if (theme === this.theme) return;
    this.theme = theme;
    const palette = PALETTES[theme];
    this.onReady(() => {
      for (const layer of makeLayers(palette, this.tiles !== null)) {
        for (const [property, value] of Object.entries(layer.paint ?? {})) {
          this.map.setPaintProperty(layer.id, property as never, value as never);
        }
      }
      this.map.updateImage('place', placeDot(palette));
      this.vehicles.setPalette(palette, theme === 'dark');
    });
  }

  setLocale(locale: string): void {
    this.places.setLocale(locale);
  }

  emphasise(emphasis: Emphasis): void {
    this.vehicles.emphasis = emphasis;
    this.repaint();
  }

  /** Called after each frame: labels in HTML follow what was drawn. Returns what ends it. */
  onFrame(action: () => void): () => void {
    this.vehicles.afterFrame = action;
    this.repaint();
    return () => { this.vehicles.afterFrame = null; };
  }

  repaint(): void {
    this.map.triggerRepaint();
  }

  /** Shows everything that has a position. */
  fitAll(animate: boolean): void {
    const bounds = new LngLatBounds();
    const now = this.fleet.frameNow();
    for (const vehicle of this.fleet.vehicles.values()) {
      if (this.fleet.place(vehicle, now, this.place)) bounds.extend([longitude(this.place.x), latitude(this.place.y)]);
    }
    if (!bounds.isEmpty()) this.map.fitBounds(bounds, { padding: 64, maxZoom: 13, animate });
  }

  flyTo(key: string, animate: boolean): void {
    const vehicle = this.fleet.vehicles.get(key);
    if (!vehicle || !this.fleet.place(vehicle, this.fleet.frameNow(), this.place)) return;
    const target = { center: [longitude(this.place.x), latitude(this.place.y)] as [number, number], zoom: Math.max(this.map.getZoom(), SELECTED_ZOOM) };
    if (animate) this.map.flyTo({ ...target, maxDuration: 1_800, speed: 1.8 });
    else this.map.jumpTo(target);
  }

  private begin(): void {
    this.map.addImage('place', placeDot(PALETTES[this.theme]), { pixelRatio: 2 });
    this.map.addLayer(this.vehicles);
    this.atlas = loadAtlas(this.map);
    this.places.load().catch((error: unknown) => { console.warn(error); });
    this.drawGraticule();
    this.map.on('moveend', () => { this.drawGraticule(); });
    this.map.on('render', () => { this.frames += 1; });
    this.ready = true;
    for (const action of this.whenReady) action();
    this.whenReady.length = 0;
    this.fleet.subscribe(() => { this.repaint(); });
    this.tick();
  }

  /** Repaints while something moves, and keeps a followed vehicle in the middle. */
  private readonly tick = (): void => {
    this.frameRequest = requestAnimationFrame(this.tick);
    const now = performance.now();
    const { selected, follow } = useUi.getState();
    if (follow && selected !== null) this.keepInMiddle(selected);
    if (!this.vehicles.scene.lively) return;
    if (this.map.getZoom() < FAR_ZOOM && now - this.lastFrame < FAR_FRAME_MS) return;
    this.lastFrame = now;
    this.map.triggerRepaint();
  };

  private keepInMiddle(key: string): void {
    const vehicle = this.fleet.vehicles.get(key);
    if (!vehicle || this.map.isMoving() || !this.fleet.place(vehicle, this.fleet.frameNow(), this.place)) return;
    const centre = this.map.getCenter();
    const lon = longitude(this.place.x);
    const lat = latitude(this.place.y);
    if (Math.abs(lon - centre.lng) + Math.abs(lat - centre.lat) > 1e-7) this.map.jumpTo({ center: [lon, lat] });
  }

  private drawGraticule(): void {
    const bounds = this.map.getBounds();
    const features = this.map.getZoom() < GRATICULE_FROM_ZOOM ? [] : graticule({
      west: bounds.getWest(), south: bounds.getSouth(), east: bounds.getEast(), north: bounds.getNorth(),
    });
    void this.map.getSource<GeoJSONSource>('graticule')?.setData({ type: 'FeatureCollection', features });
  }

  private listen(): void {
    const { map } = this;
    const scene = this.vehicles.scene;
    map.on('mousemove', (event) => {
      const found = pick(scene, event.point.x, event.point.y, MOUSE_REACH_PX);
      map.getCanvas().style.cursor = found ? 'pointer' : '';
      useUi.setState({ hovered: found?.kind === 'vehicle' ? found.vehicle.vehicle.key : null });
    });
    map.on('mouseout', () => { useUi.setState({ hovered: null }); });
    map.on('click', (event) => {
      const touch = (event.originalEvent as Partial<PointerEvent>).pointerType === 'touch';
      const found = pick(scene, event.point.x, event.point.y, touch ? TOUCH_REACH_PX : MOUSE_REACH_PX);
      if (found?.kind === 'vehicle') select(found.vehicle.vehicle.key);
      else if (found?.kind === 'cluster') {
        map.easeTo({ center: [longitude(found.cluster.x), latitude(found.cluster.y)], zoom: Math.min(map.getZoom() + 2, 15) });
      }
    });
    // Whoever drags the map wants to look elsewhere.
    map.on('dragstart', () => { useUi.setState({ follow: false }); });
  }
}

/** The dot of a town, drawn at twice its size. */
function placeDot(palette: Palette): ImageData {
  const size = 12;
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = size;
  const context = canvas.getContext('2d');
  if (!context) return new ImageData(size, size);
  context.beginPath();
  context.arc(size / 2, size / 2, size / 2 - 2, 0, Math.PI * 2);
  context.fillStyle = palette.labelHalo;
  context.fill();
  context.lineWidth = 2.5;
  context.strokeStyle = palette.placeDot;
  context.stroke();
  return context.getImageData(0, 0, size, size);
}

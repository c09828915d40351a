// Draws the fleet into the map's own WebGL context, below nothing and above everything.

import type { CustomLayerInterface, Map as MapLibre } from 'maplibre-gl';
import type { Fleet } from '../../live/fleet';
import { STATES } from '../../live/state';
import { readCamera } from '../read-camera';
import { rgb, type Palette } from '../palette';
import { Quads, type Instances } from './gl';
import { makeGlyphStrip, type GlyphStrip } from './glyphs';
import { Scene, type Emphasis } from './scene';
import * as shaders from './shaders';

interface Programs {
  markers: Quads;
  discs: Quads;
  glyphs: Quads;
  trails: Quads;
  strip: GlyphStrip | null;
}

const TRAIL_HALF_WIDTH_PX = 1.75;

export class VehicleLayer implements CustomLayerInterface {
  readonly id = 'vehicles';
  readonly type = 'custom' as const;
  readonly renderingMode = '2d' as const;
  readonly scene = new Scene();
  emphasis: Emphasis = { selected: null, hovered: null, filter: null };
  /** Called after each frame: labels in HTML follow what was drawn. */
  afterFrame: (() => void) | null = null;
  private map: MapLibre | null = null;
  private programs: Programs | null = null;

  constructor(
    private readonly fleet: Fleet,
    private palette: Palette,
    private dark: boolean,
  ) {}

  setPalette(palette: Palette, dark: boolean): void {
    this.palette = palette;
    this.dark = dark;
    this.map?.triggerRepaint();
  }

  onAdd(map: MapLibre, gl: WebGLRenderingContext | WebGL2RenderingContext): void {
    this.map = map;
    if (!(gl instanceof WebGL2RenderingContext)) throw new Error('this browser has no WebGL 2: the map cannot show vehicles; update the browser');
    this.programs = {
      markers: new Quads(gl, shaders.MARKER_VERTEX, shaders.MARKER_FRAGMENT, [{ name: 'a_place', size: 4 }, { name: 'a_look', size: 2 }]),
      discs: new Quads(gl, shaders.CLUSTER_VERTEX, shaders.CLUSTER_FRAGMENT, [{ name: 'a_place', size: 3 }, { name: 'a_parts', size: 4 }]),
      glyphs: new Quads(gl, shaders.GLYPH_VERTEX, shaders.GLYPH_FRAGMENT, [{ name: 'a_place', size: 4 }, { name: 'a_glyph', size: 2 }]),
      trails: new Quads(gl, shaders.TRAIL_VERTEX, shaders.TRAIL_FRAGMENT, [{ name: 'a_ends', size: 4 }, { name: 'a_look', size: 3 }]),
      strip: makeGlyphStrip(gl, window.devicePixelRatio),
    };
  }

  onRemove(): void {
    this.map = null;
    this.programs = null;
  }

  render(gl: WebGLRenderingContext | WebGL2RenderingContext): void {
    const { map, programs, scene } = this;
    if (!map || !programs) return;
    const camera = readCamera(map);
    scene.compose(this.fleet, camera, this.emphasis, programs.strip);

    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.disable(gl.CULL_FACE);

    const colours = new Float32Array(STATES.flatMap((state) => rgb(this.palette.vehicle[state])));
    const start = (quads: Quads) => {
      quads.use();
      gl.uniform2f(quads.uniform('u_box'), camera.width, camera.height);
      gl.uniform3fv(quads.uniform('u_colours'), colours);
      gl.uniform1f(quads.uniform('u_shadow'), this.dark ? 0.4 : 0.1);
    };
    const draw = (quads: Quads, { data, count, floatsEach }: Instances) => { quads.draw(data, count, floatsEach); };

    start(programs.trails);
    gl.uniform1f(programs.trails.uniform('u_width'), TRAIL_HALF_WIDTH_PX);
    draw(programs.trails, scene.trails);

    start(programs.markers);
    gl.uniform3f(programs.markers.uniform('u_outline'), ...rgb(this.palette.outline));
    gl.uniform3f(programs.markers.uniform('u_selection'), ...rgb(this.palette.selection));
    draw(programs.markers, scene.markers);

    start(programs.discs);
    gl.uniform3f(programs.discs.uniform('u_face'), ...rgb(this.palette.clusterFace));
    draw(programs.discs, scene.discs);

    if (programs.strip) {
      programs.glyphs.use();
      gl.uniform2f(programs.glyphs.uniform('u_box'), camera.width, camera.height);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, programs.strip.texture);
      gl.uniform1i(programs.glyphs.uniform('u_strip'), 0);
      gl.uniform3f(programs.glyphs.uniform('u_colour'), ...rgb(this.palette.clusterText));
      draw(programs.glyphs, scene.glyphs);
    }
    this.afterFrame?.();
  }
}

// The digits on groups, drawn once on a canvas and used as a texture.

const CHARACTERS = Array.from('0123456789k');
const FONT_PX = 13;
const HEIGHT_PX = 18;

export interface GlyphStrip {
  texture: WebGLTexture;
  heightPx: number;
  /** Left edge and width in the strip as shares of it, and width in pixels. */
  glyphs: Map<string, { left: number; share: number; widthPx: number }>;
}

export function makeGlyphStrip(gl: WebGL2RenderingContext, pixelRatio: number): GlyphStrip | null {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  const texture = gl.createTexture();
  if (!context) return null;
  const scale = Math.max(2, Math.ceil(pixelRatio));
  const font = `600 ${FONT_PX * scale}px "Inter Variable", system-ui, sans-serif`;
  context.font = font;
  // A pixel of air on both sides keeps neighbours from bleeding in.
  const widths = CHARACTERS.map((character) => Math.ceil(context.measureText(character).width) + 2);
  canvas.width = widths.reduce((sum, width) => sum + width, 0);
  canvas.height = HEIGHT_PX * scale;
  context.font = font;
  context.textBaseline = 'middle';
  const glyphs: GlyphStrip['glyphs'] = new Map();
  let left = 0;
  CHARACTERS.forEach((character, index) => {
    const width = widths[index] ?? 0;
    context.fillText(character, left + 1, canvas.height / 2 + scale * 0.5);
    glyphs.set(character, { left: left / canvas.width, share: width / canvas.width, widthPx: width / scale });
    left += width;
  });
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, canvas);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return { texture, heightPx: HEIGHT_PX, glyphs };
}

/** Up to 9,999 in full. */
export function clusterText(count: number): string {
  return count < 10_000 ? String(count) : `${Math.round(count / 1000)}k`;
}

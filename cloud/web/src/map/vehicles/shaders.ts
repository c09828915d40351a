// Shaders of markers, groups, numbers and trails. Positions arrive in pixels of the map's box, from the top left.

const PIXELS = `#version 300 es
precision highp float;
uniform vec2 u_box;
vec4 fromPixels(vec2 p) {
  return vec4(p.x / u_box.x * 2.0 - 1.0, 1.0 - p.y / u_box.y * 2.0, 0.0, 1.0);
}
`;

const FRAGMENT = `#version 300 es
precision highp float;
out vec4 o_colour;
vec4 over(vec4 top, vec4 below) {
  return top + below * (1.0 - top.a);
}
vec4 paint(vec3 colour, float alpha) {
  return vec4(colour * alpha, alpha);
}
/** 1 inside, 0 outside, one pixel of slope. d in pixels. */
float inside(float d) {
  return clamp(0.5 - d, 0.0, 1.0);
}
`;

/** a_place: x, y, course in radians clockwise from the top, size in pixels. a_look: state, emphasis (0, 1 hover, 2 selected). */
export const MARKER_VERTEX = `${PIXELS}
in vec2 a_corner;
in vec4 a_place;
in vec2 a_look;
out vec2 v_offset;
flat out float v_course;
flat out float v_size;
flat out vec2 v_look;
void main() {
  float reach = a_place.w * 1.9 + 4.0;
  v_offset = a_corner * reach;
  v_course = a_place.z;
  v_size = a_place.w;
  v_look = a_look;
  gl_Position = fromPixels(a_place.xy + v_offset);
}`;

/** Each state has its own shape: an arrow moves, a disc stands, a ring has no fix, a small hollow disc is silent. */
export const MARKER_FRAGMENT = `${FRAGMENT}
uniform vec3 u_colours[4];
uniform vec3 u_outline;
uniform vec3 u_selection;
uniform float u_shadow;
in vec2 v_offset;
flat in float v_course;
flat in float v_size;
flat in vec2 v_look;

/** Signed distance to the arrow whose nose is at the top. Points in units of its size. */
float arrow(vec2 p) {
  p.x = abs(p.x);
  vec2 nose = vec2(0.0, -1.0);
  vec2 wing = vec2(0.74, 0.84);
  vec2 notch = vec2(0.0, 0.46);
  vec2 e1 = wing - nose;
  vec2 w1 = p - nose;
  vec2 b1 = w1 - e1 * clamp(dot(w1, e1) / dot(e1, e1), 0.0, 1.0);
  vec2 e2 = notch - wing;
  vec2 w2 = p - wing;
  vec2 b2 = w2 - e2 * clamp(dot(w2, e2) / dot(e2, e2), 0.0, 1.0);
  float d = sqrt(min(dot(b1, b1), dot(b2, b2)));
  bool within = (e1.x * w1.y - e1.y * w1.x) > 0.0 && (e2.x * w2.y - e2.y * w2.x) > 0.0;
  return within ? -d : d;
}

void main() {
  int state = int(v_look.x + 0.5);
  float emphasis = v_look.y;
  float c = cos(v_course);
  float s = sin(v_course);
  vec2 turned = vec2(c * v_offset.x + s * v_offset.y, -s * v_offset.x + c * v_offset.y);
  float away = length(v_offset);
  float shape;
  if (state == 0) shape = arrow(turned / v_size) * v_size - 1.5;
  else if (state == 3) shape = away - v_size * 0.46;
  else shape = away - v_size * 0.56;

  vec3 colour = u_colours[state];
  vec4 result = vec4(0.0);
  if (emphasis > 0.5) {
    float halo = away - v_size * 1.45;
    float ring = abs(halo) - (emphasis > 1.5 ? 1.25 : 0.75);
    result = over(paint(colour, 0.16 * inside(halo)), result);
    result = over(paint(emphasis > 1.5 ? u_selection : colour, inside(ring)), result);
  }
  result = over(paint(vec3(0.0), u_shadow * smoothstep(6.0, -2.0, shape - 1.0)), result);
  result = over(paint(u_outline, inside(shape - 2.0)), result);
  result = over(paint(colour, inside(shape)), result);
  if (state == 2) result = over(paint(u_outline, inside(away - v_size * 0.26)), result);
  if (state == 3) result = over(paint(u_outline, inside(away - v_size * 0.24)), result);
  o_colour = result;
}`;

/** a_place: x, y, radius. a_parts: shares of the four states, adding up to 1. */
export const CLUSTER_VERTEX = `${PIXELS}
in vec2 a_corner;
in vec3 a_place;
in vec4 a_parts;
out vec2 v_offset;
flat out float v_radius;
flat out vec4 v_parts;
void main() {
  v_offset = a_corner * (a_place.z + 10.0);
  v_radius = a_place.z;
  v_parts = a_parts;
  gl_Position = fromPixels(a_place.xy + v_offset);
}`;

/** A disc with a ring whose arcs say how many members are in which state. */
export const CLUSTER_FRAGMENT = `${FRAGMENT}
uniform vec3 u_colours[4];
uniform vec3 u_face;
uniform float u_shadow;
in vec2 v_offset;
flat in float v_radius;
flat in vec4 v_parts;
void main() {
  float away = length(v_offset);
  float turn = fract(atan(v_offset.x, -v_offset.y) / 6.28318530718 + 1.0);
  vec3 colour = u_colours[3];
  if (turn < v_parts.x) colour = u_colours[0];
  else if (turn < v_parts.x + v_parts.y) colour = u_colours[1];
  else if (turn < v_parts.x + v_parts.y + v_parts.z) colour = u_colours[2];
  vec4 result = paint(vec3(0.0), u_shadow * smoothstep(8.0, -2.0, away - v_radius - 1.0));
  result = over(paint(u_face, 0.95 * inside(away - v_radius)), result);
  result = over(paint(colour, inside(abs(away - (v_radius - 2.5)) - 1.75)), result);
  o_colour = result;
}`;

/** a_place: x, y of the middle, width, height. a_glyph: left edge and width in the strip of glyphs, 0..1. */
export const GLYPH_VERTEX = `${PIXELS}
in vec2 a_corner;
in vec4 a_place;
in vec2 a_glyph;
out vec2 v_at;
void main() {
  v_at = vec2(a_glyph.x + (a_corner.x * 0.5 + 0.5) * a_glyph.y, a_corner.y * 0.5 + 0.5);
  gl_Position = fromPixels(a_place.xy + a_corner * a_place.zw * 0.5);
}`;

export const GLYPH_FRAGMENT = `${FRAGMENT}
uniform sampler2D u_strip;
uniform vec3 u_colour;
in vec2 v_at;
void main() {
  o_colour = paint(u_colour, texture(u_strip, v_at).a);
}`;

/** a_ends: x, y of both ends. a_look: opacity at both ends, state. */
export const TRAIL_VERTEX = `${PIXELS}
uniform float u_width;
in vec2 a_corner;
in vec4 a_ends;
in vec3 a_look;
out float v_across;
out float v_opacity;
flat out float v_state;
void main() {
  vec2 along = a_ends.zw - a_ends.xy;
  float span = max(length(along), 0.0001);
  vec2 normal = vec2(-along.y, along.x) / span;
  float t = a_corner.x * 0.5 + 0.5;
  v_across = a_corner.y * (u_width + 1.0);
  v_opacity = mix(a_look.x, a_look.y, t);
  v_state = a_look.z;
  gl_Position = fromPixels(mix(a_ends.xy, a_ends.zw, t) + normal * v_across);
}`;

export const TRAIL_FRAGMENT = `${FRAGMENT}
uniform vec3 u_colours[4];
uniform float u_width;
in float v_across;
in float v_opacity;
flat in float v_state;
void main() {
  o_colour = paint(u_colours[int(v_state + 0.5)], v_opacity * inside(abs(v_across) - u_width + 0.5));
}`;

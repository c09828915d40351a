// The few lines of WebGL that every drawing of this map shares: a quad, drawn once per instance.

export interface Attribute {
  name: string;
  size: 1 | 2 | 3 | 4;
}

/** A program that draws one quad (corners in -1..1) per instance; all units on the CPU side are pixels of the map's box. */
export class Quads {
  private readonly program: WebGLProgram;
  private readonly array: WebGLVertexArrayObject;
  private readonly instances: WebGLBuffer;
  private readonly uniforms = new Map<string, WebGLUniformLocation | null>();

  constructor(
    private readonly gl: WebGL2RenderingContext,
    vertexSource: string,
    fragmentSource: string,
    attributes: readonly Attribute[],
  ) {
    this.program = link(gl, vertexSource, fragmentSource);
    this.array = gl.createVertexArray();
    this.instances = gl.createBuffer();
    const corners = gl.createBuffer();
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, corners);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(this.program, 'a_corner');
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.instances);
    const stride = attributes.reduce((sum, { size }) => sum + size, 0) * 4;
    let offset = 0;
    for (const { name, size } of attributes) {
      const location = gl.getAttribLocation(this.program, name);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, gl.FLOAT, false, stride, offset);
      gl.vertexAttribDivisor(location, 1);
      offset += size * 4;
    }
    gl.bindVertexArray(null);
  }

  /** Makes the program current; set uniforms after it. */
  use(): void {
    this.gl.useProgram(this.program);
  }

  uniform(name: string): WebGLUniformLocation | null {
    let location = this.uniforms.get(name);
    if (location === undefined) {
      location = this.gl.getUniformLocation(this.program, name);
      this.uniforms.set(name, location);
    }
    return location;
  }

  /** `data` holds the attributes of `count` instances. */
  draw(data: Float32Array, count: number, floatsEach: number): void {
    if (count === 0) return;
    const { gl } = this;
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.instances);
    gl.bufferData(gl.ARRAY_BUFFER, data.subarray(0, count * floatsEach), gl.STREAM_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
    gl.bindVertexArray(null);
  }
}

function link(gl: WebGL2RenderingContext, vertexSource: string, fragmentSource: string): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]] as const) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error('WebGL context was lost while the map was being set up; it is set up again when it returns');
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(`shader does not compile: ${gl.getShaderInfoLog(shader) ?? 'no log'}`);
    }
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`shaders do not link: ${gl.getProgramInfoLog(program) ?? 'no log'}`);
  }
  return program;
}

/** A growing array of numbers for instances, kept from frame to frame. */
export class Instances {
  data: Float32Array;
  count = 0;

  constructor(
    readonly floatsEach: number,
    capacity = 256,
  ) {
    this.data = new Float32Array(capacity * floatsEach);
  }

  clear(): void {
    this.count = 0;
  }

  /** Offset to write the next instance at. */
  next(): number {
    const offset = this.count * this.floatsEach;
    if (offset + this.floatsEach > this.data.length) {
      const larger = new Float32Array(this.data.length * 2);
      larger.set(this.data);
      this.data = larger;
    }
    this.count += 1;
    return offset;
  }
}

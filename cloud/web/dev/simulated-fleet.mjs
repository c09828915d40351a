// Vehicles that drive made-up streets: straight runs along a city's grid with corners, traffic lights and rush.

const CITIES = [
  ['madrid', 40.4168, -3.7038, 30], ['barcelona', 41.3874, 2.1686, 22], ['valencia', 39.4699, -0.3763, 12],
  ['sevilla', 37.3891, -5.9845, 11], ['zaragoza', 41.6488, -0.8891, 10], ['malaga', 36.7213, -4.4214, 8],
  ['bilbao', 43.263, -2.935, 7], ['murcia', 37.9922, -1.1307, 6], ['palma', 39.5696, 2.6502, 5],
  ['valladolid', 41.6523, -4.7245, 5], ['vigo', 42.2406, -8.7207, 4], ['granada', 37.1773, -3.5986, 4],
  ['oviedo', 43.3614, -5.8494, 3], ['las-palmas', 28.1235, -15.4363, 3],
];
const KINDS = ['van', 'truck', 'bus', 'taxi', 'car'];
const METRES_PER_DEGREE = 111_320;
const HISTORY_S = 3 * 3600;
const HISTORY_STEP_S = 5;

export function makeFleet(count, now) {
  const random = generator(20260);
  const weights = CITIES.reduce((sum, city) => sum + city[3], 0);
  const numbers = {};
  const vehicles = Array.from({ length: count }, () => {
    let at = random() * weights;
    const city = CITIES.find((candidate) => (at -= candidate[3]) < 0) ?? CITIES[0];
    const kind = KINDS[Math.floor(random() * KINDS.length)];
    numbers[kind] = (numbers[kind] ?? 0) + 1;
    return new SimulatedVehicle(city, `${kind}-${String(numbers[kind]).padStart(count > 999 ? 4 : 3, '0')}`, generator(Math.floor(random() * 1e9)), now);
  });
  // A fleet starts in the middle of its day, not at depots.
  return {
    vehicles,
    find: (fleet, name) => vehicles.find((vehicle) => vehicle.fleet === fleet && vehicle.name === name),
    /** Moves one part of the fleet to `now`; returns the vehicles that reported. */
    step(time, slice, slices) {
      const changed = [];
      for (let i = slice; i < vehicles.length; i += slices) {
        if (vehicles[i].advance(time)) changed.push(vehicles[i]);
      }
      return changed;
    },
  };
}

class SimulatedVehicle {
  constructor([city, lat, lon, weight], name, random, now) {
    this.fleet = city;
    this.name = name;
    this.random = random;
    this.grid = random() * 90;
    const spread = (0.012 + weight * 0.0022) * Math.sqrt(-Math.log(1 - random() * 0.98));
    const angle = random() * 2 * Math.PI;
    this.home = { lat, lon };
    this.lat = lat + spread * Math.sin(angle);
    this.lon = lon + (spread * Math.cos(angle)) / Math.cos((lat * Math.PI) / 180);
    this.course = this.grid + 90 * Math.floor(random() * 4);
    this.usual = 7 + random() * random() * 20;
    this.cruise = this.usual;
    this.speed = 0;
    this.toCorner = 80 + random() * 400;
    this.waiting = 0;
    this.parked = random() < 0.16;
    this.silent = random() < 0.05;
    this.blindUntil = random() < 0.04 ? Infinity : 0;
    this.altitude = 20 + random() * 600;
    this.time = now;
    this.sequence = 0;
    this.epoch = Math.floor(random() * 2 ** 32).toString(16).padStart(8, '0');
    this.history = null;
    if (this.silent) this.time -= 4 * 60_000 + random() * 3_600_000;
    for (let warmUp = 0; warmUp < 40; warmUp += 1) this.drive(1);
  }

  advance(time) {
    if (this.silent) return false;
    const seconds = Math.min(5, (time - this.time) / 1000);
    this.time = time;
    this.drive(seconds);
    this.sequence += 1;
    this.history?.push(this.row());
    return true;
  }

  drive(seconds) {
    const { random } = this;
    if (this.parked) {
      if (random() < seconds / 900) this.parked = false;
      return;
    }
    if (this.waiting > 0) {
      this.waiting -= seconds;
      this.speed = 0;
      return;
    }
    // Slow down for the corner, speed up after it: at most about 1.6 m/s².
    const target = Math.min(this.cruise, 3.5 + Math.sqrt(2 * 1.2 * Math.max(0, this.toCorner)));
    this.speed += Math.max(-2.4, Math.min(1.6, target - this.speed)) * seconds;
    const metres = this.speed * seconds;
    const radians = (this.course * Math.PI) / 180;
    this.lat += (metres * Math.cos(radians)) / METRES_PER_DEGREE;
    this.lon += (metres * Math.sin(radians)) / (METRES_PER_DEGREE * Math.cos((this.lat * Math.PI) / 180));
    this.toCorner -= metres;
    if (this.toCorner <= 0) this.turn();
  }

  turn() {
    const { random } = this;
    this.toCorner = 90 + random() * random() * 900;
    this.cruise = Math.max(5, this.usual * (0.65 + random() * 0.7));
    if (random() < 0.3) this.waiting = 5 + random() * 30;
    if (random() < 0.01) this.parked = true;
    const north = this.lat - this.home.lat;
    const east = this.lon - this.home.lon;
    const homeward = (Math.atan2(-east, -north) * 180) / Math.PI;
    const far = Math.hypot(north, east) > 0.07;
    const choices = [0, 90, -90].map((turn) => this.course + turn);
    const away = (course) => Math.abs(((((course - homeward) % 360) + 540) % 360) - 180);
    this.course = far
      ? choices.reduce((best, course) => (away(course) < away(best) ? course : best))
      : choices[random() < 0.45 ? 0 : random() < 0.5 ? 1 : 2];
  }

  fix() {
    const blind = this.time < this.blindUntil;
    const moving = !this.parked && this.waiting <= 0;
    return {
      time: new Date(this.time).toISOString(),
      lat: blind ? null : round(this.lat, 7),
      lon: blind ? null : round(this.lon, 7),
      alt_m: blind ? null : round(this.altitude, 1),
      speed_mps: blind ? null : round(moving ? this.speed : 0, 3),
      course_deg: blind ? null : round(((this.course % 360) + 360) % 360, 1),
      hdop: blind ? 99.9 : round(0.6 + this.random() * 0.5, 1),
      satellites: blind ? 2 : 9 + Math.floor(this.random() * 8),
      quality: blind ? 'no_fix' : 'dgps',
      verdict: blind ? 'no_fix' : 'ok',
    };
  }

  row() {
    return { epoch: this.epoch, sequence: this.sequence, received_at: new Date(this.time + 300).toISOString(), ...this.fix() };
  }

  live() {
    return { fleet: this.fleet, vehicle: this.name, received_at: new Date(this.time).toISOString(), ...this.fix() };
  }

  summary() {
    return { fleet: this.fleet, vehicle: this.name, fixes: this.sequence, latest: this.row() };
  }

  /** The way up to here is made up when somebody first asks: driven backwards from where the vehicle is. */
  rows(from, to) {
    if (!this.history) {
      const now = { ...this };
      const past = [];
      this.course += 180;
      this.parked = false;
      for (let back = 0; back < HISTORY_S; back += HISTORY_STEP_S) {
        past.push({ ...this.row(), time: new Date(now.time - back * 1000).toISOString(), course_deg: round((((this.course + 180) % 360) + 360) % 360, 1), sequence: Math.max(0, now.sequence - back / HISTORY_STEP_S) });
        for (let second = 0; second < HISTORY_STEP_S; second += 1) this.drive(1);
      }
      Object.assign(this, now);
      this.history = past.reverse();
    }
    return this.history.filter((row) => Date.parse(row.time) >= from && Date.parse(row.time) < to);
  }

  completeness(from, to) {
    const received = this.rows(from, to).length;
    return { complete: true, received, missing: 0, lost: 0, epochs: [{ epoch: this.epoch, next_sequence: received, received: [[0, Math.max(0, received - 1)]], missing: [], lost: [] }] };
  }
}

function round(value, decimals) {
  return Number(value.toFixed(decimals));
}

/** The same numbers each time (mulberry32), so that pictures can be compared. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

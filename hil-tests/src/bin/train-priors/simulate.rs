//! Simulated drives as a GNSS receiver would print them: what the priors of the wire batch are trained on.
//!
//! A drive is a vehicle's motion (parked, city, highway, bicycle, boat), seen by a receiver with its own rate,
//! resolution, filter noise, habits at standstill and sky. Every trait is drawn at random from ranges, and nothing
//! is fitted to a particular log. The generator is seeded, so the same command makes the same table.

use avl_shared::fix::{Decimal, Fix, Quality, Verdict};

/// SplitMix64 (Steele, Lea, Flood 2014): the table must not change with a dependency's version.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in the logarithm: for traits known only by their order of magnitude.
    fn spread(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub(crate) fn pick<T: Copy>(&mut self, weighted: &[(f64, T)]) -> T {
        let mut left = self.unit() * weighted.iter().map(|(weight, _)| weight).sum::<f64>();
        for &(weight, value) in weighted {
            left -= weight;
            if left < 0.0 {
                return value;
            }
        }
        weighted[weighted.len() - 1].1
    }
}

/// A first-order Gauss–Markov process: what filters leave of noise.
#[derive(Clone, Copy)]
struct Drift {
    sigma: f64,
    tau_s: f64,
    value: f64,
}

impl Drift {
    fn new(dice: &mut Dice, sigma: f64, tau_s: f64) -> Self {
        Self { sigma, tau_s, value: sigma * dice.normal() }
    }

    fn step(&mut self, dice: &mut Dice, dt: f64) -> f64 {
        let keep = (-dt / self.tau_s).exp();
        self.value = self.value * keep + self.sigma * (1.0 - keep * keep).sqrt() * dice.normal();
        self.value
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Leg {
    Parked,
    City,
    Highway,
    Bicycle,
    Boat,
}

/// Motion in a plane, integrated at 20 Hz.
struct Motion {
    leg: Leg,
    leg_left_s: f64,
    target_mps: f64,
    dwell_s: f64,
    speed: f64,
    acceleration: f64,
    heading: f64,
    turn_left: f64,
    turn_rate: f64,
    wander: Drift,
    pedal: Drift,
    grade: Drift,
    north: f64,
    east: f64,
    up: f64,
}

const TICK_S: f64 = 0.05;

impl Motion {
    fn new(dice: &mut Dice) -> Self {
        let leg = dice.pick(&[
            (0.15, Leg::Parked),
            (0.4, Leg::City),
            (0.25, Leg::Highway),
            (0.1, Leg::Bicycle),
            (0.1, Leg::Boat),
        ]);
        let speed = match leg {
            Leg::Parked => 0.0,
            Leg::Highway => dice.between(15.0, 36.0),
            _ => dice.between(0.0, 8.0),
        };
        Self {
            leg,
            leg_left_s: dice.spread(60.0, 1500.0),
            target_mps: speed,
            dwell_s: 0.0,
            speed,
            acceleration: 0.0,
            heading: dice.between(0.0, std::f64::consts::TAU),
            turn_left: 0.0,
            turn_rate: 0.1,
            wander: Drift::new(dice, 0.01, 4.0),
            pedal: Drift::new(dice, 0.25, 2.5),
            grade: Drift::new(dice, 0.02, 40.0),
            north: 0.0,
            east: 0.0,
            up: 0.0,
        }
    }

    fn next_leg(&mut self, dice: &mut Dice) {
        self.leg_left_s = dice.spread(30.0, 1500.0);
        self.leg = match self.leg {
            Leg::Bicycle | Leg::Boat if dice.chance(0.8) => self.leg,
            _ => dice.pick(&[(0.25, Leg::Parked), (0.45, Leg::City), (0.3, Leg::Highway)]),
        };
        if self.leg == Leg::Parked {
            self.target_mps = 0.0;
        }
    }

    fn decide(&mut self, dice: &mut Dice) {
        if self.dwell_s > 0.0 {
            self.dwell_s -= TICK_S;
            return;
        }
        let per_tick = |seconds: f64| TICK_S / seconds;
        match self.leg {
            Leg::Parked => self.target_mps = 0.0,
            Leg::City => {
                if dice.chance(per_tick(25.0)) {
                    let stop = dice.chance(0.45);
                    self.target_mps = if stop { 0.0 } else { dice.between(4.0, 17.0) };
                    self.dwell_s = if stop { dice.spread(6.0, 70.0) } else { 0.0 };
                } else if self.target_mps == 0.0 {
                    self.target_mps = dice.between(5.0, 16.0);
                }
                if dice.chance(per_tick(30.0)) && self.turn_left == 0.0 {
                    self.turn_left =
                        dice.pick(&[(1.0, 1.57), (1.0, -1.57), (0.4, 0.7), (0.4, -0.7), (0.1, 3.1)]);
                    self.turn_rate = dice.between(0.12, 0.5);
                    self.target_mps = self.target_mps.min(dice.between(3.0, 8.0));
                }
            }
            Leg::Highway => {
                if dice.chance(per_tick(40.0)) || self.target_mps < 12.0 {
                    self.target_mps = dice.between(18.0, 36.0);
                }
                if dice.chance(per_tick(20.0)) && self.turn_left == 0.0 {
                    self.turn_left = dice.between(-0.8, 0.8);
                    self.turn_rate = dice.spread(0.006, 0.05);
                }
            }
            Leg::Bicycle => {
                if dice.chance(per_tick(30.0)) {
                    self.target_mps = if dice.chance(0.2) { 0.0 } else { dice.between(1.0, 9.0) };
                    self.dwell_s = if self.target_mps == 0.0 { dice.spread(4.0, 90.0) } else { 0.0 };
                } else if self.target_mps == 0.0 {
                    self.target_mps = dice.between(2.0, 7.0);
                }
                if dice.chance(per_tick(20.0)) && self.turn_left == 0.0 {
                    self.turn_left = dice.between(-1.7, 1.7);
                    self.turn_rate = dice.between(0.1, 0.6);
                }
            }
            Leg::Boat => {
                if dice.chance(per_tick(120.0)) {
                    self.target_mps = dice.between(0.0, 6.0);
                }
                if dice.chance(per_tick(90.0)) && self.turn_left == 0.0 {
                    self.turn_left = dice.between(-2.5, 2.5);
                    self.turn_rate = dice.between(0.02, 0.2);
                }
            }
        }
    }

    fn tick(&mut self, dice: &mut Dice) {
        self.leg_left_s -= TICK_S;
        if self.leg_left_s < 0.0 {
            self.next_leg(dice);
        }
        self.decide(dice);
        let gap = self.target_mps - self.speed;
        let firmness = if gap < 0.0 { 0.5 } else { 0.28 };
        let wanted = (gap * firmness).clamp(-2.8, 2.0);
        let pedal = self.pedal.step(dice, TICK_S) * (self.speed / 5.0).min(1.0);
        self.acceleration += (wanted + pedal - self.acceleration) * TICK_S / 0.5;
        self.speed = (self.speed + self.acceleration * TICK_S).max(0.0);
        if self.speed < 0.15 && self.target_mps == 0.0 {
            self.speed = 0.0;
            self.acceleration = 0.0;
        }
        let turning = if self.turn_left == 0.0 || self.speed < 0.5 {
            0.0
        } else {
            let step = (self.turn_rate * TICK_S).min(self.turn_left.abs()).copysign(self.turn_left);
            self.turn_left -= step;
            if self.turn_left.abs() < 1e-6 {
                self.turn_left = 0.0;
            }
            step
        };
        let loose = if self.leg == Leg::Bicycle || self.leg == Leg::Boat { 6.0 } else { 1.0 };
        let wander = self.wander.step(dice, TICK_S) * loose * (self.speed / 4.0).min(1.0);
        self.heading += turning + wander * TICK_S;
        self.north += self.speed * self.heading.cos() * TICK_S;
        self.east += self.speed * self.heading.sin() * TICK_S;
        let slope = if self.leg == Leg::Boat { 0.0 } else { self.grade.step(dice, TICK_S) };
        self.up += self.speed * slope * TICK_S;
    }
}

/// What a receiver does with its course when it hardly moves.
#[derive(Clone, Copy)]
enum SlowCourse {
    Noisy,
    Held,
    Empty,
    Zero,
}

/// How a receiver prints and filters.
struct Receiver {
    interval_ms: i64,
    position_decimals: u8,
    altitude_decimals: u8,
    speed_decimals: u8,
    course_decimals: u8,
    hdop_decimals: u8,
    slow_course: SlowCourse,
    slow_mps: f64,
    /// Below this speed the position is held.
    hold_mps: f64,
    full_circle: bool,
    satellites_cap: f64,
    qualities: [Quality; 2],
    quality_flip_s: f64,
    smoothing_s: f64,
    jitter_m: f64,
    position_drift: [Drift; 2],
    velocity_noise: [Drift; 2],
    vertical: Drift,
    vertical_jitter_m: f64,
    satellites: Drift,
    hdop_base: f64,
    hdop_flicker: f64,
    outage_s: f64,
}

impl Receiver {
    fn new(dice: &mut Dice) -> Self {
        // Position, altitude, speed, course and HDOP decimals that families of receivers print.
        let family = dice.pick(&[
            (0.34, [5, 1, 3, 2, 2]),
            (0.16, [4, 1, 2, 2, 2]),
            (0.12, [4, 1, 2, 2, 1]),
            (0.14, [4, 1, 1, 1, 1]),
            (0.06, [5, 1, 1, 1, 1]),
            (0.06, [6, 1, 2, 1, 1]),
            (0.06, [7, 3, 3, 2, 2]),
            (0.04, [7, 4, 3, 3, 2]),
            (0.02, [3, 0, 1, 0, 1]),
        ]);
        let [position_decimals, altitude_decimals, speed_decimals, course_decimals, hdop_decimals] = family;
        let interval_ms = dice.pick(&[
            (0.58, 1000),
            (0.14, 200),
            (0.1, 100),
            (0.08, 2000),
            (0.04, 500),
            (0.03, 5000),
            (0.03, 10_000),
        ]);
        let unit_m = 1852.0 / 10_f64.powi(i32::from(position_decimals));
        let jitter_m = if dice.chance(0.5) { dice.spread(0.003, 0.05) } else { dice.spread(0.02, 0.6) };
        let tau = dice.spread(15.0, 300.0);
        let drift_m = dice.spread(0.3, 8.0);
        let velocity_tau = dice.spread(0.2, 3.0);
        let velocity_sigma = dice.spread(0.008, 0.15);
        let vertical_tau = dice.spread(20.0, 300.0);
        let vertical_sigma = dice.spread(0.5, 8.0);
        let sats_tau = dice.spread(20.0, 400.0);
        Self {
            interval_ms,
            position_decimals,
            altitude_decimals,
            speed_decimals,
            course_decimals,
            hdop_decimals,
            slow_course: dice.pick(&[
                (0.35, SlowCourse::Noisy),
                (0.45, SlowCourse::Held),
                (0.12, SlowCourse::Empty),
                (0.08, SlowCourse::Zero),
            ]),
            slow_mps: dice.spread(0.05, 1.5),
            hold_mps: if dice.chance(0.35) { dice.spread(0.05, 0.8) } else { 0.0 },
            full_circle: dice.chance(0.1),
            satellites_cap: dice.pick(&[(0.5, 99.0), (0.4, 12.0), (0.1, 10.0)]),
            qualities: dice.pick(&[
                (0.4, [Quality::Gps, Quality::Gps]),
                (0.2, [Quality::Dgps, Quality::Dgps]),
                (0.15, [Quality::Gps, Quality::Dgps]),
                (0.2, [Quality::Rtk, Quality::FloatRtk]),
                (0.05, [Quality::Gps, Quality::DeadReckoning]),
            ]),
            quality_flip_s: dice.spread(4.0, 400.0),
            smoothing_s: if dice.chance(0.5) { dice.spread(0.02, 1.2) } else { 0.0 },
            jitter_m: if dice.chance(0.3) { jitter_m + unit_m * 0.3 } else { jitter_m },
            position_drift: [Drift::new(dice, drift_m, tau), Drift::new(dice, drift_m, tau)],
            velocity_noise: [0; 2].map(|_| Drift::new(dice, velocity_sigma, velocity_tau)),
            vertical: Drift::new(dice, vertical_sigma, vertical_tau),
            vertical_jitter_m: dice.spread(0.005, 0.3),
            satellites: Drift::new(dice, dice_sigma(interval_ms), sats_tau),
            hdop_base: dice.between(0.6, 1.3),
            hdop_flicker: if dice.chance(0.35) { dice.spread(0.02, 0.7) } else { 0.0 },
            outage_s: if dice.chance(0.25) { dice.spread(120.0, 1200.0) } else { 1e9 },
        }
    }
}

/// Spread of the count of satellites; fast receivers are usually mounted better.
fn dice_sigma(interval_ms: i64) -> f64 {
    if interval_ms < 1000 { 1.2 } else { 2.0 }
}

#[allow(clippy::cast_possible_truncation)] // simulated values are far below 2^63
fn decimal(value: f64, decimals: u8) -> Decimal {
    Decimal::new((value * 10_f64.powi(i32::from(decimals))).round() as i64, decimals)
}

/// One drive of `fixes` fixes.
#[allow(clippy::too_many_lines, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn drive(seed: u64, fixes: usize) -> Vec<Fix> {
    let dice = &mut Dice::new(seed);
    let mut receiver = Receiver::new(dice);
    let mut motion = Motion::new(dice);
    let start_latitude = dice.between(-58.0, 68.0);
    let start_longitude = dice.between(-179.0, 179.0);
    let start_altitude = if motion.leg == Leg::Boat { 0.0 } else { dice.spread(1.0, 1500.0) };
    let metres_per_minute = 1852.0;
    let east_metres_per_minute = metres_per_minute * start_latitude.to_radians().cos();
    // 2016 to 2031
    let mut time = (dice.between(1_451_606_400.0, 1_925_000_000.0) as i64) * 1000;
    let base_satellites = dice.between(6.0, 22.0);
    let dt = receiver.interval_ms as f64 / 1000.0;
    let ticks = (receiver.interval_ms / 50).max(1);
    let (mut seen, mut held_course, mut held_position) = ([motion.speed; 1].map(|_| [0.0; 2])[0], 0.0, None);
    seen[0] = motion.speed * motion.heading.cos();
    seen[1] = motion.speed * motion.heading.sin();
    let (mut offset, mut quality) = ([0.0; 2], 0);
    let mut hdops = [receiver.hdop_base; 3];
    let mut last_satellites = base_satellites.round();
    let mut outage_left = 0.0;
    let mut out = Vec::with_capacity(fixes);
    while out.len() < fixes {
        for _ in 0..ticks {
            motion.tick(dice);
            let keep = if receiver.smoothing_s > 0.0 { (-TICK_S / receiver.smoothing_s).exp() } else { 0.0 };
            let truth = [motion.speed * motion.heading.cos(), motion.speed * motion.heading.sin()];
            for axis in 0..2 {
                // A smoothed velocity lags; a good filter's position does not follow the lag, it keeps its own path.
                seen[axis] = seen[axis] * keep + truth[axis] * (1.0 - keep);
            }
        }
        time += receiver.interval_ms;
        let wander = if motion.speed < 0.05 { 0.3 } else { 1.0 };
        for (offset, drift) in offset.iter_mut().zip(&mut receiver.position_drift) {
            *offset = drift.step(dice, dt) * wander;
        }
        let noise = [0, 1].map(|axis| receiver.velocity_noise[axis].step(dice, dt));
        let vertical = receiver.vertical.step(dice, dt);
        if outage_left > 0.0 {
            outage_left -= dt;
            if receiver.full_circle || matches!(receiver.slow_course, SlowCourse::Empty) {
                out.push(Fix { time: Some(time), verdict: Verdict::NO_FIX, ..Fix::default() });
            }
            continue;
        }
        if dice.chance(dt / receiver.outage_s) {
            outage_left = dice.spread(1.0, 60.0);
        }
        if dice.chance(dt / receiver.quality_flip_s) {
            quality = 1 - quality;
        }
        let velocity = [seen[0] + noise[0], seen[1] + noise[1]];
        let mut speed = velocity[0].hypot(velocity[1]);
        let mut course = velocity[1].atan2(velocity[0]).to_degrees().rem_euclid(360.0);
        let slow = speed < receiver.slow_mps;
        if slow {
            course = match receiver.slow_course {
                SlowCourse::Noisy | SlowCourse::Empty => course,
                SlowCourse::Held => held_course,
                SlowCourse::Zero => 0.0,
            };
        } else {
            held_course = course;
        }
        let jitter = [0; 2].map(|_| receiver.jitter_m * dice.normal() * if slow { 0.4 } else { 1.0 });
        let mut position = [
            start_latitude * 60.0 + (motion.north + offset[0] + jitter[0]) / metres_per_minute,
            start_longitude * 60.0 + (motion.east + offset[1] + jitter[1]) / east_metres_per_minute,
        ];
        if speed < receiver.hold_mps {
            position = *held_position.get_or_insert(position);
            speed = 0.0;
        } else {
            held_position = None;
        }
        let satellites = (base_satellites + receiver.satellites.step(dice, dt))
            .round()
            .clamp(3.0, receiver.satellites_cap);
        if satellites != last_satellites {
            let change = (last_satellites / satellites).sqrt() * dice.between(0.93, 1.07);
            hdops = [(hdops[0] * change).clamp(0.5, 9.0), hdops[0], hdops[1]];
        } else if dice.chance(receiver.hdop_flicker * dt.min(1.0)) {
            let fresh =
                if dice.chance(0.35) { hdops[1] } else { receiver.hdop_base * dice.between(0.92, 1.2) };
            hdops = [fresh, hdops[0], hdops[1]];
        } else if dice.chance(0.004) {
            hdops = [receiver.hdop_base * dice.between(0.95, 1.1), hdops[0], hdops[1]];
        }
        last_satellites = satellites;
        let printed_course = decimal(course, receiver.course_decimals);
        let full = 360 * 10_i64.pow(u32::from(receiver.course_decimals));
        let printed_course = match (printed_course.mantissa() == full, receiver.full_circle) {
            (true, false) => Decimal::new(0, receiver.course_decimals),
            _ => printed_course,
        };
        let empty_course = slow && matches!(receiver.slow_course, SlowCourse::Empty);
        let height = start_altitude + motion.up + vertical + receiver.vertical_jitter_m * dice.normal();
        out.push(Fix {
            time: Some(time),
            latitude: Some(decimal(position[0], receiver.position_decimals)),
            longitude: Some(decimal(position[1], receiver.position_decimals)),
            altitude: Some(decimal(height, receiver.altitude_decimals)),
            speed: Some(decimal(speed * 3600.0 / 1852.0, receiver.speed_decimals)),
            course: (!empty_course).then_some(printed_course),
            hdop: Some(decimal(hdops[0], receiver.hdop_decimals)),
            satellites: Some(satellites as u8),
            quality: receiver.qualities[quality],
            ..Fix::default()
        });
    }
    out
}

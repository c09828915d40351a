//! Random numbers in the shapes the models need.

use rand::Rng;
use rand::rngs::StdRng;

/// Standard normal (Box and Muller, 1958).
pub(super) fn normal(rng: &mut StdRng) -> f64 {
    let radius = (-2.0 * rng.random_range(f64::MIN_POSITIVE..1.0).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// A first-order Gauss-Markov process: an error that wanders and comes back.
#[derive(Clone, Debug)]
pub(super) struct Drift {
    value: f64,
    sigma: f64,
    time_constant_s: f64,
}

impl Drift {
    pub(super) fn new(sigma: f64, time_constant_s: f64, rng: &mut StdRng) -> Self {
        Self { value: sigma * normal(rng), sigma, time_constant_s }
    }

    pub(super) fn step(&mut self, seconds: f64, rng: &mut StdRng) -> f64 {
        let kept = (-seconds / self.time_constant_s).exp();
        self.value = kept * self.value + self.sigma * (1.0 - kept * kept).sqrt() * normal(rng);
        self.value
    }
}

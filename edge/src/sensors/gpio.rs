//! Lines of the kernel's GPIO character device (uAPI v2, Linux 5.10 and later), debounced by the kernel.
//!
//! An edge only wakes: the levels are read afterwards, so that an edge lost in a full kernel queue cannot leave a
//! wrong level behind. Pulses are counted by the kernel's own number of each edge, which also counts the lost ones.

use std::path::Path;

use gpiocdev::Request;
use gpiocdev::line::{Bias as LineBias, EdgeDetection, Value, Values};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::config::{Bias, LineConfig, SensorsConfig};
use super::levels::Pulses;
use super::watch::{Backend, BackendError};

/// Who holds the lines, as `gpioinfo` shows it.
const CONSUMER: &str = "avl-edge";

pub(super) struct Gpio {
    request: AsyncFd<Request>,
    /// Line of each bit, from bit 0 up; `None` where nothing is wired.
    bits: Vec<Option<u32>>,
    pulse_line: Option<u32>,
    pulses: Pulses,
    last_pulse: u32,
}

impl Gpio {
    pub(super) fn open(chip: &Path, config: &SensorsConfig, pulses: &Pulses) -> Result<Self, BackendError> {
        let failed = |cause: String| BackendError::Chip { chip: chip.display().to_string(), cause };
        let mut bits = vec![config.ignition.map(|line| line.line)];
        bits.extend(config.inputs.iter().map(|input| Some(input.line)));
        let mut builder = Request::builder();
        builder.on_chip(chip).with_consumer(CONSUMER);
        let lines = config.ignition.into_iter().chain(config.inputs.iter().map(super::InputConfig::line));
        for line in lines {
            add(&mut builder, line, EdgeDetection::BothEdges);
        }
        if let Some(line) = config.pulse_line() {
            add(&mut builder, line, EdgeDetection::RisingEdge);
        }
        let request = builder.request().map_err(|error| failed(error.to_string()))?;
        // SAFETY: a `Request` owns its file, hands out that one descriptor and no other, and closes it only when it is
        // dropped; the `AsyncFd` owns the request from here on and never gives it away.
        #[allow(unsafe_code)]
        let request = unsafe { AsyncFd::register_with_interest(request, Interest::READABLE) };
        let request = request.map_err(|error| failed(format!("its events cannot be waited for: {error}")))?;
        let pulse_line = config.pulse_line().map(|line| line.line);
        Ok(Self { request, bits, pulse_line, pulses: pulses.clone(), last_pulse: 0 })
    }

    fn failed(error: &impl ToString) -> BackendError {
        BackendError::Lost { cause: error.to_string() }
    }

    fn drain(&mut self) -> Result<(), BackendError> {
        let request = self.request.get_ref();
        while request.has_edge_event().map_err(|error| Self::failed(&error))? {
            let event = request.read_edge_event().map_err(|error| Self::failed(&error))?;
            if Some(event.offset) == self.pulse_line {
                self.pulses.add(u64::from(event.line_seqno.wrapping_sub(self.last_pulse)));
                self.last_pulse = event.line_seqno;
            }
        }
        Ok(())
    }
}

fn add(builder: &mut gpiocdev::request::Builder, line: LineConfig, edges: EdgeDetection) {
    builder.with_line(line.line).as_input().with_edge_detection(edges);
    if line.active_low {
        builder.as_active_low();
    } else {
        builder.as_active_high();
    }
    if !line.debounce.is_zero() {
        builder.with_debounce_period(line.debounce);
    }
    builder.with_bias(match line.bias {
        Bias::AsIs => None,
        Bias::Disabled => Some(LineBias::Disabled),
        Bias::PullUp => Some(LineBias::PullUp),
        Bias::PullDown => Some(LineBias::PullDown),
    });
}

impl Backend for Gpio {
    fn levels(&mut self) -> Result<u16, BackendError> {
        let mut values = Values::default();
        for line in self.bits.iter().flatten() {
            values.set(*line, Value::Inactive);
        }
        if !values.is_empty() {
            self.request.get_ref().values(&mut values).map_err(|error| Self::failed(&error))?;
        }
        let on = |line: &Option<u32>| line.and_then(|line| values.get(line)) == Some(Value::Active);
        Ok((0..).zip(&self.bits).filter(|(_, line)| on(line)).fold(0, |levels, (bit, _)| levels | 1 << bit))
    }

    async fn changed(&mut self) -> Result<(), BackendError> {
        let mut ready = self.request.readable().await.map_err(|error| Self::failed(&error))?;
        ready.clear_ready();
        drop(ready);
        self.drain()
    }
}

//! A producer that is made anew when Kafka's client has given up on it for good.
//!
//! An idempotent producer ends in a fatal error when it can no longer promise order without repetition (a producer id that
//! the broker has forgotten, a fenced epoch). What was on its way then is answered with an error, and whoever sent it sends it
//! again, through the next one.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};

use super::client::SetupError;
use crate::meters;

pub(super) struct Renewable<C: ProducerContext + Default + 'static> {
    config: ClientConfig,
    current: Mutex<Arc<ThreadedProducer<C>>>,
}

impl<C: ProducerContext + Default + 'static> Renewable<C> {
    pub(super) fn new(config: ClientConfig) -> Result<Self, SetupError> {
        let producer = make(&config)?;
        Ok(Self { config, current: Mutex::new(Arc::new(producer)) })
    }

    /// The one to use now.
    pub(super) fn get(&self) -> Arc<ThreadedProducer<C>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((code, reason)) = current.client().fatal_error() else { return Arc::clone(&current) };
        match make(&self.config) {
            Ok(next) => {
                metrics::counter!(meters::KAFKA_RENEWED).increment(1);
                tracing::error!(%code, reason, "Kafka's client has given up; a new one goes on");
                let broken = std::mem::replace(&mut *current, Arc::new(next));
                // It waits for its thread.
                std::thread::spawn(move || drop(broken));
            }
            Err(error) => tracing::error!(%error, "Kafka's client has given up, and another cannot be made"),
        }
        Arc::clone(&current)
    }
}

fn make<C: ProducerContext + Default + 'static>(
    config: &ClientConfig,
) -> Result<ThreadedProducer<C>, SetupError> {
    ThreadedProducer::from_config_and_context(config, C::default()).map_err(SetupError::Client)
}

//! The vehicles' side: QUIC with mutual TLS, one session a connection; and [`mqtt`], by way of a broker.
//!
//! What it promises: a vehicle is who its certificate says, and one that is revoked is closed within seconds; a batch is decoded and its checksum verified before it
//! is taken; it is acknowledged only when the journal has it on disk. What a peer can cost is bounded: handshakes by
//! address and in all, connections, bytes in memory (a permit is taken before a frame's bytes are, and travels with
//! them until they are durable), bytes a second of a vehicle and of a fleet, and the time a half-sent frame may take. A broken peer gets a close code that says
//! what is wrong, and nobody else notices.

mod acks;
mod admission;
mod close;
mod endpoint;
mod framing;
mod greeting;
mod mqtt;
mod quota;
mod registry;
mod server;
mod session;
mod settings;
mod verify;

#[cfg(test)]
mod tests;

pub use close::CloseReason;
pub use endpoint::{EndpointError, bind, load_or_create_reset_key, server_config};
pub use mqtt::{MakeTls, MqttIngest, MqttSettings, MqttSettingsError};
pub use server::Ingest;
pub use settings::IngestSettings;

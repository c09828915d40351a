//! Who is there, what it says first, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::batch;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::{Hello, PROTOCOL, Welcome, ranges_to_message, to_cloud};
use avl_shared::sequence::RangeSet;
use quinn::{Connection, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;

use super::close::CloseReason;
use super::framing::{Control, FrameReader};
use super::session::End;
use crate::store::MAX_SEQUENCE;

/// A range costs up to 22 bytes and a message may have 64 KiB. What is left out is sent again and dropped again.
pub(super) const MAX_RANGES: usize = 2_500;

/// The client's certificate, which TLS has verified, and the name in it.
pub(super) fn identify(
    connection: &Connection,
) -> Result<(VehicleKey, CertificateDer<'static>), CloseReason> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.and_then(|chain| chain.into_iter().next());
    let leaf =
        leaf.ok_or_else(|| CloseReason::Identity("no client certificate: enrol the vehicle".to_owned()))?;
    let vehicle =
        VehicleKey::from_certificate(&leaf).map_err(|error| CloseReason::Identity(error.to_string()))?;
    Ok((vehicle, leaf))
}

pub(super) struct Heard {
    pub(super) send: SendStream,
    pub(super) control: FrameReader<Control>,
    pub(super) hello: Hello,
}

/// Waits for the control stream and a hello on it that this release understands.
pub(super) async fn hear(
    connection: &Connection,
    memory: Arc<Semaphore>,
    frame_timeout: Duration,
) -> Result<Heard, End> {
    let (send, receive) = connection.accept_bi().await.map_err(|_| End::Gone)?;
    let mut control = FrameReader::<Control>::new(receive, memory, frame_timeout);
    let Some((message, _)) = control.next().await? else { return Err(CloseReason::Truncated.into()) };
    let Some(to_cloud::Message::Hello(hello)) = message.message else {
        return Err(CloseReason::NoHello.into());
    };
    if hello.protocol != PROTOCOL {
        return Err(CloseReason::Protocol(hello.protocol).into());
    }
    if hello.next_sequence > MAX_SEQUENCE {
        return Err(CloseReason::SequenceOverflow.into());
    }
    Ok(Heard { send, control, hello })
}

/// What the vehicle may forget. Ranges below everything that it holds would only cost bytes.
pub(super) fn welcome(received: &RangeSet, hello: &Hello, now: UtcMillis) -> Welcome {
    let oldest_held = hello.held.iter().map(|range| range.first).min().unwrap_or(0);
    let mut durable = ranges_to_message(received);
    durable.retain(|range| range.last >= oldest_held);
    durable.truncate(MAX_RANGES);
    Welcome {
        protocol: PROTOCOL,
        durable,
        server_time_ms: now,
        max_batch_bytes: u32::try_from(batch::MAX_BYTES).unwrap_or(u32::MAX),
        batch_versions: batch::FORMATS.map(u32::from).to_vec(),
        connection: hello.connection,
    }
}

/// For the log: what a vehicle says of itself has no limit and may hold anything.
pub(super) fn agent(hello: &Hello) -> String {
    hello.agent_version.chars().take(40).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::link::{
        MAX_MESSAGE_BYTES, ToVehicle, frame_message, message, ranges_from_message, to_vehicle,
    };
    use avl_shared::sequence::SequenceRange;

    #[test]
    fn a_welcome_leaves_out_what_the_vehicle_has_forgotten_already() {
        let received: RangeSet = [(0, 9), (20, 29), (40, 49)]
            .into_iter()
            .map(|(first, last)| SequenceRange::new(first, last).unwrap())
            .collect();
        let hello = Hello { held: vec![message::Range { first: 25, last: 60 }], ..Hello::default() };
        let durable = ranges_from_message(&welcome(&received, &hello, 0).durable).unwrap();
        assert_eq!(durable.to_string(), "20-29,40-49");
    }

    #[test]
    fn a_welcome_fits_however_fragmented_the_ledger_is() {
        let far = u64::MAX / 2;
        let received: RangeSet =
            (0..100_000).map(|n| SequenceRange::new(far + n * 3, far + n * 3 + 1).unwrap()).collect();
        let welcome = to_vehicle::Message::Welcome(welcome(&received, &Hello::default(), i64::MAX));
        assert!(frame_message(&ToVehicle { message: Some(welcome) }).len() <= MAX_MESSAGE_BYTES);
    }

    #[test]
    fn a_vehicles_own_words_cannot_forge_log_lines() {
        let hello = Hello { agent_version: format!("1.0\n{}", "x".repeat(1000)), ..Hello::default() };
        assert_eq!(agent(&hello), format!("1.0{}", "x".repeat(36)));
    }
}

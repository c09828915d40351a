//! A vehicle without a drive: it says hello, and sends the batches that it is given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use avl_shared::batch::{self, Batch};
use avl_shared::link::{self, Hello, PROTOCOL, ToCloud, ToVehicle, to_cloud, to_vehicle};
use avl_shared::sequence::Epoch;
use avl_shared::tls;
use bytes::{Bytes, BytesMut};
use hil_tests::drive::Drive;
use hil_tests::fleet::Identity;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig};

/// Fixes in a batch: a minute at 1 Hz.
pub(crate) const BATCH: usize = 60;
/// Every certificate of the cloud has this name.
const SERVER_NAME: &str = "localhost";
/// Longer than any bench.
const IDLE: Duration = Duration::from_secs(3600);
const START: i64 = 1_790_000_000_000;

/// A connection that was welcomed.
pub(crate) struct Linked {
    pub(crate) connection: Connection,
    /// Kept: a control stream that ends is not what a vehicle does.
    _control: SendStream,
    pub(crate) answers: Answers,
}

/// # Errors
/// When the cloud does not welcome it.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    link: SocketAddr,
    identity: &Identity,
    epoch: Epoch,
    next_sequence: u64,
) -> anyhow::Result<Linked> {
    let config = tls::link_client(identity.credentials.clone(), &identity.authorities)?;
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config)?;
    let mut config = ClientConfig::new(Arc::new(config));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(IDLE.try_into()?)).mtu_discovery_config(None);
    config.transport_config(Arc::new(transport));
    let connection = endpoint.connect_with(config, link, SERVER_NAME)?.await?;
    let (mut control, answers) = connection.open_bi().await?;
    let mut answers = Answers { stream: answers, buffer: BytesMut::new() };
    let hello = Hello {
        protocol: PROTOCOL,
        epoch: epoch.0,
        next_sequence,
        agent_version: "bench".to_owned(),
        boot_id: 1,
        batch_versions: vec![1],
        ..Hello::default()
    };
    let hello = ToCloud { message: Some(to_cloud::Message::Hello(hello)) };
    control.write_all(&link::frame_message(&hello)).await?;
    match answers.next().await?.context("the cloud closed before its Welcome")? {
        to_vehicle::Message::Welcome(_) => Ok(Linked { connection, _control: control, answers }),
        other => anyhow::bail!("the first answer is not a Welcome: {other:?}"),
    }
}

pub(crate) struct Answers {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Answers {
    /// The next message; `None` when the cloud has finished. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<to_vehicle::Message>> {
        loop {
            if let Some(message) = link::take_message::<ToVehicle>(&mut self.buffer)? {
                return Ok(Some(message.message.context("an empty message")?));
            }
            let Some(chunk) = self.stream.read_chunk(4096, true).await? else { return Ok(None) };
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

/// Batches of a simulated drive, numbered from 0 on.
///
/// # Errors
/// When one cannot be packed.
pub(crate) fn batches(seed: u64, epoch: Epoch, count: usize) -> anyhow::Result<Vec<Bytes>> {
    let mut drive = Drive::seeded(seed, START, 1);
    (0..count)
        .map(|index| {
            let fixes = drive.by_ref().take(BATCH).map(|reading| reading.fix()).collect();
            let batch = Batch { epoch, first: (index * BATCH) as u64, boot_id: None, fixes };
            Ok(batch::encode(&batch)?.into())
        })
        .collect()
}

//! A small cloud of the tests' own: real TLS, real QUIC, and a script of what it does wrong.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avl_edge::buffer::{self, Attic, Buffer, BufferThread};
use avl_edge::config::{ByteSize, QuicConfig, UplinkConfig};
use avl_edge::identity::Identity;
use avl_shared::batch;
use avl_shared::fix::Fix;
use avl_shared::identity::VehicleKey;
use avl_shared::link::{
    self, Ack, DeclareLost, Draining, Hello, LaneFrame, Reject, ToCloud, ToVehicle, Welcome, frame_message,
    ranges_to_message, take_message, to_cloud, to_vehicle,
};
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use avl_shared::tls::{self, Credentials};
use bytes::BytesMut;
use quinn::{Connection, Endpoint, SendStream, VarInt};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const EPOCH: Epoch = Epoch(0xfeed_0001);

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).unwrap();
        Self { certificate, issuer }
    }

    fn sign(&self, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Credentials {
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            key: tls::signing_key(PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap(),
        }
    }

    pub(crate) fn server(&self, name: &str) -> Credentials {
        self.sign(vec![SanType::DnsName(name.try_into().unwrap())], ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(crate) fn vehicle(&self, trusted: &Authority) -> Identity {
        let vehicle: VehicleKey = "demo/van-1".parse().unwrap();
        let uri = SanType::URI(vehicle.uri().try_into().unwrap());
        Identity {
            vehicle,
            credentials: self.sign(vec![uri], ExtendedKeyUsagePurpose::ClientAuth),
            authorities: vec![trusted.certificate.clone()],
        }
    }
}

/// What the cloud does with the batches of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Script {
    /// Makes them durable and acknowledges when asked.
    #[default]
    Good,
    /// Makes so many durable, acknowledges none, and closes in the middle of the next.
    CloseAfter(usize),
    /// Makes them durable and never answers.
    Mute,
    /// Refuses the batch that holds this number.
    RejectHolding(u64),
    /// After so many batches asks to connect elsewhere, and keeps serving.
    DrainAfter(usize),
    /// Closes instead of a welcome.
    Unwelcome,
}

/// What the cloud has.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) fixes: BTreeMap<u64, Fix>,
    pub(crate) durable: RangeSet,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) lost: Vec<DeclareLost>,
    pub(crate) frames: usize,
    /// Fixes made durable, those that were so already included.
    pub(crate) received: usize,
}

pub(crate) struct Cloud {
    pub(crate) address: SocketAddr,
    pub(crate) journal: Arc<Mutex<Journal>>,
    scripts: Arc<Mutex<Vec<Script>>>,
}

impl Cloud {
    /// `scripts` are used up one a connection; afterwards the cloud is good.
    pub(crate) fn start(authority: &Authority, name: &str, scripts: &[Script]) -> Self {
        let config =
            tls::link_server(authority.server(name), std::slice::from_ref(&authority.certificate)).unwrap();
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config).unwrap();
        let server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(server, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let cloud = Self {
            address: endpoint.local_addr().unwrap(),
            journal: Arc::default(),
            scripts: Arc::new(Mutex::new(scripts.iter().rev().copied().collect())),
        };
        let (journal, scripts) = (Arc::clone(&cloud.journal), Arc::clone(&cloud.scripts));
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (journal, scripts) = (Arc::clone(&journal), Arc::clone(&scripts));
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        let script = scripts.lock().unwrap().pop().unwrap_or_default();
                        // The vehicle may leave at any time; that is not the test's failure.
                        let _ = serve(connection, script, journal).await;
                    }
                });
            }
        });
        cloud
    }

    pub(crate) fn uplink(&self) -> UplinkConfig {
        UplinkConfig {
            latency: Duration::from_millis(50),
            ack_interval: Duration::from_secs(180),
            ack_timeout: Duration::from_secs(60),
            reconnect_max: Duration::from_millis(50),
            backlog_rate: ByteSize(0),
            interfaces: Vec::new(),
            budget: Default::default(),
            quic: QuicConfig { address: self.address.to_string(), server_name: Some("localhost".to_owned()) },
            mqtt: None,
        }
    }
}

async fn serve(connection: Connection, script: Script, journal: Arc<Mutex<Journal>>) -> Option<()> {
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let mut buffer = BytesMut::new();
    let mut next = async || -> Option<to_cloud::Message> {
        loop {
            if let Some(message) = take_message::<ToCloud>(&mut buffer).unwrap() {
                return message.message;
            }
            buffer.extend_from_slice(&receive.read_chunk(4096, true).await.ok()??.bytes);
        }
    };
    let Some(to_cloud::Message::Hello(hello)) = next().await else { panic!("no hello") };
    journal.lock().unwrap().hellos.push(hello);
    if matches!(script, Script::Unwelcome) {
        connection.close(VarInt::from_u32(7), b"not today");
        return None;
    }
    let durable = ranges_to_message(&journal.lock().unwrap().durable);
    let welcome = Welcome { protocol: link::PROTOCOL, durable, ..Welcome::default() };
    say(&mut send, to_vehicle::Message::Welcome(welcome)).await?;
    let send = tokio::sync::Mutex::new(send);
    let control = async {
        while let Some(message) = next().await {
            if let to_cloud::Message::DeclareLost(lost) = message {
                let ack = Ack { epoch: lost.epoch, ranges: lost.ranges.clone() };
                journal.lock().unwrap().lost.push(lost);
                say(&mut *send.lock().await, to_vehicle::Message::Ack(ack)).await?;
            }
        }
        None
    };
    let frames = AtomicUsize::new(0);
    let lanes = async {
        let lane = || lane(&connection, script, &journal, &send, &frames);
        tokio::join!(lane(), lane()).0
    };
    tokio::select! { end = control => end, end = lanes => end }
}

async fn lane(
    connection: &Connection,
    script: Script,
    journal: &Mutex<Journal>,
    send: &tokio::sync::Mutex<SendStream>,
    frames: &AtomicUsize,
) -> Option<()> {
    let mut stream = connection.accept_uni().await.ok()?;
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = LaneFrame::take(&mut buffer, batch::MAX_BYTES).unwrap() {
            let before = frames.fetch_add(1, Ordering::Relaxed);
            if matches!(script, Script::CloseAfter(count) if before >= count) {
                connection.close(VarInt::from_u32(7), b"power cut");
                return None;
            }
            let batch = batch::decode(&frame.batch).unwrap();
            let range = SequenceRange::starting_at(batch.first, batch.fixes.len() as u64).unwrap();
            if matches!(script, Script::RejectHolding(number) if range.contains(number)) {
                let reject = Reject {
                    epoch: batch.epoch.0,
                    first: range.first(),
                    count: u32::try_from(range.count()).unwrap(),
                    reason: "unknown version".to_owned(),
                };
                say(&mut *send.lock().await, to_vehicle::Message::Reject(reject)).await?;
                continue;
            }
            let durable = {
                let mut journal = journal.lock().unwrap();
                journal.frames += 1;
                journal.received += batch.fixes.len();
                for (number, fix) in (batch.first..).zip(batch.fixes) {
                    if let Some(known) = journal.fixes.insert(number, fix.clone()) {
                        assert_eq!(known, fix, "number {number} means two fixes");
                    }
                }
                journal.durable.insert(range);
                ranges_to_message(&journal.durable)
            };
            if matches!(script, Script::DrainAfter(count) if count == before + 1) {
                let draining = Draining { reconnect_within_ms: 100 };
                say(&mut *send.lock().await, to_vehicle::Message::Draining(draining)).await?;
            }
            if frame.ack_wanted && !matches!(script, Script::Mute | Script::CloseAfter(_)) {
                let ack = Ack { epoch: batch.epoch.0, ranges: durable };
                say(&mut *send.lock().await, to_vehicle::Message::Ack(ack)).await?;
            }
        }
        buffer.extend_from_slice(&stream.read_chunk(4096, true).await.ok()??.bytes);
    }
}

async fn say(send: &mut SendStream, message: to_vehicle::Message) -> Option<()> {
    send.write_all(&frame_message(&ToVehicle { message: Some(message) })).await.ok()
}

/// A buffer on sled in a folder of its own.
pub(crate) struct Gateway {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) buffer: Buffer,
    pub(crate) thread: BufferThread,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = buffer::open(folder.path(), 64 << 20, EPOCH).unwrap();
        let (buffer, thread) = Buffer::start(opened.outbox, Attic::new(folder.path())).unwrap();
        Self { folder, buffer, thread }
    }

    pub(crate) async fn append(&self, count: u64) {
        let first = self.buffer.status().borrow().next_sequence;
        self.buffer.append((first..first + count).map(fix).collect(), 1, None).await.unwrap();
    }
}

/// The fix of a number.
pub(crate) fn fix(n: u64) -> Fix {
    Fix { time: Some(1_700_000_000_000 + i64::try_from(n).unwrap() * 1000), ..Fix::default() }
}

pub(crate) fn set(first: u64, last: u64) -> RangeSet {
    SequenceRange::new(first, last).into_iter().collect()
}

//! Ingest against a real QUIC client with real certificates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use avl_shared::batch::{Batch, encode};
use avl_shared::link::{
    Ack, DeclareLost, Hello, LaneFrame, LossReason, PROTOCOL, ToCloud, ToVehicle, frame_message, message,
    ranges_from_message, take_message, to_cloud, to_vehicle,
};
use avl_shared::sequence::Epoch;
use avl_shared::tls::{Credentials, link_client};
use bytes::{Bytes, BytesMut};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::fleet::authority::Authority;
use crate::fleet::server_identity::{load_or_issue, server_names};
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Entry, Journal, JournalError, Kind, ReadLimit, Receipt, Record};
use crate::live::LiveFeed;
use crate::process::Processor;
use crate::store::conformance::{fix, van};
use crate::store::sqlite::SqliteStore;

const EPOCH: u32 = 7;
const PAGE: ReadLimit = ReadLimit { entries: 1000, bytes: usize::MAX };

/// A journal whose disk the test can hold back, or break.
struct SlowJournal {
    inner: SqliteJournal,
    /// While set, an entry is answered only with a permit of `disk`.
    slow: AtomicBool,
    disk: Arc<Semaphore>,
    broken: AtomicBool,
}

#[async_trait]
impl Journal for SlowJournal {
    async fn append(&self, record: Record) -> Result<Receipt, JournalError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(JournalError::Unavailable("disk is full".to_owned()));
        }
        let receipt = self.inner.append(record).await?;
        if !self.slow.load(Ordering::SeqCst) {
            return Ok(receipt);
        }
        let disk = Arc::clone(&self.disk);
        Ok(Box::pin(async move {
            disk.acquire().await.map_err(|_| JournalError::Closed)?.forget();
            receipt.await
        }))
    }

    async fn read(&self, offset: u64, limit: ReadLimit) -> Result<Vec<Entry>, JournalError> {
        self.inner.read(offset, limit).await
    }

    fn end(&self) -> watch::Receiver<u64> {
        self.inner.end()
    }

    async fn discard_before(&self, offset: u64, at_most: usize) -> Result<usize, JournalError> {
        self.inner.discard_before(offset, at_most).await
    }
}

struct Cloud {
    temp: tempfile::TempDir,
    authority: Authority,
    journal: Arc<SlowJournal>,
    store: Arc<SqliteStore>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Cloud {
    fn start() -> Self {
        Self::with(IngestSettings::default())
    }

    fn with(settings: IngestSettings) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(&temp.path().join("ca")).unwrap();
        let journal = Arc::new(SlowJournal {
            inner: SqliteJournal::open(&temp.path().join("journal.sqlite")).unwrap(),
            slow: AtomicBool::new(false),
            disk: Arc::new(Semaphore::new(0)),
            broken: AtomicBool::new(false),
        });
        let store = Arc::new(SqliteStore::open(&temp.path().join("store.sqlite")).unwrap());
        let (stop, _) = watch::channel(false);
        let address = "127.0.0.1:0".parse().unwrap();
        let (address, running) =
            serve(&temp, &authority, &journal, &store, address, settings, stop.subscribe());
        Self { temp, authority, journal, store, address, stop, running }
    }

    async fn process(&self) {
        let processor = Processor::new(self.journal.clone(), self.store.clone(), LiveFeed::default());
        processor.catch_up().await.unwrap();
    }

    async fn journaled(&self) -> Vec<Record> {
        let entries = self.journal.read(0, PAGE).await.unwrap();
        entries.into_iter().map(|entry| entry.record.unwrap()).collect()
    }

    async fn connect(&self) -> Connection {
        let (endpoint, config) = client(&self.authority, &self.authority);
        endpoint.connect_with(config, self.address, "localhost").unwrap().await.unwrap()
    }

    async fn vehicle(&self) -> Vehicle {
        Vehicle::hello(self.connect().await, hello(0)).await
    }
}

fn serve(
    temp: &tempfile::TempDir,
    authority: &Authority,
    journal: &Arc<SlowJournal>,
    store: &Arc<SqliteStore>,
    address: SocketAddr,
    settings: IngestSettings,
    stop: watch::Receiver<bool>,
) -> (SocketAddr, JoinHandle<()>) {
    let directory = temp.path().join("server");
    let credentials = load_or_issue(&directory, authority, &server_names(&[]), SystemTime::now()).unwrap();
    let key = load_or_create_reset_key(&directory).unwrap();
    let endpoint = bind(address, credentials, authority.certificate(), &key, &settings).unwrap();
    let ingest = Ingest::new(endpoint, journal.clone(), store.clone(), settings);
    let address = ingest.local_addr().unwrap();
    (address, tokio::spawn(ingest.run(stop)))
}

/// A client with a certificate of one authority that trusts a server of another.
fn client(signer: &Authority, trusted: &Authority) -> (Endpoint, ClientConfig) {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::new(Vec::<String>::new()).unwrap().serialize_request(&key).unwrap();
    let csr = CertificateSigningRequestParams::from_der(csr.der()).unwrap();
    let pem = signer.issue_vehicle(&van(), &csr, SystemTime::now()).unwrap();
    let credentials = Credentials {
        chain: vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()],
        key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
    };
    let tls = link_client(credentials, std::slice::from_ref(trusted.certificate())).unwrap();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    (Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap(), config)
}

fn hello(next_sequence: u64) -> Hello {
    Hello { protocol: PROTOCOL, epoch: EPOCH, next_sequence, batch_versions: vec![1], ..Hello::default() }
}

fn batch(epoch: u32, first: u64, count: u64) -> Bytes {
    let fixes = (first..first + count).map(fix).collect();
    encode(&Batch { epoch: Epoch(epoch), first, boot_id: None, fixes }).unwrap().into()
}

struct Vehicle {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    buffer: BytesMut,
    lane: SendStream,
}

impl Vehicle {
    async fn hello(connection: Connection, hello: Hello) -> Self {
        let (send, receive) = connection.open_bi().await.unwrap();
        let lane = connection.open_uni().await.unwrap();
        let mut vehicle = Self { connection, send, receive, buffer: BytesMut::new(), lane };
        vehicle.say(to_cloud::Message::Hello(hello)).await;
        vehicle
    }

    async fn say(&mut self, message: to_cloud::Message) {
        self.send.write_all(&frame_message(&ToCloud { message: Some(message) })).await.unwrap();
    }

    async fn upload(&mut self, batch: Bytes, ack_wanted: bool) {
        let mut frame = BytesMut::new();
        LaneFrame { ack_wanted, batch }.write(&mut frame);
        self.lane.write_all(&frame).await.unwrap();
    }

    /// The next message; `None` when the cloud has closed.
    async fn next(&mut self) -> Option<to_vehicle::Message> {
        loop {
            if let Some(ToVehicle { message }) = take_message(&mut self.buffer).unwrap() {
                return message;
            }
            match self.receive.read_chunk(65_536, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                _ => return None,
            }
        }
    }

    async fn durable(&mut self) -> String {
        match self.next().await {
            Some(to_vehicle::Message::Welcome(welcome)) => {
                ranges_from_message(&welcome.durable).unwrap().to_string()
            }
            other => panic!("expected a welcome, got {other:?}"),
        }
    }

    async fn acked(&mut self) -> String {
        match self.next().await {
            Some(to_vehicle::Message::Ack(Ack { epoch: EPOCH, ranges })) => {
                ranges_from_message(&ranges).unwrap().to_string()
            }
            other => panic!("expected an ack, got {other:?}"),
        }
    }

    async fn closed(&self) -> (u64, String) {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("expected a close with a reason, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_ack_comes_only_after_the_batch_is_durable_and_covers_what_came_before() {
    let cloud = Cloud::start();
    let mut vehicle = cloud.vehicle().await;
    assert_eq!(vehicle.durable().await, "");
    cloud.journal.slow.store(true, Ordering::SeqCst);
    vehicle.upload(batch(EPOCH, 0, 60), false).await;
    vehicle.upload(batch(EPOCH, 60, 60), true).await;
    // Both are in the journal's hands, and the disk has not answered.
    cloud.journal.end().wait_for(|&end| end == 2).await.unwrap();
    cloud.journal.disk.add_permits(1);
    let early = tokio::time::timeout(Duration::from_millis(200), vehicle.next()).await;
    assert!(early.is_err(), "{early:?}");
    cloud.journal.disk.add_permits(1);
    assert_eq!(vehicle.acked().await, "0-119");
}

#[tokio::test]
async fn an_unasked_ack_comes_after_the_interval() {
    let settings = IngestSettings { ack_interval: Duration::from_millis(300), ..IngestSettings::default() };
    let cloud = Cloud::with(settings);
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    let begun = std::time::Instant::now();
    vehicle.upload(batch(EPOCH, 0, 10), false).await;
    vehicle.upload(batch(EPOCH, 10, 10), false).await;
    assert_eq!(vehicle.acked().await, "0-19");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn duplicates_are_acknowledged_and_a_reconnect_learns_what_is_durable() {
    let cloud = Cloud::start();
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    vehicle.upload(batch(EPOCH, 0, 60), true).await;
    assert_eq!(vehicle.acked().await, "0-59");
    vehicle.upload(batch(EPOCH, 0, 60), true).await;
    assert_eq!(vehicle.acked().await, "0-59");
    cloud.process().await;
    let mut again = Vehicle::hello(cloud.connect().await, hello(100)).await;
    assert_eq!(again.durable().await, "0-59");
    // The hello's own numbers become known, so the rest counts as missing.
    cloud.journal.end().wait_for(|&end| end == 3).await.unwrap();
    cloud.process().await;
    let ledger = &crate::store::Store::ledgers(&*cloud.store, &van()).await.unwrap()[0];
    assert_eq!(ledger.missing().to_string(), "60-99");
    assert_eq!(crate::store::Store::vehicle(&*cloud.store, &van()).await.unwrap().unwrap().fixes, 60);
}

#[tokio::test]
async fn garbage_is_rejected_and_the_connection_lives_on() {
    let cloud = Cloud::start();
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    let mut damaged = batch(EPOCH, 30, 10).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 0x40;
    vehicle.upload(Bytes::from(damaged), false).await;
    match vehicle.next().await {
        Some(to_vehicle::Message::Reject(reject)) => {
            assert_eq!((reject.epoch, reject.first, reject.count), (EPOCH, 30, 10));
            assert!(!reject.reason.is_empty());
        }
        other => panic!("{other:?}"),
    }
    vehicle.upload(Bytes::from_static(b"garbage"), false).await;
    assert!(matches!(vehicle.next().await, Some(to_vehicle::Message::Reject(_))));
    vehicle.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(vehicle.acked().await, "0-9");
    assert_eq!(cloud.journaled().await.len(), 1, "nothing of the garbage was kept");
}

#[tokio::test]
async fn a_declared_loss_is_made_durable_and_acknowledged() {
    let cloud = Cloud::start();
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    let ranges = vec![message::Range { first: 5, last: 9 }];
    let lost = DeclareLost { epoch: EPOCH, ranges, reason: LossReason::BufferFull.into() };
    vehicle.say(to_cloud::Message::DeclareLost(lost)).await;
    assert_eq!(vehicle.acked().await, "5-9");
    assert_eq!(cloud.journaled().await[0].kind, Kind::Lost);
}

#[tokio::test]
async fn a_confused_vehicle_is_told_what_is_wrong_and_keeps_what_was_durable() {
    let cloud = Cloud::start();
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    vehicle.upload(batch(EPOCH, 0, 10), false).await;
    vehicle.upload(batch(EPOCH + 1, 10, 10), false).await;
    assert_eq!(vehicle.acked().await, "0-9", "the good batch before it");
    let (code, reason) = vehicle.closed().await;
    assert_eq!(code, 9);
    assert!(reason.contains("epoch 00000008"), "{reason}");
}

#[tokio::test]
async fn broken_peers_get_a_close_code_each() {
    let cloud = Cloud::start();
    let mut twice = cloud.vehicle().await;
    twice.durable().await;
    twice.say(to_cloud::Message::Hello(hello(0))).await;
    assert_eq!(twice.closed().await.0, 8);

    let mut flags = cloud.vehicle().await;
    flags.durable().await;
    flags.lane.write_all(&[0x80, 1, 0]).await.unwrap();
    assert_eq!(flags.closed().await.0, 7);

    let mut long = cloud.vehicle().await;
    long.durable().await;
    long.lane.write_all(&[0, 0xff, 0xff, 0xff, 0x7f]).await.unwrap();
    assert_eq!(long.closed().await.0, 6);

    let other = Hello { protocol: 2, ..hello(0) };
    assert_eq!(Vehicle::hello(cloud.connect().await, other).await.closed().await.0, 5);

    let overflow = Vehicle::hello(cloud.connect().await, hello(u64::MAX)).await;
    assert_eq!(overflow.closed().await.0, 10);

    let mut cut = cloud.vehicle().await;
    cut.durable().await;
    cut.lane.write_all(&[0, 100, 1, 2, 3]).await.unwrap();
    cut.lane.finish().unwrap();
    assert_eq!(cut.closed().await.0, 12);
}

#[tokio::test]
async fn silence_and_half_sent_frames_end_in_time() {
    let short = Duration::from_millis(200);
    let cloud = Cloud::with(IngestSettings {
        hello_timeout: short,
        frame_timeout: short,
        ..IngestSettings::default()
    });
    let connection = cloud.connect().await;
    let (_send, _receive) = connection.open_bi().await.unwrap();
    assert!(
        matches!(connection.closed().await, ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == 3)
    );
    let mut slow = cloud.vehicle().await;
    slow.durable().await;
    slow.lane.write_all(&[0, 100, 1]).await.unwrap();
    assert_eq!(slow.closed().await.0, 11);
}

#[tokio::test]
async fn a_newer_connection_of_the_same_vehicle_replaces_the_older() {
    let cloud = Cloud::start();
    let mut older = cloud.vehicle().await;
    older.durable().await;
    let mut newer = cloud.vehicle().await;
    newer.durable().await;
    assert_eq!(older.closed().await.0, 2);
    newer.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(newer.acked().await, "0-9");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let cloud = Cloud::start();
    let stranger = Authority::load_or_create(&cloud.temp.path().join("stranger")).unwrap();
    let (endpoint, config) = client(&stranger, &cloud.authority);
    // The client believes to be connected before the server has judged its certificate.
    let outcome = match endpoint.connect_with(config, cloud.address, "localhost").unwrap().await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    assert!(matches!(outcome, ConnectionError::ConnectionClosed(_)), "{outcome:?}");
    assert!(cloud.journaled().await.is_empty());
}

#[tokio::test]
async fn when_the_journal_fails_nothing_is_acknowledged_and_the_vehicle_comes_back_later() {
    let cloud = Cloud::start();
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    cloud.journal.broken.store(true, Ordering::SeqCst);
    vehicle.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(vehicle.closed().await.0, 14);
    cloud.journal.broken.store(false, Ordering::SeqCst);
    let mut again = cloud.vehicle().await;
    assert_eq!(again.durable().await, "");
    again.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(again.acked().await, "0-9");
}

#[tokio::test]
async fn stopping_acknowledges_what_is_durable_and_says_goodbye() {
    let cloud = Cloud::start();
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    vehicle.upload(batch(EPOCH, 0, 10), false).await;
    cloud.journal.end().wait_for(|&end| end == 1).await.unwrap();
    cloud.stop.send_replace(true);
    assert!(matches!(vehicle.next().await, Some(to_vehicle::Message::Draining(_))));
    assert_eq!(vehicle.acked().await, "0-9");
    assert_eq!(vehicle.closed().await.0, 1);
    cloud.running.await.unwrap();
}

/// Forwards datagrams between one client and whichever server is there: a server that died without a word.
async fn relay(target: watch::Receiver<Option<SocketAddr>>) -> SocketAddr {
    let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = outside.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((length, from)) = outside.recv_from(&mut up) => {
                    client = Some(from);
                    let target = *target.borrow();
                    if let Some(server) = target {
                        inside.send_to(&up[..length], server).await.unwrap();
                    }
                }
                Ok((length, from)) = inside.recv_from(&mut down) => {
                    let target = *target.borrow();
                    if let Some(client) = client.filter(|_| target == Some(from)) {
                        outside.send_to(&down[..length], client).await.unwrap();
                    }
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn after_a_crash_the_same_reset_key_lets_vehicles_notice_at_once() {
    let cloud = Cloud::start();
    let (server, target) = watch::channel(Some(cloud.address));
    let front = relay(target).await;
    let (endpoint, config) = client(&cloud.authority, &cloud.authority);
    let connection = endpoint.connect_with(config, front, "localhost").unwrap().await.unwrap();
    let mut vehicle = Vehicle::hello(connection, hello(0)).await;
    vehicle.durable().await;
    server.send_replace(None);
    cloud.running.abort();
    let settings = IngestSettings::default();
    let address = "127.0.0.1:0".parse().unwrap();
    let stop = cloud.stop.subscribe();
    let (restarted, _running) =
        serve(&cloud.temp, &cloud.authority, &cloud.journal, &cloud.store, address, settings, stop);
    server.send_replace(Some(restarted));
    vehicle.upload(batch(EPOCH, 0, 10), true).await;
    let noticed = tokio::time::timeout(Duration::from_secs(5), vehicle.connection.closed()).await;
    assert!(matches!(noticed, Ok(ConnectionError::Reset)), "{noticed:?}");
}

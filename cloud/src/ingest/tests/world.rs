//! A cloud's ingest on loopback, and vehicles that connect to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use avl_shared::batch::{Batch, encode};
use avl_shared::link::{
    Ack, Hello, LaneFrame, PROTOCOL, ToCloud, ToVehicle, frame_message, ranges_from_message, take_message,
    to_cloud, to_vehicle,
};
use avl_shared::sequence::Epoch;
use avl_shared::tls::{Credentials, link_client, signing_key};
use bytes::{Bytes, BytesMut};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::super::{Ingest, IngestSettings, bind, load_or_create_reset_key};
use crate::fleet::authority::Authority;
use crate::fleet::certificates::Certificates;
use crate::fleet::control::Control;
use crate::fleet::deny::follow;
use crate::fleet::server_identity::{load_or_issue, server_names};
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Journal, JournalError, ReadLimit, Receipt, Record};
use crate::live::LiveFeed;
use crate::process::Processor;
use crate::store::conformance::{fix, van};
use crate::store::sqlite::SqliteStore;

pub(super) const EPOCH: u32 = 7;
pub(super) const PAGE: ReadLimit = ReadLimit { entries: 1000, bytes: usize::MAX };

/// A journal whose disk the test can hold back, or break.
pub(super) struct SlowJournal {
    pub(super) inner: SqliteJournal,
    /// While set, an entry is answered only with a permit of `disk`.
    pub(super) slow: AtomicBool,
    pub(super) disk: Arc<Semaphore>,
    pub(super) broken: AtomicBool,
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
}

pub(super) struct Cloud {
    pub(super) temp: tempfile::TempDir,
    pub(super) authority: Authority,
    pub(super) journal: Arc<SlowJournal>,
    pub(super) store: Arc<SqliteStore>,
    pub(super) address: SocketAddr,
    pub(super) stop: watch::Sender<bool>,
    pub(super) running: JoinHandle<()>,
}

impl Cloud {
    pub(super) async fn start() -> Self {
        Self::with(IngestSettings::default()).await
    }

    pub(super) async fn with(settings: IngestSettings) -> Self {
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
            serve(&temp, &authority, &journal, &store, address, settings, stop.subscribe()).await;
        Self { temp, authority, journal, store, address, stop, running }
    }

    pub(super) async fn process(&self) {
        let processor = Processor::new(self.store.clone(), LiveFeed::default());
        processor.catch_up(&self.journal.inner).await.unwrap();
    }

    pub(super) async fn journaled(&self) -> Vec<Record> {
        let mut reader = self.journal.inner.reader();
        let entries = reader.read(0, PAGE, Duration::ZERO).await.unwrap().entries;
        entries.into_iter().map(|entry| entry.record.unwrap()).collect()
    }

    pub(super) async fn connect(&self) -> Connection {
        let (endpoint, config) = client(&self.authority, &self.authority);
        endpoint.connect_with(config, self.address, "localhost").unwrap().await.unwrap()
    }

    pub(super) async fn vehicle(&self) -> Vehicle {
        Vehicle::hello(self.connect().await, hello(0)).await
    }
}

pub(super) async fn serve(
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
    let (deny, following) = follow(Certificates::open(&temp.path().join("ca")).unwrap()).await.unwrap();
    tokio::spawn(following.run(stop.clone()));
    let endpoint = bind(address, credentials, authority.certificate(), &key, &settings).unwrap();
    let control = Control::open(&temp.path().join("store.sqlite")).unwrap();
    let ingest = Ingest::new(endpoint, journal.clone(), store.clone(), control, deny, settings);
    let address = ingest.local_addr().unwrap();
    (address, tokio::spawn(ingest.run(stop)))
}

/// A client with a certificate of one authority that trusts a server of another.
pub(super) fn client(signer: &Authority, trusted: &Authority) -> (Endpoint, ClientConfig) {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::new(Vec::<String>::new()).unwrap().serialize_request(&key).unwrap();
    let csr = CertificateSigningRequestParams::from_der(csr.der()).unwrap();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let pem = signer.issue_vehicle(&van(), &csr, SystemTime::now(), day).unwrap().pem;
    let credentials = Credentials {
        chain: vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()],
        key: signing_key(PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap()).unwrap(),
    };
    let tls = link_client(credentials, std::slice::from_ref(trusted.certificate())).unwrap();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    (Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap(), config)
}

pub(super) fn hello(next_sequence: u64) -> Hello {
    Hello { protocol: PROTOCOL, epoch: EPOCH, next_sequence, batch_versions: vec![1], ..Hello::default() }
}

pub(super) fn batch(epoch: u32, first: u64, count: u64) -> Bytes {
    let fixes = (first..first + count).map(fix).collect();
    encode(&Batch { epoch: Epoch(epoch), first, boot_id: None, fixes }).unwrap().into()
}

pub(super) struct Vehicle {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    pub(super) buffer: BytesMut,
    pub(super) lane: SendStream,
}

impl Vehicle {
    pub(super) async fn hello(connection: Connection, hello: Hello) -> Self {
        let (send, receive) = connection.open_bi().await.unwrap();
        let lane = connection.open_uni().await.unwrap();
        let mut vehicle = Self { connection, send, receive, buffer: BytesMut::new(), lane };
        vehicle.say(to_cloud::Message::Hello(hello)).await;
        vehicle
    }

    pub(super) async fn say(&mut self, message: to_cloud::Message) {
        self.send.write_all(&frame_message(&ToCloud { message: Some(message) })).await.unwrap();
    }

    pub(super) async fn upload(&mut self, batch: Bytes, ack_wanted: bool) {
        let mut frame = BytesMut::new();
        LaneFrame { ack_wanted, batch }.write(&mut frame);
        self.lane.write_all(&frame).await.unwrap();
    }

    /// The next message; `None` when the cloud has closed.
    pub(super) async fn next(&mut self) -> Option<to_vehicle::Message> {
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

    pub(super) async fn durable(&mut self) -> String {
        match self.next().await {
            Some(to_vehicle::Message::Welcome(welcome)) => {
                ranges_from_message(&welcome.durable).unwrap().to_string()
            }
            other => panic!("expected a welcome, got {other:?}"),
        }
    }

    pub(super) async fn acked(&mut self) -> String {
        match self.next().await {
            Some(to_vehicle::Message::Ack(Ack { epoch: EPOCH, ranges })) => {
                ranges_from_message(&ranges).unwrap().to_string()
            }
            other => panic!("expected an ack, got {other:?}"),
        }
    }

    pub(super) async fn closed(&self) -> (u64, String) {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("expected a close with a reason, got {other:?}"),
        }
    }
}

/// Forwards datagrams between one client and whichever server is there: a server that died without a word.
pub(super) async fn relay(target: watch::Receiver<Option<SocketAddr>>) -> SocketAddr {
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

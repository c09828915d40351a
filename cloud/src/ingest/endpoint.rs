//! The QUIC endpoint: limits and the keys that let clients notice a restart at once.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use avl_shared::tls::{Credentials, TlsError, link_server};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use quinn_proto::RandomConnectionIdGenerator;
use ring::hmac;
use rustls::pki_types::CertificateDer;
use socket2::SockRef;

use super::session::LANES;
use super::settings::IngestSettings;
use crate::data_dir::write_private;

/// Of one stream, and of the connection. A batch is at most 256 KiB and mostly below 1 KiB; this keeps a fast link
/// busy, and is what an unread connection can occupy.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Acknowledgements and welcomes are small.
const SEND_WINDOW: u64 = 128 * 1024;
const CONTROL_STREAMS: u32 = 1;
/// Every packet of a vehicle carries it. Four billion of them are enough for what one address serves, and leave room for a
/// server's number in a group. Quinn's usual ones have eight bytes, of which some let a server tell its own from noise;
/// here noise is answered with a reset, which is shorter than itself.
const CONNECTION_ID_BYTES: usize = 4;
/// Datagrams kept for handshakes that have not been looked at yet.
const INCOMING_BUFFER: u64 = 64 * 1024;
const INCOMING_BUFFER_TOTAL: u64 = 16 * 1024 * 1024;

/// What the kernel may hold until we read it: a word from each of some ten thousand vehicles, as when all of them
/// acknowledge a goodbye. It gives what `net.core.rmem_max` allows.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

const RESET_KEY_FILE: &str = "quic-reset-key";
const RESET_KEY_BYTES: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("QUIC cannot listen on {address}/udp: {error}{}", cure(error))]
    Bind { address: SocketAddr, error: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("QUIC configuration refused: {0}")]
    Suite(#[from] NoInitialCipherSuite),
    #[error("ingest.idle_timeout is too long for QUIC: choose less than a day")]
    IdleTimeout,
    #[error("QUIC reset key {path}: {error}")]
    ResetKey { path: PathBuf, error: io::Error },
}

fn cure(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; another process has it: stop that, or choose another --quic"
    } else {
        ""
    }
}

/// Random bytes that outlive restarts. With them a restarted server recognises packets of connections that it has
/// forgotten and tells their clients so; without them every vehicle would hang until its idle timeout.
///
/// # Errors
/// When the file cannot be read or written.
pub fn load_or_create_reset_key(directory: &Path) -> Result<[u8; RESET_KEY_BYTES], EndpointError> {
    let path = directory.join(RESET_KEY_FILE);
    let failed = |error| EndpointError::ResetKey { path: path.clone(), error };
    match std::fs::read(&path) {
        Ok(bytes) if bytes.len() == RESET_KEY_BYTES => {
            let mut key = [0; RESET_KEY_BYTES];
            key.copy_from_slice(&bytes);
            Ok(key)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        // Missing, or of a wrong length: the worst that a new key does is one slow reconnect a vehicle.
        _ => {
            let key: [u8; RESET_KEY_BYTES] = rand::random();
            write_private(&path, &key).map_err(failed)?;
            Ok(key)
        }
    }
}

/// Binds the endpoint on which vehicles connect.
///
/// # Errors
/// [`EndpointError`] names the address or setting.
pub fn bind(
    address: SocketAddr,
    credentials: Credentials,
    authority: &CertificateDer<'static>,
    reset_key: &[u8; RESET_KEY_BYTES],
    settings: &IngestSettings,
) -> Result<Endpoint, EndpointError> {
    let server = server_config(credentials, authority, settings)?;
    let mut endpoint = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key)));
    endpoint.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(CONNECTION_ID_BYTES)));

    let bound = || -> io::Result<Endpoint> {
        let socket = std::net::UdpSocket::bind(address)?;
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
        Endpoint::new(endpoint, Some(server), socket, Arc::new(quinn::TokioRuntime))
    };
    bound().map_err(|error| EndpointError::Bind { address, error })
}

/// What connections begin with; an endpoint that runs can be given a new one.
///
/// # Errors
/// [`EndpointError`] names what cannot be used.
pub fn server_config(
    credentials: Credentials,
    authority: &CertificateDer<'static>,
    settings: &IngestSettings,
) -> Result<ServerConfig, EndpointError> {
    let tls = link_server(credentials, std::slice::from_ref(authority))?;
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    server
        .transport_config(Arc::new(transport(settings)?))
        .max_incoming(settings.max_handshakes.saturating_mul(2))
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    Ok(server)
}

fn transport(settings: &IngestSettings) -> Result<TransportConfig, EndpointError> {
    let mut transport = TransportConfig::default();
    let idle = settings.idle_timeout.try_into().map_err(|_| EndpointError::IdleTimeout)?;
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(None)
        // Probes for a larger packet cost a vehicle kilobytes on each connection, and what we send is small.
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(CONTROL_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(LANES as u32))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        // What we send is small; with it each connection keeps a buffer of ten packets for ever.
        .enable_segmentation_offload(false)
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

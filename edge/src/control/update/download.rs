//! Fetches a release file from the cloud's HTTPS listener: in as many connections as it takes, each going on where the
//! one before ended, over restarts of the agent too. What came is kept only if it is what the manifest names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use avl_shared::release::{Manifest, hex};
use avl_shared::tls;
use http::header::{HOST, RANGE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::clock::Clock;
use crate::config::Config;

/// For the connection, for the answer to begin, and for each piece of it: some round trips of a bad cellular link.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts that brought nothing: the first wait, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Where release files are.
#[derive(Clone, Debug)]
pub struct Source {
    pub host: String,
    pub port: u16,
    /// The name that the certificate must carry.
    pub server_name: String,
    /// What stands before the SHA-256.
    pub path: String,
    pub tls: Arc<ClientConfig>,
}

impl Source {
    /// Where `config` says, or on the cloud's own listener at `port` (0: the link's number).
    ///
    /// # Errors
    /// What cannot be used, and the cure.
    pub fn of(
        config: &Config,
        port: u16,
        authorities: &[CertificateDer<'static>],
        clock: Clock,
    ) -> Result<Self, String> {
        let (tls, _) = tls::https_client(authorities, Arc::new(clock)).map_err(|error| error.to_string())?;
        let tls = Arc::new(tls);
        if let Some(url) = &config.update.url {
            let bad = || {
                format!(
                    "update.url {url:?} is not an address: write it as in \"https://gateway.example.com:7443/release/v1/\""
                )
            };
            let uri: http::Uri = url.parse().map_err(|_| bad())?;
            let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
            let port = uri.port_u16().unwrap_or(443);
            let path = format!("{}/", uri.path().trim_end_matches('/'));
            return Ok(Self { server_name: host.clone(), host, port, path, tls });
        }
        let quic = &config.uplink.quic;
        let (Some((host, link_port)), Some(name)) = (quic.host_and_port(), quic.certificate_name()) else {
            return Err("uplink.quic.address does not say where the cloud is: set update.url".to_owned());
        };
        let port = if port == 0 { link_port } else { port };
        let path = avl_shared::release::PATH.to_owned();
        Ok(Self { host: host.to_owned(), port, server_name: name.to_owned(), path, tls })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("the cloud does not have the file any more ({0}): add the release there again")]
    Gone(StatusCode),
    #[error("the file is not the one that the manifest names (its SHA-256 is {0}): add the release again")]
    OtherFile(String),
    #[error("cannot write the download: {0}: check that update.directory exists, has room and is writable")]
    Disk(io::Error),
}

/// Why one attempt ended early; the next may do better.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Network(String),
    #[error(transparent)]
    Final(#[from] DownloadError),
}

/// Returns when `file` holds what `manifest` names, durably.
///
/// # Errors
/// When trying again cannot help.
pub async fn download(source: &Source, manifest: &Manifest, file: &Path) -> Result<(), DownloadError> {
    let mut wait = RETRY.0;
    loop {
        let had = begin(file, manifest.size).map_err(DownloadError::Disk)?;
        if had == manifest.size {
            return verify(file, manifest).await;
        }
        match attempt(source, manifest, file, had).await {
            Ok(()) => wait = RETRY.0,
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Network(cause)) => {
                let has = fs::metadata(file).map_err(DownloadError::Disk)?.len();
                if has > had {
                    tracing::info!(bytes = has, of = manifest.size, cause, "download interrupted: going on");
                    wait = RETRY.0;
                } else {
                    tracing::warn!(bytes = has, of = manifest.size, next_attempt = ?wait, "download makes no progress: {cause}");
                    sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
            }
        }
    }
}

/// Bytes that are there already. More than there should be are of another file.
fn begin(file: &Path, size: u64) -> io::Result<u64> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(file)?;
    let had = file.metadata()?.len();
    if had > size {
        file.set_len(0)?;
        return Ok(0);
    }
    Ok(had)
}

async fn attempt(source: &Source, manifest: &Manifest, file: &Path, had: u64) -> Result<(), Broken> {
    let mut body = request(source, &manifest.sha256, had).await?;
    let mut out = OpenOptions::new().write(true).open(file).map_err(DownloadError::Disk)?;
    let mut at = out.seek(SeekFrom::Start(had)).map_err(DownloadError::Disk)?;
    while at < manifest.size {
        let frame = match timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(Broken::Network(error.to_string())),
            Ok(None) => return Err(Broken::Network("the connection ended".to_owned())),
            Err(_) => return Err(Broken::Network(format!("nothing came for {} s", PATIENCE.as_secs()))),
        };
        if let Ok(data) = frame.into_data() {
            // A server that sends more than the manifest says does not fill the disk.
            let left = usize::try_from(manifest.size - at).unwrap_or(usize::MAX);
            let data = &data[..data.len().min(left)];
            out.write_all(data).map_err(DownloadError::Disk)?;
            at += data.len() as u64;
        }
    }
    out.sync_all().map_err(DownloadError::Disk)?;
    Ok(())
}

async fn request(source: &Source, sha256: &str, from: u64) -> Result<Incoming, Broken> {
    let network = |error: &dyn std::fmt::Display| Broken::Network(error.to_string());
    let answer = async {
        let tcp =
            TcpStream::connect((source.host.as_str(), source.port)).await.map_err(|error| network(&error))?;
        let name = ServerName::try_from(source.server_name.clone()).map_err(|error| network(&error))?;
        let tls = TlsConnector::from(Arc::clone(&source.tls))
            .connect(name, tcp)
            .await
            .map_err(|error| network(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(tls)).await.map_err(|error| network(&error))?;
        // Ends with the exchange, whose own error says what happened.
        tokio::spawn(connection);
        let request = Request::get(format!("{}{sha256}", source.path))
            .header(HOST, &source.host)
            .header(RANGE, format!("bytes={from}-"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| network(&error))?;
        sender.send_request(request).await.map_err(|error| network(&error))
    };
    let response = timeout(PATIENCE, answer)
        .await
        .map_err(|_| Broken::Network(format!("no answer within {} s", PATIENCE.as_secs())))??;
    match response.status() {
        StatusCode::PARTIAL_CONTENT => Ok(response.into_body()),
        StatusCode::OK if from == 0 => Ok(response.into_body()),
        status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => Err(DownloadError::Gone(status).into()),
        status => Err(Broken::Network(format!("the server answered {status}"))),
    }
}

/// Some megabytes to hash: not on the thread that serves the link.
async fn verify(file: &Path, manifest: &Manifest) -> Result<(), DownloadError> {
    let path = file.to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let (mut file, mut piece) = (File::open(path)?, vec![0; 64 * 1024]);
        loop {
            match file.read(&mut piece)? {
                0 => break,
                count => context.update(&piece[..count]),
            }
        }
        // Received in an earlier run of the agent, it may never have been synced.
        file.sync_all()?;
        Ok(hex(context.finish().as_ref()))
    });
    let sha256 = hashed.await.map_err(|error| DownloadError::Disk(io::Error::other(error)))?;
    let sha256 = sha256.map_err(DownloadError::Disk)?;
    if sha256 == manifest.sha256 {
        return Ok(());
    }
    // It may be the rest of another release: the next order begins anew.
    fs::remove_file(file).map_err(DownloadError::Disk)?;
    Err(DownloadError::OtherFile(sha256))
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;

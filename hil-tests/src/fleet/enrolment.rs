//! The gateway's half of enrolment: a key, a CSR, one HTTPS exchange with a server that the token pins.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use avl_shared::enrolment::{EnrolRequest, EnrolResponse, EnrolmentToken, PATH};
use avl_shared::tls::{self, Credentials};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;

use crate::process::run;

/// What a vehicle needs to speak on the link.
#[derive(Clone, Debug)]
pub struct Identity {
    pub credentials: Credentials,
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Where vehicles enrol: whose tokens, and at which address.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The data folder that has the tokens.
    pub data: PathBuf,
    pub url: String,
    /// Where they are instead, if anywhere.
    pub database: Option<String>,
}

impl Desk {
    /// A single-use enrolment token.
    ///
    /// # Errors
    /// When there is none.
    pub async fn token(&self, fleet: &str, vehicle: &str) -> anyhow::Result<String> {
        let data = self.data.display().to_string();
        let mut arguments = vec!["token", "--data-dir", &data, "--fleet", fleet, "--vehicle", vehicle];
        if let Some(url) = &self.database {
            arguments.extend(["--database", url]);
        }
        Ok(run("avl-cloud", &arguments).await?.success()?.stdout.trim().to_owned())
    }
}

/// Trades a token for a certificate.
///
/// # Errors
/// When the server cannot be reached, is not the one the token pins, or refuses.
pub async fn enrol(url: &str, token: &str) -> anyhow::Result<Identity> {
    let host = url.strip_prefix("https://").context("the enrolment URL is not https")?;
    let pinned: EnrolmentToken = token.parse()?;
    let config = tls::enrolment_client(pinned.ca)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(host).await.with_context(|| format!("{host} cannot be reached"))?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    let stream = connector.connect(ServerName::try_from(name)?, stream).await?;

    let key = rcgen::KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
    let body = serde_json::to_vec(&EnrolRequest { token: token.to_owned(), csr })?;
    let request = hyper::Request::post(PATH)
        .header("host", host)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;

    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    anyhow::ensure!(status.is_success(), "enrolment refused: {status} {}", String::from_utf8_lossy(&body));

    let answer: EnrolResponse = serde_json::from_slice(&body)?;
    let certificates =
        |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(Identity {
        credentials: Credentials { chain: certificates(&answer.certificate)?, key: tls::signing_key(key)? },
        authorities: certificates(&answer.ca)?,
    })
}

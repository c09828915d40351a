//! One HTTPS exchange with the cloud: enrolment and renewal. Each has a connection of its own; both are rare.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// For one exchange. An installer may be waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// Three certificates are some 3 KB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    #[error("{url:?} is not an address to enrol at: write it as in https://gateway.example.com:7443")]
    BadUrl { url: String },
    #[error(
        "cannot reach {address}: {cause}: check the address, that 'avl-cloud' is running there, and that TCP gets through"
    )]
    Unreachable { address: String, cause: String },
    #[error("no answer from {address} within {} s: check that TCP gets through to it, and try again", PATIENCE.as_secs())]
    TimedOut { address: String },
    #[error("TLS with {address} failed: {error}")]
    Handshake { address: String, error: io::Error },
    #[error("the answer of {address} is not one of avl-cloud's ({cause}): check the address")]
    BadAnswer { address: String, cause: String },
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    port: u16,
    /// Where it is mounted, without a slash at its end.
    base: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, HttpsError> {
        let bad = || HttpsError::BadUrl { url: url.to_owned() };
        let uri: Uri = url.trim().parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("https") {
            return Err(bad());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(443),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// POSTs `body` as JSON, or GETs when there is none.
    pub(crate) async fn exchange(
        &self,
        tls: ClientConfig,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, HttpsError> {
        timeout(PATIENCE, self.converse(tls, path, body))
            .await
            .map_err(|_| HttpsError::TimedOut { address: self.address() })?
    }

    async fn converse(
        &self,
        tls: ClientConfig,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, HttpsError> {
        let bad_answer = |cause: &dyn ToString| HttpsError::BadAnswer {
            address: self.address(),
            cause: cause.to_string(),
        };
        let stream = self.connect(tls).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| bad_answer(&error))?;
        // Ends with the exchange; its errors show up in the exchange as well.
        let connection = tokio::spawn(connection);
        let builder =
            if body.is_some() { Request::post(self.path(path)) } else { Request::get(self.path(path)) };
        let request = builder
            .header(HOST, self.address())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|_| HttpsError::BadUrl { url: self.path(path) })?;
        let response = sender.send_request(request).await.map_err(|error| bad_answer(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| bad_answer(&error))?
            .to_bytes();
        connection.abort();
        Ok(Answer { status, body })
    }

    async fn connect(
        &self,
        tls: ClientConfig,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, HttpsError> {
        let address = self.address();
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| HttpsError::BadUrl { url: format!("https://{address}") })?;
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| {
            HttpsError::Unreachable { address: address.clone(), cause: error.to_string() }
        })?;
        TlsConnector::from(Arc::new(tls))
            .connect(name, tcp)
            .await
            .map_err(|error| HttpsError::Handshake { address, error })
    }
}

impl Answer {
    /// The body of a success.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, address: String) -> Result<T, HttpsError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| HttpsError::BadAnswer { address, cause: error.to_string() })
    }

    /// (type, detail) of a problem document (RFC 9457), or the start of whatever came instead.
    pub(crate) fn problem(&self) -> (String, String) {
        #[derive(Default, serde::Deserialize)]
        struct Problem {
            #[serde(rename = "type", default)]
            kind: String,
            detail: Option<String>,
            title: Option<String>,
        }
        let problem: Problem = serde_json::from_slice(&self.body).unwrap_or_default();
        let detail = problem
            .detail
            .or(problem.title)
            .unwrap_or_else(|| String::from_utf8_lossy(&self.body).chars().take(200).collect());
        (problem.kind, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_people_write_them() {
        let address = |url: &str| Target::parse(url).map(|target| (target.address(), target.path("/x")));
        let plain = |address: &str| Some((address.to_owned(), "/x".to_owned()));
        assert_eq!(address("https://gateway.example.com:7443").ok(), plain("gateway.example.com:7443"));
        assert_eq!(address(" https://gateway.example.com/ ").ok(), plain("gateway.example.com:443"));
        assert_eq!(address("https://[::1]:7443").ok(), plain("[::1]:7443"));
        assert_eq!(address("https://a.example/avl/").unwrap().1, "/avl/x");
        for bad in ["", "gateway.example.com:7443", "http://gateway.example.com", "https://"] {
            assert!(matches!(address(bad), Err(HttpsError::BadUrl { .. })), "{bad}");
        }
    }
}

//! Enrolment over real TLS, as a gateway does it.

mod renewal;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avl_shared::enrolment::{EnrolRequest, EnrolResponse, EnrolmentToken, Fingerprint, PATH};
use avl_shared::identity::VehicleKey;
use avl_shared::tls::{enrolment_client, enrolment_server};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::authority::Authority;
use super::certificates::Certificates;
use super::server_identity::{load_or_issue, server_names};
use super::tokens::Tokens;
use super::{FleetSettings, Issuing, enrolment, listener};
use crate::time::now_utc;

struct Server {
    temp: tempfile::TempDir,
    authority: Arc<Authority>,
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
}

impl Server {
    async fn start() -> Self {
        Self::with(FleetSettings::default()).await
    }

    async fn with(settings: FleetSettings) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::load_or_create(&temp.path().join("ca")).unwrap());
        let tokens = Tokens::open(&temp.path().join("store.sqlite")).unwrap();
        let credentials =
            load_or_issue(&temp.path().join("server"), &authority, &server_names(&[]), SystemTime::now())
                .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (_, tls) = watch::channel(Arc::new(enrolment_server(credentials).unwrap()));
        let certificates = Certificates::open(&temp.path().join("ca")).unwrap();
        let issuing = Arc::new(Issuing::new(Arc::clone(&authority), certificates, settings));
        let service = enrolment::router(Arc::clone(&issuing), tokens).merge(super::renewal::router(issuing));
        tokio::spawn(listener::serve(socket, Some(tls), service, stopped));
        Self { temp, authority, address, stop }
    }

    async fn token(&self, vehicle: &str, now: i64, life: Duration) -> EnrolmentToken {
        let tokens = Tokens::open(&self.temp.path().join("store.sqlite")).unwrap();
        tokens.create(&vehicle.parse().unwrap(), self.authority.fingerprint(), now, life).await.unwrap()
    }

    async fn fresh_token(&self) -> String {
        self.token("demo/van-1", now_utc(), Duration::from_secs(60)).await.to_string()
    }

    async fn post(&self, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        exchange(self.address, self.authority.fingerprint(), Method::POST, PATH, body.into()).await.unwrap()
    }

    async fn enrol(&self, token: &str, csr: &str) -> (StatusCode, Bytes) {
        let request = EnrolRequest { token: token.to_owned(), csr: csr.to_owned() };
        self.post(serde_json::to_vec(&request).unwrap()).await
    }
}

async fn exchange(
    address: std::net::SocketAddr,
    ca: Fingerprint,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error>> {
    let connector = TlsConnector::from(Arc::new(enrolment_client(ca)?));
    let stream = TcpStream::connect(address).await?;
    let stream = connector.connect(ServerName::try_from("127.0.0.1")?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn csr(subject: &str) -> String {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, subject);
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn detail(body: &Bytes) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap();
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_exchanged_once_for_a_certificate_of_the_tokens_vehicle() {
    let server = Server::start().await;
    let token = server.fresh_token().await;
    let (status, body) = server.enrol(&token, &csr("somebody/else")).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let response: EnrolResponse = serde_json::from_slice(&body).unwrap();
    let certificate = CertificateDer::from_pem_slice(response.certificate.as_bytes()).unwrap();
    let vehicle: VehicleKey = "demo/van-1".parse().unwrap();
    assert_eq!(
        VehicleKey::from_certificate(&certificate).unwrap(),
        vehicle,
        "the request's subject is ignored"
    );
    let ca = CertificateDer::from_pem_slice(response.ca.as_bytes()).unwrap();
    assert_eq!(Fingerprint::of(&ca), server.authority.fingerprint());

    let (status, body) = server.enrol(&token, &csr("demo/van-1")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(detail(&body).contains("used already"), "{}", detail(&body));
    server.stop.send(true).unwrap();
}

#[tokio::test]
async fn expired_foreign_and_damaged_tokens_are_refused_with_their_reason() {
    let server = Server::start().await;
    let expired = server.token("demo/van-1", now_utc() - 10_000, Duration::from_secs(5)).await.to_string();
    let foreign = EnrolmentToken { secret: [1; 16], ca: Fingerprint::of(b"another") }.to_string();
    let invented = EnrolmentToken { secret: [1; 16], ca: server.authority.fingerprint() }.to_string();
    for (token, status, reason) in [
        (expired.as_str(), StatusCode::FORBIDDEN, "expired"),
        (foreign.as_str(), StatusCode::FORBIDDEN, "another server"),
        (invented.as_str(), StatusCode::FORBIDDEN, "unknown"),
        ("avl1.x", StatusCode::BAD_REQUEST, "copy it again"),
    ] {
        let (answered, body) = server.enrol(token, &csr("x")).await;
        assert_eq!(answered, status);
        assert!(detail(&body).contains(reason), "{reason}: {}", detail(&body));
    }
}

#[tokio::test]
async fn a_broken_request_does_not_use_the_token_up() {
    let server = Server::start().await;
    let token = server.fresh_token().await;
    let mut forged = csr("demo/van-1");
    // Another key than the one that signed: swap the middle of the base64 of two requests.
    let other = csr("demo/van-1");
    let lines: Vec<&str> = forged.lines().collect();
    let swapped: Vec<&str> =
        lines.iter().zip(other.lines()).enumerate().map(|(n, (a, b))| if n == 3 { b } else { a }).collect();
    forged = swapped.join("\n");
    for csr in ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", &forged]
    {
        let (status, body) = server.enrol(&token, csr).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(detail(&body).contains("PKCS#10"), "{}", detail(&body));
    }
    assert_eq!(server.enrol(&token, &csr("x")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_huge_body_is_refused_and_the_next_gateway_is_served() {
    let server = Server::start().await;
    let (status, body) = server.post(vec![b' '; 100_000]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail(&body).contains("16 KiB"));
    assert_eq!(server.enrol(&server.fresh_token().await, &csr("x")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_gateway_with_another_pin_tells_the_server_nothing() {
    let server = Server::start().await;
    assert!(
        exchange(server.address, Fingerprint::of(b"another"), Method::POST, PATH, Bytes::new())
            .await
            .is_err()
    );
}

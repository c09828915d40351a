//! Enrolment against a real HTTPS server.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType,
};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::identity::{self, Identity, IdentityConfig};

/// What the server does wrong.
#[derive(Clone, Copy)]
enum Fault {
    None,
    TokenUsed,
    NotOurs,
    OtherKey,
    OtherAuthority,
    OtherVehicle,
}

struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let certificate = params.self_signed(&key).unwrap();
    let issuer = Issuer::from_ca_cert_der(certificate.der(), key).unwrap();
    Authority { certificate, issuer }
}

fn vehicle_certificate(authority: &Authority, csr: &str, uri: &str) -> String {
    let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
    request.params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    request.signed_by(&authority.issuer).unwrap().pem()
}

fn csr_of_another_key() -> String {
    CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

/// (address, token) of a server that answers with this fault.
async fn serve(name: &str, fault: Fault) -> (String, EnrolmentToken) {
    let authority = Arc::new(authority());
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let credentials = avl_shared::tls::Credentials {
        chain: vec![certificate.der().clone(), authority.certificate.der().clone()],
        key: tls::signing_key(PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap(),
    };
    let acceptor = TlsAcceptor::from(Arc::new(tls::enrolment_server(credentials).unwrap()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = EnrolmentToken { secret: [3; 16], ca: Fingerprint::of(authority.certificate.der()) };
    let expected = token.to_string();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(stream) = acceptor.accept(tcp).await else { return };
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (authority, expected) = (Arc::clone(&authority), expected.clone());
            async move {
                assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/enrol/v1"));
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let asked: EnrolRequest = serde_json::from_slice(&body).unwrap();
                assert_eq!(asked.token, expected);
                Ok::<_, Infallible>(answer(&authority, &asked.csr, fault))
            }
        });
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
    (format!("https://{name}:{}", address.port()), token)
}

fn answer(ours: &Authority, csr: &str, fault: Fault) -> http::Response<Full<Bytes>> {
    let other = authority();
    let problem =
        r#"{"title":"Conflict","status":409,"detail":"the token was used already: make a new one"}"#;
    let (status, body) = match fault {
        Fault::TokenUsed => (409, problem.to_owned()),
        Fault::NotOurs => (200, "<html>It works!</html>".to_owned()),
        _ => {
            let signer = if matches!(fault, Fault::OtherAuthority) { &other } else { ours };
            let csr = if matches!(fault, Fault::OtherKey) { csr_of_another_key() } else { csr.to_owned() };
            let response = EnrolResponse {
                certificate: vehicle_certificate(signer, &csr, "avl://demo/van-1"),
                ca: ours.certificate.pem(),
                fleet: "demo".to_owned(),
                vehicle: if matches!(fault, Fault::OtherVehicle) { "van-2" } else { "van-1" }.to_owned(),
            };
            (200, serde_json::to_string(&response).unwrap())
        }
    };
    http::Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap()
}

async fn failure(name: &str, fault: Fault) -> EnrolError {
    let (url, token) = serve(name, fault).await;
    enrol(&url, &token, &Keys::File, &Clock::at_once()).await.unwrap_err()
}

#[tokio::test]
async fn an_enrolled_gateway_has_a_key_of_its_own_and_can_be_loaded_again() {
    let (url, token) = serve("localhost", Fault::None).await;
    let enrolled = enrol(&url, &token, &Keys::File, &Clock::at_once()).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    identity::store(state.path(), &enrolled.files()).unwrap();
    let identity = Identity::load(state.path(), &IdentityConfig::default()).unwrap();
    assert_eq!(identity.vehicle.to_string(), "demo/van-1");
    assert!(tls::link_client(identity.credentials, &identity.authorities).is_ok());
}

#[tokio::test]
async fn a_token_for_another_cloud_is_not_shown_to_this_one() {
    let (url, mut token) = serve("localhost", Fault::None).await;
    token.ca = Fingerprint::of(b"another authority");
    let error = enrol(&url, &token, &Keys::File, &Clock::at_once()).await.unwrap_err();
    assert!(
        matches!(&error, EnrolError::WrongAuthority { pin, .. } if *pin == token.ca.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_of_another_name_is_named() {
    let (url, token) = serve("localhost", Fault::None).await;
    let error = enrol(&url.replace("localhost", "127.0.0.1"), &token, &Keys::File, &Clock::at_once())
        .await
        .unwrap_err();
    assert!(matches!(&error, EnrolError::WrongName { host } if host == "127.0.0.1"), "{error}");
}

#[tokio::test]
async fn the_clouds_own_words_reach_the_installer() {
    let error = failure("localhost", Fault::TokenUsed).await;
    assert_eq!(
        error.to_string(),
        "the cloud refused (409 Conflict): the token was used already: make a new one"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_refused() {
    let error = failure("localhost", Fault::NotOurs).await;
    assert!(matches!(error, EnrolError::Https(HttpsError::BadAnswer { .. })), "{error}");
    for fault in [Fault::OtherKey, Fault::OtherAuthority, Fault::OtherVehicle] {
        let error = failure("localhost", fault).await;
        assert!(matches!(error, EnrolError::BadCertificate(_)), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_plainly() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    drop(listener);
    let token = EnrolmentToken { secret: [3; 16], ca: Fingerprint([0; 32]) };
    let error = enrol(&url, &token, &Keys::File, &Clock::at_once()).await.unwrap_err();
    assert!(matches!(error, EnrolError::Https(HttpsError::Unreachable { .. })), "{error}");
}

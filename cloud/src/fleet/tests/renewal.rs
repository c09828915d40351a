//! Renewal over real TLS.

use avl_shared::renewal::{self, Challenge, NONCE_PATH, RenewRequest, prove, statement};
use avl_shared::tls::signing_key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use super::*;
use crate::fleet::server_identity::load_or_issue;

/// An enrolled vehicle: its certificate and key.
struct Vehicle {
    pem: String,
    key: Arc<dyn SigningKey>,
}

impl Vehicle {
    async fn enrolled(server: &Server) -> Self {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let (status, body) = server.enrol(&server.fresh_token().await, &csr).await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
        let response: EnrolResponse = serde_json::from_slice(&body).unwrap();
        Self {
            pem: response.certificate,
            key: signing_key(PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap(),
        }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }

    /// A request as it should be.
    fn request(&self, nonce: &str) -> RenewRequest {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let proof = prove(&*self.key, &statement(&self.der(), csr.der(), nonce)).unwrap();
        RenewRequest {
            certificate: self.pem.clone(),
            csr: csr.pem().unwrap(),
            nonce: nonce.to_owned(),
            proof: STANDARD.encode(proof),
        }
    }
}

impl Server {
    async fn nonce(&self) -> String {
        let ca = self.authority.fingerprint();
        let (status, body) = exchange(self.address, ca, Method::GET, NONCE_PATH, Bytes::new()).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice::<Challenge>(&body).unwrap().nonce
    }

    async fn renew(&self, request: &RenewRequest) -> (StatusCode, Bytes) {
        let body = serde_json::to_vec(request).unwrap();
        let ca = self.authority.fingerprint();
        exchange(self.address, ca, Method::POST, renewal::PATH, body.into()).await.unwrap()
    }

    fn list(&self) -> Certificates {
        Certificates::open(&self.temp.path().join("ca")).unwrap()
    }
}

fn van() -> VehicleKey {
    "demo/van-1".parse().unwrap()
}

#[tokio::test]
async fn an_expired_certificate_is_exchanged_for_one_of_the_same_vehicle() {
    // It has expired by the time it arrives.
    let settings = FleetSettings { certificate_lifetime: Duration::ZERO, ..FleetSettings::default() };
    let server = Server::with(settings).await;
    let vehicle = Vehicle::enrolled(&server).await;
    let (status, body) = server.renew(&vehicle.request(&server.nonce().await)).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let response: EnrolResponse = serde_json::from_slice(&body).unwrap();
    let renewed = CertificateDer::from_pem_slice(response.certificate.as_bytes()).unwrap();
    assert_eq!(VehicleKey::from_certificate(&renewed).unwrap(), van());
    assert_ne!(renewed, vehicle.der());
    assert!(server.list().denied().await.unwrap().reason(&van(), &[]).is_none());
}

#[tokio::test]
async fn who_does_not_hold_the_key_or_replays_gets_nothing() {
    let server = Server::start().await;
    let (vehicle, thief) = (Vehicle::enrolled(&server).await, Vehicle::enrolled(&server).await);
    let nonce = server.nonce().await;
    let stolen = RenewRequest { certificate: vehicle.pem.clone(), ..thief.request(&nonce) };
    let another_key = RenewRequest { csr: csr("x"), ..vehicle.request(&nonce) };
    let another_nonce = RenewRequest { nonce: server.nonce().await, ..vehicle.request(&nonce) };
    let unproven = RenewRequest { proof: "!".to_owned(), ..vehicle.request(&nonce) };
    for request in [stolen, another_key, another_nonce, unproven] {
        let (status, body) = server.renew(&request).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(detail(&body).contains("proof"), "{}", detail(&body));
    }
    let (status, body) = server.renew(&vehicle.request("bm8gbm9uY2Ugb2Ygb3Vycw")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(detail(&body).contains("nonce"), "{}", detail(&body));
}

#[tokio::test]
async fn a_revoked_certificate_is_not_renewed_and_the_next_enrolment_is_good() {
    let server = Server::start().await;
    let vehicle = Vehicle::enrolled(&server).await;
    server.list().revoke(&van(), "stolen", now_utc()).await.unwrap();
    let (status, body) = server.renew(&vehicle.request(&server.nonce().await)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["type"], renewal::REVOKED);
    assert!(detail(&body).contains("stolen"), "{}", detail(&body));
    let again = Vehicle::enrolled(&server).await;
    assert_eq!(server.renew(&again.request(&server.nonce().await)).await.0, StatusCode::OK);
    assert_eq!(server.renew(&vehicle.request(&server.nonce().await)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn too_old_foreign_and_broken_certificates_are_told_what_to_do() {
    let settings = FleetSettings { certificate_lifetime: Duration::ZERO, renewal_grace: Duration::ZERO };
    let server = Server::with(settings).await;
    let vehicle = Vehicle::enrolled(&server).await;
    let (status, body) = server.renew(&vehicle.request(&server.nonce().await)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(detail(&body).contains("new token"), "{}", detail(&body));

    let (status, body) = server
        .renew(&RenewRequest { certificate: "x".to_owned(), ..vehicle.request(&server.nonce().await) })
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}");

    // The server's own certificate is of the same authority, and no vehicle.
    let directory = server.temp.path().join("server");
    let credentials =
        load_or_issue(&directory, &server.authority, &server_names(&[]), SystemTime::now()).unwrap();
    let pem = std::fs::read_to_string(directory.join("certificate.pem")).unwrap();
    let impostor = Vehicle { pem, key: credentials.key };
    let (status, body) = server.renew(&impostor.request(&server.nonce().await)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body:?}");

    let other = Server::start().await;
    let stranger = Vehicle::enrolled(&other).await;
    let (status, body) = server.renew(&stranger.request(&server.nonce().await)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(detail(&body).contains("not of this server"), "{}", detail(&body));
}

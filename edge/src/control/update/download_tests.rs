//! Against a real TLS server that ends every connection after a while, as a cell does.

use std::sync::Mutex;

use avl_shared::release::Version;
use avl_shared::tls::{Credentials, enrolment_server, signing_key};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Bytes that one connection brings.
const CELL: usize = 30_000;

struct Server {
    source: Source,
    /// Where each request began.
    asked: Arc<Mutex<Vec<usize>>>,
}

impl Server {
    async fn start(status: &'static str, content: Vec<u8>) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = ca.self_signed(&ca_key).unwrap().der().clone();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().der().clone();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let tls =
            enrolment_server(Credentials { chain: vec![leaf], key: signing_key(key).unwrap() }).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                let from = request.split("range: bytes=").nth(1).unwrap();
                let from: usize = from.split('-').next().unwrap().parse().unwrap();
                seen.lock().unwrap().push(from);
                let rest = &content[from.min(content.len())..];
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", rest.len());
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&rest[..rest.len().min(CELL)]).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
        let (tls, _) = tls::https_client(&[authority], Arc::new(Clock::at_once())).unwrap();
        let source = Source {
            host: "127.0.0.1".to_owned(),
            port,
            server_name: "localhost".to_owned(),
            path: avl_shared::release::PATH.to_owned(),
            tls: Arc::new(tls),
        };
        Self { source, asked }
    }
}

fn content() -> Vec<u8> {
    (0..100_000_u32).map(|n| u8::try_from(n % 253).unwrap()).collect()
}

fn manifest(content: &[u8]) -> Manifest {
    Manifest {
        version: Version::default(),
        target: String::new(),
        size: content.len() as u64,
        sha256: hex(ring::digest::digest(&ring::digest::SHA256, content).as_ref()),
        min_version: Version::default(),
        percentage: 100,
        not_after_ms: 0,
    }
}

#[tokio::test]
async fn it_goes_on_where_a_connection_broke_and_where_an_earlier_run_ended() {
    let server = Server::start("206 Partial Content", content()).await;
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("sub/download");
    fs::create_dir(temp.path().join("sub")).unwrap();
    fs::write(&file, &content()[..12_345]).unwrap();
    download(&server.source, &manifest(&content()), &file).await.unwrap();
    assert!(fs::read(&file).unwrap() == content());
    assert_eq!(*server.asked.lock().unwrap(), [12_345, 42_345, 72_345], "nothing is fetched twice");
    download(&server.source, &manifest(&content()), &file).await.unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 3, "what is there is not fetched again");
}

#[tokio::test]
async fn what_is_not_the_file_of_the_manifest_is_removed() {
    let mut other = content();
    other[50_000] ^= 1;
    let server = Server::start("206 Partial Content", other).await;
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("download");
    let refused = download(&server.source, &manifest(&content()), &file).await;
    assert!(matches!(refused, Err(DownloadError::OtherFile(_))), "{refused:?}");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_asked_for_for_ever() {
    let server = Server::start("404 Not Found", Vec::new()).await;
    let temp = tempfile::tempdir().unwrap();
    let gone = download(&server.source, &manifest(&content()), &temp.path().join("download")).await;
    assert!(matches!(gone, Err(DownloadError::Gone(_))), "{gone:?}");
}

#[tokio::test]
async fn the_rest_of_a_larger_file_is_not_taken_for_a_part() {
    let server = Server::start("206 Partial Content", content()).await;
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("download");
    fs::write(&file, vec![7; 200_000]).unwrap();
    download(&server.source, &manifest(&content()), &file).await.unwrap();
    assert!(fs::read(&file).unwrap() == content());
}

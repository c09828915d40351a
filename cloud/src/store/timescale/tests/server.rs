//! The server of these tests: that of `AVL_TEST_DATABASE_URL`, whose user may make databases, or one that
//! `scripts/timescaledb.sh` starts for this run. Each test has a database of its own on it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::super::{DatabaseSettings, Wishes, migrate};

const READY: Duration = Duration::from_secs(60);
/// Data of a run; the process id follows.
const FOLDER: &str = "avl-cloud-tests-timescaledb-";

struct Server {
    url: String,
    authorities: Option<PathBuf>,
}

/// `None`, said loudly, where there is none.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| match std::env::var("AVL_TEST_DATABASE_URL") {
            Ok(url) => Some(Server { url, authorities: None }),
            Err(_) => start(),
        })
        .as_ref()
}

/// What signed the server's certificate, where the server is ours.
pub(super) fn authorities() -> Option<PathBuf> {
    server()?.authorities.clone()
}

fn start() -> Option<Server> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/timescaledb.sh");
    if !Command::new(&script).arg("install").status().is_ok_and(|status| status.success()) {
        let absent = "no TimescaleDB: './scripts/timescaledb.sh install' says why; AVL_TEST_DATABASE_URL names another";
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{absent}");
        eprintln!("SKIPPED: {absent}");
        return None;
    }
    sweep();
    let folder = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().to_string();
    let [key, certificate, authority] = tls_files(&folder);
    let mut run = Command::new(&script);
    run.arg("run").arg(folder.join("data")).arg(&port);
    // Nothing here outlives the machine.
    for option in
        ["fsync=off".to_owned(), "ssl=on".to_owned(), "max_connections=300".to_owned(), key, certificate]
    {
        run.args(["-c", &option]);
    }
    run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("log")).unwrap());
    // It is killed when the thread that started it ends: this one ends with the process.
    std::thread::spawn(move || {
        let mut child = run.spawn().unwrap();
        let _ = child.wait();
        loop {
            std::thread::park();
        }
    });
    let begun = Instant::now();
    while !Command::new(&script).args(["ready", &port]).status().unwrap().success() {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(begun.elapsed() < READY, "the database does not take connections: {log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(Server {
        url: format!("postgres://avl:avl@127.0.0.1:{port}/avl"),
        authorities: Some(authority.into()),
    })
}

/// Removes what earlier runs left: a process that ends takes its server with it, not its folder.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(FOLDER).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Two options of the server, and the file of its authority. Its certificate names `localhost` and no address.
fn tls_files(folder: &Path) -> [String; 3] {
    use std::os::unix::fs::PermissionsExt;
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let [key_file, leaf_file, authority_file] =
        ["key.pem", "cert.pem", "ca.pem"].map(|name| folder.join(name));
    fs::write(&key_file, key.serialize_pem()).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&leaf_file, leaf.pem()).unwrap();
    fs::write(&authority_file, authority.pem()).unwrap();
    [
        format!("ssl_key_file={}", key_file.display()),
        format!("ssl_cert_file={}", leaf_file.display()),
        authority_file.display().to_string(),
    ]
}

/// A database that goes with its test.
pub(crate) struct Database {
    server: &'static str,
    name: String,
}

impl Database {
    /// With the schema.
    pub(crate) fn new() -> Option<Self> {
        let database = Self::empty()?;
        let settings = database.settings();
        aside(async move { migrate(&settings, Wishes::default()).await.map(drop).unwrap() });
        Some(database)
    }

    pub(super) fn empty() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = &server()?.url;
        let name = format!("avl_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        execute(server, &format!("CREATE DATABASE {name}"));
        Some(Self { server, name })
    }

    pub(crate) fn url(&self) -> String {
        let (address, _) = self.server.rsplit_once('/').unwrap();
        format!("{address}/{}", self.name)
    }

    pub(crate) fn settings(&self) -> DatabaseSettings {
        DatabaseSettings { url: Some(self.url().into()), max_connections: 6, ..DatabaseSettings::default() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            execute(self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

fn execute(url: &'static str, sql: &str) {
    let sql = sql.to_owned();
    aside(async move {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&sql).await.unwrap();
    });
}

/// On a runtime of its own: the test that asks may be on one already.
fn aside(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || runtime().block_on(work)).join().unwrap();
}

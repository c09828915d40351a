//! Orders across processes and time, and releases from the key to the vehicle.

use std::fs;
use std::time::Duration;

use avl_shared::link::{command, to_vehicle};
use avl_shared::release::{Manifest, Version};

use super::releases::{ReleaseError, Releases, Terms, make_key, sign};
use super::*;
use crate::store::conformance;
use crate::store::sqlite::SqliteStore;

const HOUR: Duration = Duration::from_secs(3600);

async fn world() -> (tempfile::TempDir, Control, VehicleKey) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    conformance::commit(&store, conformance::one_batch(0, 10), 1).await.unwrap();
    (temp, Control::open(&path).unwrap(), conformance::van())
}

#[tokio::test]
async fn a_release_is_signed_added_and_ordered() {
    let (temp, control, van) = world().await;
    let folder = temp.path().join("releases");
    let (key, file) = (temp.path().join("release.key"), temp.path().join("avl-edge"));
    fs::write(&file, "program").unwrap();
    let public = make_key(&key).unwrap();
    assert!(matches!(make_key(&key), Err(ReleaseError::KeyExists { .. })));
    let version = Version { major: 1, minor: 2, patch: 3 };
    let terms = |target: &str| Terms {
        version,
        target: target.to_owned(),
        min_version: Version::default(),
        percentage: 100,
        not_after_ms: now_utc() + 1000,
    };
    let releases = Releases::open(&folder, &temp.path().join("store.sqlite")).unwrap();
    let signed = sign(&key, &file, terms("one")).unwrap();
    releases.add(&signed, &file, 0).await.unwrap();
    releases.add(&sign(&key, &file, terms("two")).unwrap(), &file, 1).await.unwrap();
    assert_eq!(releases.list().await.unwrap().len(), 2);
    fs::write(&file, "another").unwrap();
    assert!(matches!(releases.add(&signed, &file, 0).await, Err(ReleaseError::OtherFile { .. })));

    let update = |target: Option<&str>| Action::Update { version, target: target.map(str::to_owned) };
    let ambiguous = control.order(&van, update(None), HOUR).await.unwrap_err();
    assert!(ambiguous.to_string().contains("one, two"), "{ambiguous}");
    control.order(&van, update(Some("two")), HOUR).await.unwrap();
    control.serve_releases_at(4711);
    let due = control.connect(&van, 0).due().await.unwrap();
    let Some(to_vehicle::Message::Command(order)) = due.first() else { panic!("{due:?}") };
    let Some(command::Action::Update(update)) = &order.action else { panic!("{order:?}") };
    assert_eq!(update.port, 4711);
    let manifest = Manifest::open(&update.manifest, &update.signature, public).unwrap();
    assert_eq!(manifest.target, "two");
    assert_eq!(fs::read_to_string(folder.join(manifest.sha256)).unwrap(), "program");
}

#[tokio::test]
async fn a_release_in_the_database_is_ordered_and_served_from_a_byte_on() {
    use crate::fleet::database::testing::shared;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;
    let Some(shared) = shared() else { return };
    let temp = tempfile::tempdir().unwrap();
    let (key, file) = (temp.path().join("release.key"), temp.path().join("avl-edge"));
    let content: Vec<u8> = (0..700_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    fs::write(&file, &content).unwrap();
    make_key(&key).unwrap();
    let version = Version { major: 1, minor: 2, patch: 3 };
    let terms = Terms {
        version,
        target: "one".to_owned(),
        min_version: Version::default(),
        percentage: 100,
        not_after_ms: now_utc() + 1000,
    };
    let signed = sign(&key, &file, terms).unwrap();
    let releases = Releases::shared(&shared.database);
    let manifest = releases.add(&signed, &file, 0).await.unwrap();
    releases.add(&signed, &file, 1).await.unwrap();
    assert_eq!(releases.list().await.unwrap(), std::slice::from_ref(&manifest));
    let control = Control::shared(&shared.database);
    let van = conformance::van();
    control.visit(&van, None).due().await.unwrap();
    control.order(&van, Action::Update { version, target: None }, HOUR).await.unwrap();
    let missing = Action::Update { version: Version::default(), target: None };
    assert!(matches!(control.order(&van, missing, HOUR).await, Err(ControlError::Release(_))));

    let service = release_router(ReleaseFiles::Database(shared.database.clone()));
    let path = format!("{}{}", avl_shared::release::PATH, manifest.sha256);
    for (range, expected) in [
        ("bytes=0-", 0..700_000),
        ("bytes=262143-262145", 262_143..262_146),
        ("bytes=600000-", 600_000..700_000),
    ] {
        let request = Request::get(&path).header("range", range).body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(body == content[expected], "{range}");
    }
    let unknown = format!("{}{}", avl_shared::release::PATH, "ab".repeat(32));
    let request = Request::get(unknown).body(Body::empty()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 404);
}

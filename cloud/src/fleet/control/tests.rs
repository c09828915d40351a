//! Orders across processes and time, and releases from the key to the vehicle.

use std::fs;
use std::time::Duration;

use avl_shared::link::{command, to_vehicle};
use avl_shared::release::{Manifest, Version};
use tokio::sync::watch;

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

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_another_process_reaches_a_connected_vehicle() {
    let (temp, control, van) = world().await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(control.clone().run(stopped));
    let mut connection = control.connect(&van, 0);
    connection.changed().await;
    assert!(connection.due().await.unwrap().is_empty());
    let other = Control::open(&temp.path().join("store.sqlite")).unwrap();
    // The first look remembers where the orders end: give it until then, and one look more.
    let mut arrived = Vec::new();
    while arrived.is_empty() {
        other.order(&van, Action::Locate, HOUR).await.unwrap();
        let _ = tokio::time::timeout(2 * LOOK, connection.changed()).await;
        arrived = connection.due().await.unwrap();
    }
    assert!(matches!(arrived[0], to_vehicle::Message::Command(_)));
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_command_that_nobody_took_in_time_expires_and_is_not_sent() {
    let (_temp, control, van) = world().await;
    let given = control.order(&van, Action::Restart, Duration::ZERO).await.unwrap();
    assert!(control.connect(&van, 0).due().await.unwrap().is_empty());
    control.table().fresh(None, now_utc() + 1).await.unwrap();
    assert_eq!(control.command(&van, &given.id).await.unwrap().state, "expired");
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

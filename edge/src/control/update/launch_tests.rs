//! With shell scripts in the place of agents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::control::update::{Expectation, Trial};

const OWN: Version = Version { major: 1, minor: 0, patch: 0 };
const NEW: Version = Version { major: 2, minor: 0, patch: 0 };

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

struct Scene {
    temp: tempfile::TempDir,
    launcher: Launcher,
}

impl Scene {
    /// A package whose program ends with 7, and a version on trial in slot a.
    fn new(trial: Option<&str>, confirm_within: Duration) -> Self {
        let temp = tempfile::tempdir().unwrap();
        script(&temp.path().join("package"), "exit 7");
        let directory = Directory::new(&temp.path().join("slots"));
        let mut slots = directory.read();
        slots.try_out(Trial::new(Slot::A, NEW, "id", Expectation::default()));
        directory.write(&slots).unwrap();
        if let Some(text) = trial {
            script(&temp.path().join("slots/a/avl-edge"), text);
        }
        let program = temp.path().join("package");
        let launcher =
            Launcher { directory, confirm_within, own: OWN, program, arguments: vec!["run".into()] };
        Self { temp, launcher }
    }

    fn verdict(&self) -> String {
        let slots = self.launcher.directory.read();
        assert!(slots.trial().is_none());
        slots.finished().map(|finished| finished.detail.clone()).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_or_is_none_is_taken_back_at_once() {
    let scene = Scene::new(None, Duration::from_secs(60));
    assert_eq!(scene.launcher.run().await.unwrap(), 7);
    assert!(scene.verdict().contains("cannot be started"), "{}", scene.verdict());
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_and_taken_back() {
    let scene = Scene::new(Some("exec sleep 600"), Duration::from_millis(100));
    assert_eq!(scene.launcher.run().await.unwrap(), 7);
    assert!(scene.verdict().contains("did not prove itself"), "{}", scene.verdict());
}

#[tokio::test]
async fn a_program_that_proves_itself_stays_and_is_started_again_when_it_asks() {
    // It confirms itself as the agent does, by its file; asks for a restart; and then ends with 3.
    let confirm = r#"[ "$AVL_EDGE_LAUNCHED" = 2.0.0 ] || exit 9
[ "$1" = run ] || exit 8
here=$(dirname "$0")/..
if [ -e "$here/confirmed.json" ]; then mv "$here/confirmed.json" "$here/slots.json"; exit 75; fi
exit 3"#;
    let scene = Scene::new(Some(confirm), Duration::from_secs(60));
    let mut confirmed = scene.launcher.directory.read();
    confirmed.confirm();
    let text = serde_json::to_vec(&confirmed).unwrap();
    fs::write(scene.temp.path().join("slots/confirmed.json"), text).unwrap();
    assert_eq!(scene.launcher.run().await.unwrap(), 3);
    assert_eq!(scene.launcher.directory.read().running().version, Some(NEW));
}

#[tokio::test]
async fn a_version_in_use_that_cannot_be_started_any_more_gives_way_to_the_package() {
    let scene = Scene::new(None, Duration::from_secs(60));
    let mut slots = scene.launcher.directory.read();
    slots.confirm();
    scene.launcher.directory.write(&slots).unwrap();
    assert_eq!(scene.launcher.run().await.unwrap(), 7);
}

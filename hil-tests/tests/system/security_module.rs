//! A gateway whose key never leaves its security module: SoftHSM, by PKCS#11, in the place of a secure element.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use hil_tests::logs::{Log, URBAN};
use hil_tests::process::{Edge, Source, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};

use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "4711";

/// A token of its own.
struct Token {
    folder: PathBuf,
}

impl Token {
    /// `None`, said loudly, on a machine that has no SoftHSM; in CI that is a failure.
    fn new(folder: &Path) -> anyhow::Result<Option<Self>> {
        if !Path::new(MODULE).is_file() {
            let absent = "SoftHSM is absent: run scripts/setup.sh test";
            hil_tests::skip(absent);
            return Ok(None);
        }
        let token = Self { folder: folder.to_owned() };
        std::fs::create_dir_all(token.objects())?;
        std::fs::write(
            token.config(),
            format!("directories.tokendir = {}\nlog.level = ERROR\n", token.objects().display()),
        )?;
        let words = ["--init-token", "--free", "--label", "truck", "--so-pin", "0815", "--pin", PIN];
        let made = Command::new("softhsm2-util").args(words).env("SOFTHSM2_CONF", token.config()).output()?;
        anyhow::ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(Some(token))
    }

    fn config(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }

    fn objects(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// Keys in it, as SoftHSM keeps them: a file for each half.
    fn halves(&self) -> anyhow::Result<usize> {
        let mut count = 0;
        for token in std::fs::read_dir(self.objects())? {
            for file in std::fs::read_dir(token?.path())? {
                let name = file?.file_name();
                let name = name.to_string_lossy();
                count += usize::from(name.ends_with(".object") && name != "token.object");
            }
        }
        Ok(count)
    }
}

fn stored_key(edge: &Edge) -> anyhow::Result<String> {
    let folder = edge.config().parent().context("a folder")?;
    Ok(std::fs::read_to_string(folder.join("state/identity/key.pem"))?)
}

#[test]
fn a_key_in_a_security_module_enrols_connects_and_renews_and_is_never_on_flash() {
    play(async {
        let Some(path) = URBAN.path() else { return Ok(()) };
        let scratch = tempfile::tempdir()?;
        let Some(token) = Token::new(scratch.path())? else { return Ok(()) };
        let short = [("AVL_CLOUD__FLEET__CERTIFICATE_LIFETIME", "8s")];
        let mut stage = Stage::set_in("security-module", &path, &short).await?;
        let receiver =
            VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(200.0), None)?;
        receiver.halt().await;
        receiver.continue_after(None).await?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.stranger(&Source::virtual_serial(receiver.device()), &quic)?;
        let pin = scratch.path().join("pin");
        std::fs::write(&pin, format!("{PIN}\n"))?;
        edge.configure_also(&format!(
            "[identity.pkcs11]\nmodule = {MODULE:?}\ntoken = \"truck\"\npin_file = {:?}\n",
            pin.display().to_string()
        ))?;
        edge.set_environment("SOFTHSM2_CONF", &token.config().display().to_string());
        let url = stage.cloud.enrolment_url();
        let invitation = ["--fleet", FLEET, "--vehicle", VEHICLE, "--url", &url, "--text"];
        let invitation = stage.cloud.command("token", &invitation).await?;
        let state = edge.config().parent().context("a folder")?.join("state");
        std::fs::create_dir_all(&state)?;
        std::fs::write(state.join("enrol.txt"), invitation)?;
        edge.start()?;

        // A PIN that everybody can read is no secret.
        says(&edge, "can be read by other users").await?;
        std::fs::set_permissions(&pin, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        says(&edge, " connected held=").await?;
        let first = stored_key(&edge)?;
        anyhow::ensure!(first.starts_with("pkcs11:") && !first.contains("PRIVATE"), "{first}");
        eventually("a renewal", PATIENCE, || async { Ok((stored_key(&edge)? != first).then_some(())) })
            .await?;
        eventually("old keys destroyed", PATIENCE, || async { Ok((token.halves()? == 2).then_some(())) })
            .await?;

        // The module goes and comes back, as one on a loose connector does. Nothing but the connection waits for it.
        edge.kill().await?;
        let away = scratch.path().join("away");
        std::fs::rename(token.objects(), &away)?;
        std::fs::create_dir(token.objects())?;
        edge.start()?;
        says(&edge, "no token with the label").await?;
        edge.kill().await?;
        std::fs::remove_dir_all(token.objects())?;
        std::fs::rename(&away, token.objects())?;
        edge.start()?;
        receiver.go().await;
        tokio::time::timeout(PATIENCE, receiver.finished()).await?;
        stage.judge().await?;
        edge.stop().await
    });
}

async fn says(edge: &Edge, words: &str) -> anyhow::Result<()> {
    eventually(words, PATIENCE, || async { Ok(edge.said()?.contains(words).then_some(())) }).await
}

//! Invitations as installers hand them over: the text of a QR code, or a file on a stick or SD card.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use avl_shared::enrolment::{BadInvitation, BadToken, Invitation};
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;

/// An invitation is some 150 bytes; what is much longer is another file.
const MAX_BYTES: u64 = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    #[error("cannot read {path}: {cause}", path = path.display())]
    File { path: PathBuf, cause: io::Error },
    #[error(transparent)]
    Text(#[from] BadInvitation),
    #[error(
        "neither an invitation (avl-enrol:?url=…&token=…) nor JSON or TOML with the keys url and token ({0}): make it with 'avl-cloud token --text'"
    )]
    Form(String),
    #[error(transparent)]
    Token(#[from] BadToken),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    url: String,
    token: String,
}

/// Reads `avl-enrol:?url=…&token=…`, or the same two as JSON or TOML.
///
/// # Errors
/// When it is none of them.
pub fn parse(text: &str) -> Result<Invitation, InvitationError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with("avl-enrol:") {
        return Ok(text.parse()?);
    }
    let keys: Keys = if text.starts_with('{') {
        serde_json::from_str(text).map_err(|error| InvitationError::Form(error.to_string()))?
    } else {
        let toml = Figment::from(Toml::string(text));
        toml.extract().map_err(|error| InvitationError::Form(error.to_string()))?
    };
    Ok(Invitation { url: keys.url, token: keys.token.parse()? })
}

/// # Errors
/// When the file cannot be read, or holds no invitation.
pub fn read(path: &Path) -> Result<Invitation, InvitationError> {
    let failed = |cause| InvitationError::File { path: path.to_owned(), cause };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_BYTES {
        return Err(InvitationError::Form(format!("{length} bytes is too long")));
    }
    parse(&fs::read_to_string(path).map_err(failed)?)
}

/// The files that exist of those named; a `*` stands for one folder of any name.
#[must_use]
pub fn find(patterns: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in patterns {
        let mut folders = vec![PathBuf::new()];
        for part in pattern.components() {
            folders = if part.as_os_str() == "*" {
                let mut below: Vec<PathBuf> = folders
                    .iter()
                    .filter_map(|folder| fs::read_dir(folder).ok())
                    .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()))
                    .collect();
                below.sort();
                below
            } else {
                folders.into_iter().map(|folder| folder.join(part)).collect()
            };
        }
        found.extend(folders.into_iter().filter(|file| file.is_file()));
    }
    found
}

/// Removes a used invitation, its content overwritten first where the medium allows. The token in it is worthless by
/// then; this keeps the next start from asking again.
///
/// # Errors
/// When the medium cannot be written.
pub fn destroy(path: &Path) -> io::Result<()> {
    let length = fs::metadata(path)?.len().min(MAX_BYTES);
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(&vec![b' '; usize::try_from(length).unwrap_or(0)])?;
    file.sync_all()?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::enrolment::{EnrolmentToken, Fingerprint};

    fn invitation() -> Invitation {
        let token = EnrolmentToken { secret: [7; 16], ca: Fingerprint([1; 32]) };
        Invitation { url: "https://gateway.example.com:7443".to_owned(), token }
    }

    #[test]
    fn an_invitation_is_read_in_each_of_its_forms() {
        let Invitation { url, token } = invitation();
        for text in [
            invitation().to_string(),
            format!("\u{feff}{}\r\n", invitation()),
            format!(r#"{{"url": "{url}", "token": "{token}"}}"#),
            format!("# from the office\nurl = \"{url}\"\ntoken = \"{token}\"\n"),
        ] {
            assert_eq!(parse(&text).unwrap(), invitation(), "{text}");
        }
        for bad in ["", "hello", "{}", "url = 1", "avl-enrol:?x", "url = 'x'\ntoken = 'avl1.x'"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_any_stick_and_a_used_invitation_is_gone() {
        let media = tempfile::tempdir().unwrap();
        let stick = media.path().join("STICK");
        fs::create_dir_all(media.path().join("other")).unwrap();
        fs::create_dir(&stick).unwrap();
        let file = stick.join("avl-enrol.txt");
        fs::write(&file, invitation().to_string()).unwrap();
        let patterns = [media.path().join("nothing.txt"), media.path().join("*/avl-enrol.txt")];
        assert_eq!(find(&patterns), std::slice::from_ref(&file));
        assert_eq!(read(&file).unwrap(), invitation());
        destroy(&file).unwrap();
        assert_eq!(find(&patterns), Vec::<PathBuf>::new());
        assert!(read(&file).is_err());
    }

    #[test]
    fn another_file_of_that_name_is_not_swallowed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("avl-enrol.txt");
        fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
        assert!(matches!(read(&file), Err(InvitationError::Form(_))));
    }
}

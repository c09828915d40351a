//! Which of the serial devices is the receiver, where the configuration does not say.

use std::path::{Path, PathBuf};

pub(super) const BY_ID: &str = "/dev/serial/by-id";

/// Makers and words that stand in the USB names of GNSS receivers. Makers of cellular modems are left out on purpose:
/// their devices have ports for other things too.
const WORDS: [&str; 13] = [
    "gnss",
    "gps",
    "u-blox",
    "ublox",
    "garmin",
    "globalsat",
    "sirf",
    "septentrio",
    "novatel",
    "trimble",
    "mediatek",
    "unicore",
    "skytraq",
];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeviceError {
    #[error(
        "no serial device in {folder} looks like a GNSS receiver (there: {there}): plug it in, or name it in source.path"
    )]
    None { folder: String, there: String },
    #[error("{count} serial devices look like GNSS receivers ({there}): name one of them in source.path")]
    Several { count: usize, there: String },
}

/// The only device in `folder` whose name is that of a GNSS receiver.
///
/// # Errors
/// When there is none or more than one; the message lists what is there.
pub(super) fn only_receiver(folder: &Path) -> Result<PathBuf, DeviceError> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    let receivers: Vec<&String> = names.iter().filter(|name| looks_like_a_receiver(name)).collect();
    match receivers.as_slice() {
        [] => {
            let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            Err(DeviceError::None { folder: folder.display().to_string(), there })
        }
        [only] => Ok(folder.join(only)),
        several => {
            let there =
                several.iter().map(|name| folder.join(name).display().to_string()).collect::<Vec<_>>();
            Err(DeviceError::Several { count: several.len(), there: there.join(", ") })
        }
    }
}

fn looks_like_a_receiver(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UBLOX: &str = "usb-u-blox_AG_-_www.u-blox.com_u-blox_GNSS_receiver-if00";
    const MODEM: &str = "usb-Quectel_EG25-G-if02-port0";

    fn found(names: &[&str]) -> Result<PathBuf, DeviceError> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        only_receiver(folder.path()).map(|path| path.file_name().unwrap().into())
    }

    #[test]
    fn the_only_receiver_is_taken_whatever_else_is_plugged_in() {
        assert_eq!(found(&[UBLOX, MODEM, "usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"]), Ok(UBLOX.into()));
    }

    #[test]
    fn none_and_several_list_what_is_there() {
        let error = found(&[MODEM]).unwrap_err().to_string();
        assert!(error.contains(MODEM) && error.contains("source.path"), "{error}");
        assert!(found(&[]).unwrap_err().to_string().contains("nothing"));
        let error = found(&[UBLOX, "usb-Garmin_GPS-if00"]).unwrap_err().to_string();
        assert!(error.contains(UBLOX) && error.contains("Garmin") && error.contains('2'), "{error}");
        assert!(matches!(only_receiver(Path::new("/no/such/folder")), Err(DeviceError::None { .. })));
    }
}

//! Opening a serial device, and why it does not open.

use std::path::Path;

use tokio_serial::{ErrorKind, SerialPortBuilderExt, SerialStream};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("no device {device}: plug the receiver in, or set source.path to its name in /dev/serial/by-id")]
    NotFound { device: String },
    #[error(
        "no permission to open {device}: add the agent's user to the group that owns it (usermod -aG dialout USER) and start the agent again"
    )]
    Permission { device: String },
    #[error(
        "{device} is in use ({cause}): stop the other program (gpsd, ModemManager and a second agent are usual), or use gpsd as the source"
    )]
    Busy { device: String, cause: String },
    #[error(
        "{device} cannot be opened as a serial device ({cause}): check source.path and source.baud ({baud})"
    )]
    Unusable { device: String, cause: String, baud: u32 },
}

/// Raw mode, eight data bits, no parity, one stop bit, no flow control, nobody else: what the library sets by default.
pub(super) fn open(path: &Path, baud: u32) -> Result<SerialStream, OpenError> {
    tokio_serial::new(path.to_string_lossy(), baud)
        .open_native_async()
        .map_err(|error| explain(path, baud, &error))
}

pub(super) fn explain(path: &Path, baud: u32, error: &tokio_serial::Error) -> OpenError {
    let (device, cause) = (path.display().to_string(), error.description.clone());
    match error.kind {
        ErrorKind::Io(std::io::ErrorKind::NotFound) => OpenError::NotFound { device },
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => OpenError::Permission { device },
        // The library's word for a port that somebody holds exclusively.
        ErrorKind::NoDevice => OpenError::Busy { device, cause },
        _ => OpenError::Unusable { device, cause, baud },
    }
}

//! The `[health]` section of the gateway's configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The status socket's name in the state directory.
const SOCKET: &str = "avl-edge.sock";

/// `sun_path` of a unix address has 108 bytes, the terminating zero included (unix(7)).
const MAX_SOCKET_PATH_BYTES: usize = 107;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Where `status`, `doctor` and `monitor` find the running agent.
    pub socket: Option<PathBuf>,
    /// Where Prometheus may scrape; nowhere by default.
    pub metrics: Option<SocketAddr>,
}

impl HealthConfig {
    #[must_use]
    pub fn socket(&self, state_dir: &Path) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| state_dir.join(SOCKET))
    }

    /// # Errors
    /// Key, cause and cure, when a unix socket cannot have that path.
    pub fn validate(&self) -> Result<(), (&'static str, String, &'static str)> {
        match &self.socket {
            Some(path) if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES => Err((
                "health.socket",
                format!(
                    "{} bytes are too long for the path of a unix socket ({MAX_SOCKET_PATH_BYTES} at most)",
                    path.as_os_str().len()
                ),
                "give a shorter one, such as \"/run/avl-edge/avl-edge.sock\"",
            )),
            Some(path) if !path.is_absolute() => Err((
                "health.socket",
                format!("{} is relative: tools started elsewhere would not find it", path.display()),
                "give an absolute path",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_lies_in_the_state_directory_unless_told_otherwise() {
        let state = Path::new("/var/lib/avl-edge");
        assert_eq!(HealthConfig::default().socket(state), Path::new("/var/lib/avl-edge/avl-edge.sock"));
        let elsewhere = HealthConfig { socket: Some("/run/a.sock".into()), metrics: None };
        assert_eq!(elsewhere.socket(state), Path::new("/run/a.sock"));
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused_with_its_length() {
        let long = HealthConfig { socket: Some(format!("/{}", "x".repeat(120)).into()), metrics: None };
        let (key, cause, _) = long.validate().unwrap_err();
        assert_eq!(key, "health.socket");
        assert!(cause.contains("121 bytes"), "{cause}");
        let relative = HealthConfig { socket: Some("a.sock".into()), metrics: None };
        assert!(relative.validate().is_err());
    }
}

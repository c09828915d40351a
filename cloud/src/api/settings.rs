//! What an operator can set about the HTTP side: the `[api]` section of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A week: a wall map stays signed in over a weekend, a forgotten browser does not stay so for ever.
const SESSION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Longer than a lost cell takes to come back, shorter than a missed vehicle is noticed.
const VIEWER_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// Names (without port) that clients may call this server by, besides the loopback names. Needed behind a
    /// reverse proxy when the server itself listens on loopback; when it does not, empty means any name.
    pub hosts: Vec<String>,
    /// Where the outside reaches this server, such as `https://fleet.example.com`: sign-in links start with it.
    pub public_url: Option<String>,
    /// Mark the session cookie `Secure`; `None` means: when `public_url` is https.
    pub secure_cookie: Option<bool>,
    #[serde(with = "humantime_serde")]
    pub session_lifetime: Duration,
    /// Raster tiles for the map, such as `https://tiles.example.com/{z}/{x}/{y}.png`, or a path on this server.
    /// Without it the page uses the map that is built in, and no other server is asked for anything.
    pub tile_url: Option<String>,
    /// The attribution that the tile server's terms ask for, as plain text.
    pub tile_attribution: Option<String>,
    /// Open connections; further ones wait in the kernel's queue. Each costs at most some 100 KiB.
    pub max_connections: usize,
    /// Requests at work at one time; further ones are answered 503.
    pub max_requests: usize,
    /// CSV and GPX exports at one time; further ones are answered 503.
    pub max_exports: usize,
    /// Viewers of the live stream; further ones are answered 503.
    pub max_viewers: usize,
    /// A viewer that takes nothing of what it is sent for so long is disconnected.
    #[serde(with = "humantime_serde")]
    pub viewer_patience: Duration,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            public_url: None,
            secure_cookie: None,
            session_lifetime: SESSION_LIFETIME,
            tile_url: None,
            tile_attribution: None,
            max_connections: 1024,
            max_requests: 256,
            max_exports: 8,
            max_viewers: 256,
            viewer_patience: VIEWER_PATIENCE,
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "api.tile_url {0:?} is neither an http(s) URL nor a path: write it like https://tiles.example.com/{{z}}/{{x}}/{{y}}.png"
    )]
    BadTileUrl(String),
    #[error(
        "api.public_url {0:?} is not an http(s) origin: write it like https://fleet.example.com, without a path"
    )]
    BadPublicUrl(String),
    #[error("api.{0} must be at least 1")]
    ZeroLimit(&'static str),
}

impl ApiSettings {
    /// # Errors
    /// [`SettingsError`] names the setting, what is wrong with it and how to write it.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.tile_origin()?;
        if let Some(url) = &self.public_url {
            let rest = origin_of(url).and_then(|origin| url.strip_prefix(origin));
            if !matches!(rest, Some("" | "/")) {
                return Err(SettingsError::BadPublicUrl(url.clone()));
            }
        }
        let limits = [
            ("max_connections", self.max_connections),
            ("max_requests", self.max_requests),
            ("max_exports", self.max_exports),
            ("max_viewers", self.max_viewers),
        ];
        match limits.iter().find(|(_, limit)| *limit == 0) {
            Some((name, _)) => Err(SettingsError::ZeroLimit(name)),
            None => Ok(()),
        }
    }

    /// The other origin that the page may load tiles from; `None` when there is none.
    ///
    /// # Errors
    /// [`SettingsError::BadTileUrl`].
    pub(crate) fn tile_origin(&self) -> Result<Option<&str>, SettingsError> {
        match self.tile_url.as_deref() {
            None => Ok(None),
            Some(path) if path.starts_with('/') && !path.starts_with("//") => Ok(None),
            Some(url) => origin_of(url).map(Some).ok_or_else(|| SettingsError::BadTileUrl(url.to_owned())),
        }
    }

    pub(crate) fn cookie_is_secure(&self) -> bool {
        self.secure_cookie
            .unwrap_or_else(|| self.public_url.as_deref().is_some_and(|url| url.starts_with("https://")))
    }
}

/// `scheme://authority` at the front of an http(s) URL. The characters are checked because the origin becomes part
/// of the Content-Security-Policy header.
fn origin_of(url: &str) -> Option<&str> {
    let authority_at = ["https://", "http://"].iter().find(|scheme| url.starts_with(**scheme))?.len();
    let end = url[authority_at..].find('/').map_or(url.len(), |slash| authority_at + slash);
    let authority = &url[authority_at..end];
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    (!authority.is_empty() && authority.bytes().all(allowed)).then(|| &url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_tiles(url: &str) -> ApiSettings {
        ApiSettings { tile_url: Some(url.to_owned()), ..ApiSettings::default() }
    }

    #[test]
    fn the_tile_origin_is_cut_from_the_template() {
        let settings = with_tiles("https://tiles.example.com:8443/{z}/{x}/{y}.png");
        assert_eq!(settings.tile_origin(), Ok(Some("https://tiles.example.com:8443")));
        assert_eq!(with_tiles("/tiles/{z}/{x}/{y}.png").tile_origin(), Ok(None));
        assert_eq!(ApiSettings::default().tile_origin(), Ok(None));
    }

    #[test]
    fn a_tile_url_cannot_smuggle_words_into_the_security_policy() {
        for url in [
            "https://a.example; script-src *",
            "https://",
            "javascript:alert(1)",
            "//evil.example/{z}",
            "tiles/{z}",
        ] {
            assert_eq!(with_tiles(url).validate(), Err(SettingsError::BadTileUrl(url.to_owned())), "{url}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_and_https_makes_the_cookie_secure() {
        let settings = |url: &str| ApiSettings { public_url: Some(url.to_owned()), ..ApiSettings::default() };
        assert!(settings("https://fleet.example.com").validate().is_ok());
        assert!(settings("https://fleet.example.com/").cookie_is_secure());
        assert!(!settings("http://fleet.example.com").cookie_is_secure());
        assert!(matches!(
            settings("https://fleet.example.com/map").validate(),
            Err(SettingsError::BadPublicUrl(_))
        ));
        assert!(matches!(settings("fleet.example.com").validate(), Err(SettingsError::BadPublicUrl(_))));
    }

    #[test]
    fn a_limit_of_zero_is_refused() {
        let settings = ApiSettings { max_viewers: 0, ..ApiSettings::default() };
        assert_eq!(settings.validate(), Err(SettingsError::ZeroLimit("max_viewers")));
    }
}

//! Session cookies: an expiry, a random number, and a signature over both. The server keeps nothing a session, so
//! sessions survive its restart; deleting `session-key` in the data directory ends them all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::super::problem::ApiError;

/// Version byte, expiry (Unix seconds, big endian), random number.
const PAYLOAD_BYTES: usize = 1 + 8 + 16;
const VERSION: u8 = 1;

pub(crate) struct Sessions {
    key: hmac::Key,
    lifetime: Duration,
}

impl Sessions {
    pub(crate) fn new(secret: &str, lifetime: Duration) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), lifetime }
    }

    /// A new cookie value, and how long it is good for.
    pub(crate) fn issue(&self, now: SystemTime) -> Result<(String, Duration), ApiError> {
        let expires =
            now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(self.lifetime).as_secs();
        let mut payload = [0; PAYLOAD_BYTES];
        payload[0] = VERSION;
        payload[1..9].copy_from_slice(&expires.to_be_bytes());
        SystemRandom::new()
            .fill(&mut payload[9..])
            .map_err(|_| ApiError::Internal("the system gave no random numbers".into()))?;
        let signature = hmac::sign(&self.key, &payload);
        Ok((URL_SAFE_NO_PAD.encode([&payload[..], signature.as_ref()].concat()), self.lifetime))
    }

    /// When the session expires; `None` for a cookie that was not signed here or has expired.
    pub(crate) fn verify(&self, cookie: &str, now: SystemTime) -> Option<SystemTime> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (payload, signature) = bytes.split_at_checked(PAYLOAD_BYTES)?;
        hmac::verify(&self.key, payload, signature).ok()?;
        if payload[0] != VERSION {
            return None;
        }
        let seconds = u64::from_be_bytes(payload[1..9].try_into().ok()?);
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        (now < expires).then_some(expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn a_session_lasts_as_long_as_it_was_issued_for() {
        let sessions = Sessions::new("key", HOUR);
        let (cookie, lifetime) = sessions.issue(now()).unwrap();
        assert_eq!(lifetime, HOUR);
        assert_eq!(sessions.verify(&cookie, now()), Some(now() + HOUR));
        assert_eq!(sessions.verify(&cookie, now() + HOUR - Duration::from_secs(1)), Some(now() + HOUR));
        assert_eq!(sessions.verify(&cookie, now() + HOUR), None);
    }

    #[test]
    fn a_changed_or_foreign_cookie_is_refused() {
        let sessions = Sessions::new("key", HOUR);
        let (cookie, _) = sessions.issue(now()).unwrap();
        assert_eq!(Sessions::new("another key", HOUR).verify(&cookie, now()), None);
        let bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_eq!(sessions.verify(&URL_SAFE_NO_PAD.encode(&changed), now()), None, "byte {index}");
        }
        for junk in ["", "!", "AAAA", &cookie[..20]] {
            assert_eq!(sessions.verify(junk, now()), None, "{junk:?}");
        }
    }

    #[test]
    fn a_lifetime_beyond_all_time_does_not_overflow() {
        let sessions = Sessions::new("key", Duration::MAX);
        let (cookie, _) = sessions.issue(now()).unwrap();
        assert_eq!(sessions.verify(&cookie, now()), None);
    }
}

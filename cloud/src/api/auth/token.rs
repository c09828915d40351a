//! Checking the API token.

use ring::hmac;
use ring::rand::SystemRandom;

use super::secret::SecretError;

/// Holds a keyed hash of the token, not the token. Comparing hashes under a key that is made at start takes the
/// same time whatever is presented, its length included.
pub(crate) struct TokenCheck {
    key: hmac::Key,
    expected: hmac::Tag,
}

impl TokenCheck {
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub(crate) fn new(token: &str) -> Result<Self, SecretError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| SecretError::NoRandomness)?;
        let expected = hmac::sign(&key, token.as_bytes());
        Ok(Self { key, expected })
    }

    pub(crate) fn accepts(&self, presented: &str) -> bool {
        hmac::verify(&self.key, presented.as_bytes(), self.expected.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_token_and_nothing_near_it() {
        let check = TokenCheck::new("secret").unwrap();
        assert!(check.accepts("secret"));
        for wrong in ["", "secre", "secret ", "Secret", "secretsecret"] {
            assert!(!check.accepts(wrong), "{wrong:?}");
        }
    }
}

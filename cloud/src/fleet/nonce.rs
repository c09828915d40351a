//! Nonces without memory: whoever brings one back proves only that it is recent and ours.
//!
//! A nonce is its time of birth, random bytes, and a MAC over both under a key that lives as long as the process. One may
//! be used twice within its life; the request that it is for is then the same one, and what is answered is good
//! only for the holder of the new key.

use avl_shared::fix::UtcMillis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// Two handshakes and a signature on a poor link.
const LIFE_MS: i64 = 2 * 60 * 1000;
const BORN_BYTES: usize = 8;
const RANDOM_BYTES: usize = 16;

pub(super) struct Nonces(hmac::Key);

impl Nonces {
    pub(super) fn new() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }

    pub(super) fn make(&self, now: UtcMillis) -> String {
        let mut bytes = now.to_be_bytes().to_vec();
        bytes.extend_from_slice(&rand::random::<[u8; RANDOM_BYTES]>());
        let tag = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn is_fresh(&self, nonce: &str, now: UtcMillis) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((signed, tag)) = bytes.split_at_checked(BORN_BYTES + RANDOM_BYTES) else { return false };
        if hmac::verify(&self.0, signed, tag).is_err() {
            return false;
        }
        let born = signed.first_chunk().map_or(0, |born| UtcMillis::from_be_bytes(*born));
        (0..=LIFE_MS).contains(&now.saturating_sub(born))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_life_and_only_here() {
        let (ours, other) = (Nonces::new(), Nonces::new());
        let nonce = ours.make(1_000);
        assert!(ours.is_fresh(&nonce, 1_000) && ours.is_fresh(&nonce, 1_000 + LIFE_MS));
        assert!(!ours.is_fresh(&nonce, 1_001 + LIFE_MS) && !ours.is_fresh(&nonce, 999));
        assert!(!other.is_fresh(&nonce, 1_000));
        for forged in ["", "AAAA", "not base64!", &nonce[1..]] {
            assert!(!ours.is_fresh(forged, 1_000), "{forged}");
        }
    }
}

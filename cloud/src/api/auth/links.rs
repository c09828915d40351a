//! Sign-in links: a code that signs one browser in, once, within ten minutes. They live in memory only.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};

use super::secret::{Secret, SecretError};

/// Long enough to walk from a terminal to a browser, short enough that a link in a shell history is void.
pub(crate) const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The oldest link gives way: whoever holds the token can make another.
const MAX_OPEN: usize = 32;

#[derive(Default)]
pub(crate) struct SignInLinks {
    /// Oldest first. Hashes, so that looking one up tells nothing by the time it takes.
    open: Mutex<VecDeque<([u8; 32], Instant)>>,
}

impl SignInLinks {
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub(crate) fn issue(&self, now: Instant) -> Result<Secret, SecretError> {
        let code = Secret::generate()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() == MAX_OPEN {
            open.pop_front();
        }
        open.push_back((hash(code.as_str()), now));
        Ok(code)
    }

    /// True once for a code that was issued at most [`LIFETIME`] ago.
    pub(crate) fn redeem(&self, code: &str, now: Instant) -> bool {
        let hash = hash(code);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, issued)| now.saturating_duration_since(*issued) < LIFETIME);
        match open.iter().position(|(held, _)| *held == hash) {
            Some(index) => open.remove(index).is_some(),
            None => false,
        }
    }
}

fn hash(code: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, code.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once() {
        let (links, now) = (SignInLinks::default(), Instant::now());
        let code = links.issue(now).unwrap();
        assert!(!links.redeem("guess", now));
        assert!(links.redeem(code.as_str(), now));
        assert!(!links.redeem(code.as_str(), now));
    }

    #[test]
    fn a_link_works_for_ten_minutes() {
        let (links, now) = (SignInLinks::default(), Instant::now());
        let (early, late) = (links.issue(now).unwrap(), links.issue(now).unwrap());
        assert!(links.redeem(early.as_str(), now + LIFETIME - Duration::from_millis(1)));
        assert!(!links.redeem(late.as_str(), now + LIFETIME));
    }

    #[test]
    fn the_number_of_open_links_is_bounded() {
        let (links, now) = (SignInLinks::default(), Instant::now());
        let first = links.issue(now).unwrap();
        let second = links.issue(now).unwrap();
        for _ in 0..MAX_OPEN - 1 {
            links.issue(now).unwrap();
        }
        assert!(!links.redeem(first.as_str(), now), "the oldest gave way");
        assert!(links.redeem(second.as_str(), now));
    }
}

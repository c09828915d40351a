//! Page cursors: opaque to clients, so that what is in them may change.

use avl_shared::sequence::Epoch;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf, BufMut};

use super::problem::ApiError;
use crate::store::PositionCursor;

const VERSION: u8 = 1;
/// Version, time, epoch and sequence of the last row of the page, big endian.
const BYTES: usize = 1 + 8 + 4 + 8;

pub(crate) fn encode(cursor: PositionCursor) -> String {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.put_u8(VERSION);
    bytes.put_i64(cursor.time);
    bytes.put_u32(cursor.epoch.0);
    bytes.put_u64(cursor.sequence);
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Result<PositionCursor, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ApiError::BadCursor)?;
    let mut bytes = bytes.as_slice();
    if bytes.len() != BYTES || bytes.get_u8() != VERSION {
        return Err(ApiError::BadCursor);
    }
    Ok(PositionCursor { time: bytes.get_i64(), epoch: Epoch(bytes.get_u32()), sequence: bytes.get_u64() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_not_made_here_is_refused() {
        let good = encode(PositionCursor { time: 1, epoch: Epoch(2), sequence: 3 });
        for bad in ["", "x", "!!!", &good[1..], &format!("{good}AAAA"), &good.replacen("AQ", "Ag", 1)] {
            assert!(matches!(decode(bad), Err(ApiError::BadCursor)), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went(time: i64, epoch: u32, sequence: u64) {
            let cursor = PositionCursor { time, epoch: Epoch(epoch), sequence };
            prop_assert_eq!(decode(&encode(cursor)).unwrap(), cursor);
        }

        #[test]
        fn garbage_never_panics(text in ".{0,60}") {
            let _ = decode(&text);
        }
    }
}

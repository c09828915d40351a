//! The server's clock, where one is needed: everywhere else time is passed in.

use std::time::{SystemTime, UNIX_EPOCH};

use avl_shared::fix::UtcMillis;

#[must_use]
pub fn now_utc() -> UtcMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

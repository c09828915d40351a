//! What the server would do by itself under the Timescale licence, for those without: drop rows that are too old.
//!
//! What the ledger knows stays: a fix that was received and has been dropped is not missing.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::watch;

use crate::meters;
use crate::store::StoreError;
use crate::time::now_utc;

/// Chunks span a day; more often finds nothing.
const BETWEEN: Duration = Duration::from_secs(60 * 60);

/// Drops what is too old, now and then, until `stop` becomes true. Any number of processes may do this.
pub(super) async fn run(pool: Pool, mut stop: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(BETWEEN);
    loop {
        tokio::select! {
            _ = stop.wait_for(|&stop| stop) => return,
            _ = look.tick() => {}
        }
        match drop_old(&pool).await {
            Ok(0) => {}
            Ok(chunks) => {
                metrics::counter!(meters::STORE_CHUNKS_DROPPED).increment(chunks);
                tracing::info!(chunks, "positions older than the retention were dropped");
            }
            Err(error) => tracing::warn!(%error, "old positions cannot be dropped; trying again in an hour"),
        }
    }
}

/// Returns how many chunks went. None where the server has a policy of its own.
pub(super) async fn drop_old(pool: &Pool) -> Result<u64, StoreError> {
    let client = pool.get().await?;
    let row = client
        .query_one("SELECT retention, current_setting('timescaledb.license', true) FROM upkeep", &[])
        .await?;
    let (retention, licence): (Option<i64>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let Some(retention) = retention.filter(|_| licence.as_deref() != Some("timescale")) else { return Ok(0) };
    let older_than = now_utc().saturating_sub(retention);
    let dropped =
        client.query("SELECT drop_chunks('positions', older_than => $1::bigint)", &[&older_than]).await?;
    Ok(dropped.len() as u64)
}

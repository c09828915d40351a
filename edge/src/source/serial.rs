//! Reads a serial receiver.

use tokio::sync::mpsc;

use super::{Observed, SourceConfig, SourceError};
use crate::receiver::Counts;

#[allow(clippy::unused_async)]
pub(super) async fn run(
    _config: SourceConfig,
    _fixes: mpsc::Sender<Observed>,
) -> Result<Counts, SourceError> {
    Ok(Counts::default())
}

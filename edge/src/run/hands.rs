//! What control may ask of the policy.

use avl_shared::fix::UtcMillis;

use crate::control::{Hands, Located};
use crate::policy::{Handles, RecallError};

impl Hands for Handles {
    async fn locate(&self) -> Result<Option<Located>, String> {
        let reported = self.report_now.report().await.map_err(|error| error.to_string())?;
        let located = reported.newest.zip(reported.age_ms);
        Ok(located.map(|(fix, age_ms)| Located { fix, age_ms, below: reported.below }))
    }

    async fn recall(&self, from: UtcMillis, to: UtcMillis) -> Result<u64, String> {
        match self.history.recall(from, to.saturating_sub(1)).await {
            Ok(recalled) => Ok(recalled.fixes),
            // Nothing was withheld for recall.
            Err(RecallError::Off) => Ok(0),
            Err(error) => Err(error.to_string()),
        }
    }
}

//! The store of a large fleet: TimescaleDB.
//!
//! What it promises: a commit is one transaction, so that rows, ledger, newest positions and the place in the journal stand
//! or fall together, whatever breaks in between; a commit that is repeated changes nothing; an owner that was replaced is
//! refused. Duplicates are dropped by the sets of numbers before anything is written, so rows go in by plain binary `COPY`.
//!
//! Any number of processes may write, each its partitions of the journal. Tracks and the list of vehicles may be read from a
//! replica; the ledger and places in the journal never are, since a replica that lags would call fixes missing.

mod account;
mod connect;
mod control;
mod copy;
mod error;
mod merge;
mod migrate;
mod ranges;
mod read;
mod row;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;
mod write;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::sequence::{Epoch, RangeSet};
use deadpool_postgres::{Client, Pool};
use tokio::sync::watch;

use super::{
    Claim, Commit, Committed, EpochLedger, KeptEvent, Position, PositionQuery, Published, Refused, Store,
    StoreError, VehicleSummary,
};
use crate::journal::Partition;
use connect::Address;

pub use account::{FleetAccount, Latency, VehicleAccount, account};
pub(crate) use control::{check, control_pool, listen};
pub use error::OpenError;
pub use migrate::{Licence, Status, Wishes, migrate, status};
pub use settings::{DatabaseSettings, DatabaseSettingsError, DatabaseUrl};

/// The [`Store`] on TimescaleDB. Cloning shares its connections.
#[derive(Clone, Debug)]
pub struct TimescaleStore {
    primary: Pool,
    replica: Pool,
}

impl TimescaleStore {
    /// Checks that the database is there and has the schema of this release.
    ///
    /// # Errors
    /// [`OpenError`] says what is missing and what to do.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        let store = Self::unchecked(settings)?;
        let client = store.primary.get().await?;
        migrate::check(&client).await?;
        Ok(store)
    }

    /// Connects when it is first asked for something.
    fn unchecked(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        let url = settings.url.as_ref().ok_or(DatabaseSettingsError::Missing)?;
        let primary = Address::new(settings, url, "database.url")?.pool()?;
        let replica = match &settings.replica_url {
            Some(url) => Address::new(settings, url, "database.replica_url")?.pool()?,
            None => primary.clone(),
        };
        Ok(Self { primary, replica })
    }

    /// Does what the server does not do by itself, until `stop` becomes true.
    pub async fn keep(self, stop: watch::Receiver<bool>) {
        upkeep::run(self.primary, stop).await;
    }

    async fn primary(&self) -> Result<Client, StoreError> {
        Ok(self.primary.get().await?)
    }

    async fn replica(&self) -> Result<Client, StoreError> {
        Ok(self.replica.get().await?)
    }
}

#[async_trait]
impl Store for TimescaleStore {
    async fn claim(&self, partition: Partition, owner: &str) -> Result<Claim, StoreError> {
        write::claim(&self.primary().await?, partition, owner).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        write::commit(&mut self.primary().await?, &commit).await
    }

    async fn published(
        &self,
        partition: Partition,
        generation: u64,
        published: Published,
    ) -> Result<(), StoreError> {
        write::published(&self.primary().await?, partition, generation, published).await
    }

    async fn events(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptEvent>, StoreError> {
        read::events(&self.primary().await?, partition, after, limit).await
    }

    async fn refused(&self, limit: usize) -> Result<Vec<(Partition, Refused)>, StoreError> {
        read::refused(&self.primary().await?, limit).await
    }

    async fn next_offset(&self, partition: Partition) -> Result<u64, StoreError> {
        read::next_offset(&self.primary().await?, partition).await
    }

    async fn vehicles(&self) -> Result<Vec<VehicleSummary>, StoreError> {
        read::vehicles(&self.replica().await?).await
    }

    async fn vehicle(&self, vehicle: &VehicleKey) -> Result<Option<VehicleSummary>, StoreError> {
        read::vehicle(&self.primary().await?, vehicle).await
    }

    async fn positions(&self, query: PositionQuery) -> Result<Vec<Position>, StoreError> {
        read::positions(&self.replica().await?, &query).await
    }

    async fn ledgers(&self, vehicle: &VehicleKey) -> Result<Vec<EpochLedger>, StoreError> {
        read::ledgers(&self.primary().await?, vehicle).await
    }

    async fn received_within(
        &self,
        vehicle: &VehicleKey,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<(Epoch, RangeSet)>, StoreError> {
        read::received_within(&mut self.primary().await?, vehicle, from, to).await
    }

    async fn positions_at(
        &self,
        vehicle: &VehicleKey,
        epoch: Epoch,
        sequences: &[u64],
    ) -> Result<Vec<Position>, StoreError> {
        read::positions_at(&self.primary().await?, vehicle, epoch, sequences).await
    }
}

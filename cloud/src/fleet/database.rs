//! The fleet's state in PostgreSQL, shared by any number of processes.
//!
//! Connections of its own: rows that are written in bulk never keep an order or a revocation waiting.

use deadpool_postgres::{Client, Pool, PoolError};

use super::StorageError;
use super::bell::Bell;
use crate::store::StoreError;
use crate::store::timescale::{DatabaseSettings, OpenError, check, control_pool};

/// Statements are short and few.
const CONNECTIONS: usize = 4;

/// Cloning shares its connections.
#[derive(Clone, Debug)]
pub struct FleetDatabase {
    pool: Pool,
    settings: DatabaseSettings,
}

impl FleetDatabase {
    /// Checks that the database is there and has the schema of this release.
    ///
    /// # Errors
    /// [`OpenError`] says what is missing and what to do.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        let database = Self::unchecked(settings)?;
        check(&database.pool).await?;
        Ok(database)
    }

    /// Connects when it is first asked for something.
    fn unchecked(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        let settings = DatabaseSettings {
            max_connections: CONNECTIONS.min(settings.max_connections),
            ..settings.clone()
        };
        let pool = control_pool(&settings)?;
        Ok(Self { pool, settings })
    }

    pub(super) async fn client(&self) -> Result<Client, StorageError> {
        Ok(self.pool.get().await?)
    }

    /// Rings soon after another process has said that there is something new.
    pub(super) fn bell(&self) -> Bell {
        Bell::start(self.settings.clone())
    }
}

impl From<tokio_postgres::Error> for StorageError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(StoreError::from(error).to_string())
    }
}

impl From<PoolError> for StorageError {
    fn from(error: PoolError) -> Self {
        Self::Database(StoreError::from(error).to_string())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::FleetDatabase;
    use crate::store::timescale::tests::server::Database;

    /// A database of its own, with the schema.
    pub(in crate::fleet) struct Shared {
        pub(in crate::fleet) database: FleetDatabase,
        #[allow(dead_code)] // Goes with the test.
        server: Database,
    }

    /// `None` where there is no server.
    pub(in crate::fleet) fn shared() -> Option<Shared> {
        let server = Database::new()?;
        let database = FleetDatabase::unchecked(&server.settings()).unwrap();
        Some(Shared { database, server })
    }
}

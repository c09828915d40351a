//! Which store this process works on: TimescaleDB where one is named, the embedded one otherwise.

use std::sync::Arc;

use anyhow::ensure;

use super::parts::Stage;
use super::server::Server;
use crate::data_dir::DataDir;
use crate::journal::Partition;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::store::timescale::{OpenError, TimescaleStore, Wishes, migrate};

const NAME: &str = "the database";

/// What a process knows of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// It brings it up to date itself.
    Ours,
    /// `avl-cloud migrate` does; until then the process waits.
    Theirs,
}

/// The database, or the embedded store of a process that is alone.
pub(super) async fn open(server: &mut Server, data: &DataDir) -> anyhow::Result<Arc<dyn Store>> {
    if server.config.database.url.is_none() {
        return Ok(Arc::new(SqliteStore::open(&data.store())?));
    }
    let store = shared(server, Schema::Ours).await?;
    keep(server, &store);
    Ok(Arc::new(store))
}

/// The database, which processes share. Waits for it, and watches it from then on.
pub(super) async fn shared(server: &mut Server, schema: Schema) -> anyhow::Result<TimescaleStore> {
    let settings = server.config.database.clone();
    ensure!(
        settings.url.is_some(),
        "no database is named, which processes of this role share: give --database, or set database.url ('avl-cloud all' \
         needs none)"
    );
    let open = async || {
        if schema == Schema::Ours {
            let status = migrate(&settings, Wishes::default()).await?;
            for warning in &status.warnings {
                tracing::warn!("the database's {warning}");
            }
            tracing::info!(server = %status.server, schema = status.schema, "store in TimescaleDB");
        }
        TimescaleStore::open(&settings).await
    };
    let store = server.wait_for(NAME, OpenError::may_pass, open).await?;
    let asked = store.clone();
    server.watch(NAME, move || {
        let asked = asked.clone();
        async move { asked.next_offset(Partition::FIRST).await.map(drop).map_err(|error| error.to_string()) }
    });
    Ok(store)
}

/// What the server does not do by itself.
pub(super) fn keep(server: &mut Server, store: &TimescaleStore) {
    let store = store.clone();
    server.parts.start(Stage::Serve, "upkeep of the database", |stop| store.keep(stop));
}

//! What the fleet's state is kept in does not answer, and how async code works with SQLite.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::store::sqlite;

/// Why something of the fleet's state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error(transparent)]
    Open(#[from] sqlite::OpenError),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Database(String),
    #[error("the server is shutting down")]
    Stopped,
}

/// A connection to SQLite that async code may use. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Desk(Arc<Mutex<Connection>>);

impl Desk {
    pub(crate) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(connection)))
    }

    /// Off the async threads, one piece of work at a time; it goes on when the caller is dropped.
    pub(crate) async fn work<T, E>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let connection = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            // A panic rolled its transaction back, so the connection is as good as before.
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        task.await.map_err(|_| E::from(StorageError::Stopped))?
    }
}

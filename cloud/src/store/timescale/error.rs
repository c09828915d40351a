//! What the database said, in words that name cause and cure.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use super::settings::DatabaseSettingsError;
use crate::store::StoreError;

/// Why a database cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Settings(#[from] DatabaseSettingsError),
    #[error("database is unavailable: {0}")]
    Unavailable(String),
    #[error("the database refuses us: {0}; check user, password and name of the database")]
    Refused(String),
    #[error("the server is PostgreSQL {0}: 14 or newer is needed (17 is tested)")]
    TooOld(String),
    #[error(
        "the server has no TimescaleDB: install it there (Debian: postgresql-17-timescaledb; else \
         https://docs.timescale.com/self-hosted), set shared_preload_libraries = 'timescaledb' and restart it"
    )]
    NoTimescale,
    #[error(
        "TimescaleDB is on the server but cannot be switched on in this database: {0}. As its owner or a superuser run: \
         CREATE EXTENSION timescaledb"
    )]
    NotSwitchedOn(String),
    #[error("the schema cannot be brought up to date: {0}")]
    Migration(String),
    #[error(
        "its schema is number {found} and this release needs {known}: run 'avl-cloud migrate --database URL'"
    )]
    Outdated { found: i32, known: i32 },
    #[error("its schema is number {found} and this release knows up to {known}: run the newer avl-cloud")]
    Newer { found: i32, known: i32 },
}

impl OpenError {
    /// Whether it may be gone after a while: a server that is being started, or a schema that 'avl-cloud migrate' is about
    /// to make.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Outdated { .. })
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        use SqlState as S;
        let refusals = [S::INVALID_PASSWORD, S::INVALID_AUTHORIZATION_SPECIFICATION, S::INVALID_CATALOG_NAME];
        let refused = error.code().is_some_and(|code| refusals.contains(code));
        if refused { Self::Refused(said(&error)) } else { Self::Unavailable(said(&error)) }
    }
}

impl From<PoolError> for OpenError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            other => Self::Unavailable(StoreError::from(other).to_string()),
        }
    }
}

/// The driver's own words are "db error": what happened is in what lies below.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            let cure = match *db.code() {
                SqlState::UNDEFINED_TABLE => "; run 'avl-cloud migrate --database URL'",
                SqlState::INSUFFICIENT_PRIVILEGE => "; see the privileges in docs/cloud.md",
                SqlState::READ_ONLY_SQL_TRANSACTION => "; database.url must name the primary",
                _ => "",
            };
            let hint = db.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}{detail} [{}]{hint}{cure}", db.message(), db.code().code())
        }
        None => {
            let mut words = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                words = format!("{words}: {inner}");
                cause = inner.source();
            }
            words
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        use SqlState as S;
        let damaged = error.code().is_some_and(|code| [S::DATA_CORRUPTED, S::INDEX_CORRUPTED].contains(code));
        if damaged { Self::Corrupt(said(&error)) } else { Self::Unavailable(said(&error)) }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::Unavailable(
                "no connection to the database was free or could be made in time (database.max_connections, \
                 database.connect_timeout)"
                    .to_owned(),
            ),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

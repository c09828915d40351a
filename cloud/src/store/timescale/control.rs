//! Connections for what processes share beside rows and ledger.

use std::future::poll_fn;

use deadpool_postgres::Pool;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Connection};

use super::connect::{Address, Connected};
use super::error::OpenError;
use super::migrate;
use super::settings::{DatabaseSettings, DatabaseSettingsError};
use crate::store::StoreError;

fn address(settings: &DatabaseSettings) -> Result<Address, OpenError> {
    let url = settings.url.as_ref().ok_or(DatabaseSettingsError::Missing)?;
    Ok(Address::new(settings, url, "database.url")?)
}

/// A pool on the primary, which connects when it is first asked for something.
pub(crate) fn control_pool(settings: &DatabaseSettings) -> Result<Pool, OpenError> {
    address(settings)?.pool()
}

/// # Errors
/// When the database is not there, or has another schema than this release's.
pub(crate) async fn check(pool: &Pool) -> Result<(), OpenError> {
    let client =
        pool.get().await.map_err(|error| OpenError::Unavailable(StoreError::from(error).to_string()))?;
    migrate::check(&client).await
}

/// Calls `heard` for each notification on the channel, and once when it begins to listen; returns when the connection ends.
pub(crate) async fn listen(
    settings: &DatabaseSettings,
    channel: &'static str,
    heard: impl Fn(),
) -> Result<(), OpenError> {
    match address(settings)?.open().await? {
        Connected::Plain(client, connection) => follow(client, connection, channel, heard).await,
        Connected::Encrypted(client, connection) => follow(client, connection, channel, heard).await,
    }
}

async fn follow<S, T>(
    client: tokio_postgres::Client,
    mut connection: Box<Connection<S, T>>,
    channel: &'static str,
    heard: impl Fn(),
) -> Result<(), OpenError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // The name is ours; a statement that listens takes no parameters.
    let sql = format!("LISTEN {channel}");
    let listening = async {
        client.batch_execute(&sql).await?;
        heard();
        // As long as the connection is polled beside it.
        std::future::pending::<Result<(), tokio_postgres::Error>>().await
    };
    let hearing = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(_) = message? {
                heard();
            }
        }
        Ok::<(), tokio_postgres::Error>(())
    };
    tokio::select! {
        ended = listening => Ok(ended?),
        ended = hearing => Ok(ended?),
    }
}

//! The schema, and what the server's licence lets it do by itself.
//!
//! Both licences of TimescaleDB are served. With the Timescale licence (TSL) the server compresses and drops by policies
//! of its own; the Apache build, which distributions ship, has neither, and [`super::upkeep`] drops what is too old.

use std::fmt;
use std::time::Duration;

use refinery::embed_migrations;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::connect::Address;
use super::error::{OpenError, said};
use super::settings::{DatabaseSettings, DatabaseSettingsError};

embed_migrations!("src/store/timescale/migrations");

/// Multiranges came with it.
const OLDEST_SERVER: i32 = 140_000;
/// Held while the schema changes: who comes second finds it done. "avl" in ASCII.
const LOCK: i64 = 0x0061_766c;

/// What `migrate` is asked to change; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// How long rows are kept; zero: for ever.
    pub retention: Option<Duration>,
    /// How old rows are when they are compressed, where the licence has that.
    pub compress_after: Option<Duration>,
    /// The time that one chunk spans, from now on.
    pub chunk: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Licence {
    /// Hypertables; no compression, no policies.
    Apache,
    /// All of it.
    Timescale,
}

/// What a database is like, for people.
#[derive(Clone, Debug)]
pub struct Status {
    pub server: String,
    /// Version and licence; `None` until it is switched on in the database.
    pub timescale: Option<(String, Licence)>,
    pub schema: i32,
    pub known: i32,
    pub retention: Option<Duration>,
    pub compress_after: Option<Duration>,
    pub chunk: Option<Duration>,
    pub chunks: i64,
    /// Settings of the server that break a promise.
    pub warnings: Vec<String>,
}

/// The number of the newest schema that this release knows.
pub(super) fn known() -> i32 {
    let runner = migrations::runner();
    runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or_default()
}

/// Brings the schema up to date, and the server's own work in line with the wishes.
///
/// # Errors
/// [`OpenError`] says what is missing and what to do.
pub async fn migrate(settings: &DatabaseSettings, wishes: Wishes) -> Result<Status, OpenError> {
    let mut client = connect(settings).await?;
    check_server(&client).await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    switch_on(&client).await?;
    let (found, known) = (applied(&client).await?, known());
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    let report = migrations::runner().run_async(&mut client).await;
    report.map_err(|error| OpenError::Migration(deepest(&error)))?;
    arrange(&mut client, wishes).await?;
    look(&client).await
}

/// # Errors
/// When the server cannot be reached.
pub async fn status(settings: &DatabaseSettings) -> Result<Status, OpenError> {
    look(&connect(settings).await?).await
}

async fn connect(settings: &DatabaseSettings) -> Result<Client, OpenError> {
    let url = settings.url.as_ref().ok_or(DatabaseSettingsError::Missing)?;
    Address::new(settings, url, "database.url")?.connect().await
}

async fn check_server(client: &Client) -> Result<(), OpenError> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
            &[],
        )
        .await?;
    let (number, version): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    if number < OLDEST_SERVER { Err(OpenError::TooOld(version)) } else { Ok(()) }
}

async fn switch_on(client: &Client) -> Result<(), OpenError> {
    if version(client).await?.is_some() {
        return Ok(());
    }
    let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'";
    if client.query_opt(available, &[]).await?.is_none() {
        return Err(OpenError::NoTimescale);
    }
    let outcome = client.batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb").await;
    outcome.map_err(|error| OpenError::NotSwitchedOn(said(&error)))
}

async fn version(client: &Client) -> Result<Option<String>, OpenError> {
    let installed = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'";
    Ok(client.query_opt(installed, &[]).await?.map(|row| row.try_get(0)).transpose()?)
}

async fn licence(client: &Client) -> Result<Licence, OpenError> {
    let row = client.query_one("SELECT current_setting('timescaledb.license', true)", &[]).await?;
    let name: Option<String> = row.try_get(0)?;
    Ok(if name.as_deref() == Some("timescale") { Licence::Timescale } else { Licence::Apache })
}

/// The newest migration that was applied; 0 for an empty database.
pub(super) async fn applied(client: &Client) -> Result<i32, OpenError> {
    let newest = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
    match client.query_one(newest, &[]).await {
        Ok(row) => Ok(row.try_get(0)?),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// # Errors
/// When the schema is another than this release's.
pub(super) async fn check(client: &Client) -> Result<(), OpenError> {
    let (found, known) = (applied(client).await?, known());
    match found.cmp(&known) {
        std::cmp::Ordering::Less => Err(OpenError::Outdated { found, known }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(OpenError::Newer { found, known }),
    }
}

/// Writes the wishes down, and lets the server do by itself what its licence allows.
async fn arrange(client: &mut Client, wishes: Wishes) -> Result<(), OpenError> {
    let transaction = client.transaction().await?;
    if let Some(retention) = wishes.retention {
        let retention = Some(millis(retention)).filter(|&time| time > 0);
        transaction.execute("UPDATE upkeep SET retention = $1", &[&retention]).await?;
    }
    if let Some(age) = wishes.compress_after {
        transaction.execute("UPDATE upkeep SET compress_after = $1", &[&millis(age)]).await?;
    }
    if let Some(chunk) = wishes.chunk {
        transaction
            .execute("SELECT set_chunk_time_interval('positions', $1::bigint)", &[&millis(chunk)])
            .await?;
    }
    if licence(transaction.client()).await? == Licence::Timescale {
        transaction.batch_execute(include_str!("timescale_licence.sql")).await?;
    }
    Ok(transaction.commit().await?)
}

async fn look(client: &Client) -> Result<Status, OpenError> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version'), current_setting('fsync') = 'on', \
             current_setting('synchronous_commit') <> 'off'",
            &[],
        )
        .await?;
    let (fsync, synchronous): (bool, bool) = (row.try_get(1)?, row.try_get(2)?);
    let mut warnings = Vec::new();
    if !fsync {
        warnings.push("fsync is off: a power cut may take what was committed, or all of it".to_owned());
    }
    if !synchronous {
        warnings.push("synchronous_commit is off: a crash may take what was committed last".to_owned());
    }
    let timescale = match version(client).await? {
        Some(version) => Some((version, licence(client).await?)),
        None => None,
    };
    let mut status = Status {
        server: row.try_get(0)?,
        timescale,
        schema: applied(client).await?,
        known: known(),
        retention: None,
        compress_after: None,
        chunk: None,
        chunks: 0,
        warnings,
    };
    if status.schema > 0 {
        let row = client.query_one("SELECT retention, compress_after FROM upkeep", &[]).await?;
        status.retention = row.try_get::<_, Option<i64>>(0)?.map(duration);
        status.compress_after = row.try_get::<_, Option<i64>>(1)?.map(duration);
        let chunks = "SELECT d.integer_interval, h.num_chunks FROM timescaledb_information.hypertables h \
             JOIN timescaledb_information.dimensions d USING (hypertable_schema, hypertable_name) \
             WHERE h.hypertable_schema = current_schema AND h.hypertable_name = 'positions'";
        if let Some(row) = client.query_opt(chunks, &[]).await? {
            status.chunk = row.try_get::<_, Option<i64>>(0)?.map(duration);
            status.chunks = row.try_get(1)?;
        }
    }
    Ok(status)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

/// The migration crate wraps what the database said.
fn deepest(error: &refinery::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        if let Some(database) = inner.downcast_ref::<tokio_postgres::Error>() {
            return said(database);
        }
        cause = inner;
    }
    error.to_string()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "PostgreSQL   {}", self.server)?;
        match &self.timescale {
            Some((version, Licence::Apache)) => {
                writeln!(
                    f,
                    "TimescaleDB  {version}, Apache licence: no compression; old rows are dropped by avl-cloud"
                )?;
            }
            Some((version, Licence::Timescale)) => {
                writeln!(
                    f,
                    "TimescaleDB  {version}, Timescale licence: the server compresses and drops by itself"
                )?;
            }
            None => writeln!(f, "TimescaleDB  not switched on in this database")?,
        }
        let state = match self.schema.cmp(&self.known) {
            std::cmp::Ordering::Less => {
                format!(", this release needs {}: run 'avl-cloud migrate'", self.known)
            }
            std::cmp::Ordering::Equal => ", up to date".to_owned(),
            std::cmp::Ordering::Greater => format!(", this release knows up to {}", self.known),
        };
        writeln!(f, "schema       {}{state}", self.schema)?;
        if let Some(chunk) = self.chunk {
            writeln!(f, "chunks       {}, {} each", self.chunks, shown(chunk))?;
        }
        if self.schema > 0 {
            writeln!(f, "retention    {}", self.retention.map_or_else(|| "for ever".to_owned(), shown))?;
            let compressed = match (&self.timescale, self.compress_after) {
                (Some((_, Licence::Timescale)), Some(age)) => format!("after {}, by vehicle", shown(age)),
                _ => "not with this licence".to_owned(),
            };
            writeln!(f, "compression  {compressed}")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "WARNING      {warning}"))
    }
}

/// In days where they are whole: nobody counts in months of 30.44 days.
fn shown(time: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    if time.as_secs().is_multiple_of(DAY) && time.subsec_nanos() == 0 {
        return format!("{}d", time.as_secs() / DAY);
    }
    humantime_serde::re::humantime::format_duration(time).to_string()
}

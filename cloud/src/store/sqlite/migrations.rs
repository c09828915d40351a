//! The schema, as numbered SQL files, and how a database is brought up to the newest one.
//!
//! SQLite's `user_version` counts the files that have been applied. (The well-kept migration crates track the
//! newest rusqlite and compiler; forty lines do not.)

use rusqlite::{Connection, TransactionBehavior};

use super::SchemaError;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_fleet_positions_ledger.sql"),
    include_str!("migrations/002_control.sql"),
    include_str!("migrations/003_optional_columns.sql"),
    include_str!("migrations/004_partitions.sql"),
    include_str!("migrations/005_published.sql"),
    include_str!("migrations/006_events.sql"),
];

/// Applies what is missing, in one transaction. Two processes may do so at the same time: the second finds it done.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    let missing = MIGRATIONS.get(found..).ok_or(SchemaError::Newer { found, known: MIGRATIONS.len() })?;
    for sql in missing {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX))?;
    Ok(transaction.commit()?)
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0).map(|version: u32| version as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), MIGRATIONS.len());
    }

    #[test]
    fn a_database_of_a_newer_release_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(migrate(&mut connection), Err(SchemaError::Newer { found: 99, .. })));
    }
}

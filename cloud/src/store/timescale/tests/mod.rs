//! Against a real TimescaleDB.

pub(crate) mod server;

use std::time::Duration;

use deadpool_postgres::Client;

use super::*;
use crate::store::conformance;
use server::Database;

fn fresh() -> Option<(Database, TimescaleStore)> {
    let database = Database::new()?;
    let store = TimescaleStore::unchecked(&database.settings()).unwrap();
    Some((database, store))
}

conformance::suite!(fresh);

async fn client(store: &TimescaleStore) -> Client {
    store.primary.get().await.unwrap()
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Holds up, until it is rolled back, every commit between its rows and the newest positions.
async fn hold(holder: &mut Client) -> deadpool_postgres::Transaction<'_> {
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE states IN EXCLUSIVE MODE").await.unwrap();
    lock
}

const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Waits until a commit is held up; returns the process that serves it.
async fn held_up(watcher: &Client) -> i32 {
    let waiting =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    loop {
        match watcher.query_opt(waiting, &[]).await.unwrap() {
            Some(row) => return row.get(0),
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_in_a_transaction_leaves_nothing_and_the_retry_counts_once() {
    let Some((_database, store)) = fresh() else { return };
    let (mut holder, watcher) = (client(&store).await, client(&store).await);
    conformance::commit(&store, conformance::one_batch(0, 10), 1).await.unwrap();
    let claim = store.claim(Partition::FIRST, "one").await.unwrap();
    let commit = Commit {
        partition: Partition::FIRST,
        generation: claim.generation,
        changes: conformance::one_batch(5, 10).into(),
        refused: Vec::new(),
        next_offset: 2,
    };
    let lock = hold(&mut holder).await;
    let terminate = async {
        let pid = held_up(&watcher).await;
        watcher.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(store.commit(commit.clone()), terminate);
    lock.rollback().await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert_eq!(store.next_offset(Partition::FIRST).await.unwrap(), 1);
    assert_eq!(number(&watcher, "SELECT count(*) FROM positions").await, 10);
    let again = store.commit(commit).await.unwrap();
    assert_eq!((again.stored, again.duplicates), (5, 5));
    assert_eq!(number(&watcher, "SELECT count(*) FROM positions").await, 15);
}

#[tokio::test]
async fn a_statement_that_fails_leaves_nothing() {
    let Some((_database, store)) = fresh() else { return };
    let client = client(&store).await;
    client.batch_execute("ALTER TABLE states ADD CONSTRAINT small CHECK (sequence < 5)").await.unwrap();
    let refused = conformance::commit(&store, conformance::one_batch(0, 10), 1).await.unwrap_err();
    assert!(refused.to_string().contains("small"), "the database's own words: {refused}");
    let left = "SELECT (SELECT count(*) FROM positions) + (SELECT count(*) FROM vehicles) + (SELECT count(*) FROM epochs)";
    assert_eq!(number(&client, left).await, 0);
    assert_eq!(store.next_offset(Partition::FIRST).await.unwrap(), 0);
    client.batch_execute("ALTER TABLE states DROP CONSTRAINT small").await.unwrap();
    assert_eq!(conformance::commit(&store, conformance::one_batch(0, 10), 1).await.unwrap().stored, 10);
}

#[tokio::test]
async fn a_claim_waits_for_the_commit_at_work_and_goes_on_behind_it() {
    let Some((_database, store)) = fresh() else { return };
    let (mut holder, watcher) = (client(&store).await, client(&store).await);
    let old = store.claim(Partition::FIRST, "old").await.unwrap();
    let commit = Commit {
        partition: Partition::FIRST,
        generation: old.generation,
        changes: conformance::one_batch(0, 10).into(),
        refused: Vec::new(),
        next_offset: 7,
    };
    let lock = hold(&mut holder).await;
    let new_owner = store.clone();
    let claim = async {
        held_up(&watcher).await;
        let claim = tokio::spawn(async move { new_owner.claim(Partition::FIRST, "new").await });
        // It waits for the commit, and the commit for the lock.
        while number(&watcher, WAITING).await < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lock.rollback().await.unwrap();
        claim.await.unwrap()
    };
    let (committed, new) = tokio::join!(store.commit(commit.clone()), claim);
    assert_eq!(committed.unwrap().stored, 10);
    assert_eq!(new.unwrap().next_offset, 7);
    assert!(matches!(store.commit(commit).await, Err(StoreError::Fenced { .. })));
}

#[tokio::test]
async fn a_vehicle_of_any_century_is_stored() {
    let Some((_database, store)) = fresh() else { return };
    let times = [i64::MIN, -62_135_596_800_001, 0, 253_402_300_800_000, i64::MAX];
    let fixes = times.map(|time| avl_shared::fix::Fix { time: Some(time), ..conformance::fix(0) }).to_vec();
    let vehicle = conformance::van();
    let change = crate::store::Change::Fixes { vehicle, epoch: Epoch(1), first: 0, fixes, received_at: 0 };
    conformance::commit(&store, vec![change], 1).await.unwrap();
    let query =
        PositionQuery { vehicle: conformance::van(), from: i64::MIN, to: i64::MAX, after: None, limit: 9 };
    let rows = store.positions(query).await.unwrap();
    // `to` is exclusive, so the last moment of all is out of reach.
    assert_eq!(rows.iter().map(Position::time).collect::<Vec<_>>(), times[..4]);
    let shown = "SELECT count(*) FROM fixes WHERE time IS NOT NULL";
    assert_eq!(number(&client(&store).await, shown).await, 1);
}

#[tokio::test]
async fn retention_drops_old_rows_and_the_ledger_still_knows_them() {
    let Some((database, store)) = fresh() else { return };
    // These fixes are of 2023.
    conformance::commit(&store, conformance::one_batch(0, 10), 1).await.unwrap();
    assert_eq!(upkeep::drop_old(&store.primary).await.unwrap(), 0, "for ever, unless told otherwise");
    let wishes = Wishes { retention: Some(Duration::from_secs(86_400)), ..Wishes::default() };
    let status = migrate(&database.settings(), wishes).await.unwrap();
    assert_eq!(status.retention, wishes.retention);
    if status.timescale.as_ref().is_some_and(|(_, licence)| *licence == Licence::Timescale) {
        return; // The server's own policy does it.
    }
    assert_eq!(upkeep::drop_old(&store.primary).await.unwrap(), 1);
    let client = client(&store).await;
    assert_eq!(number(&client, "SELECT count(*) FROM positions").await, 0);
    let summary = store.vehicle(&conformance::van()).await.unwrap().unwrap();
    assert_eq!(
        (summary.fixes, summary.newest.unwrap().sequence),
        (10, 9),
        "where it was seen last stays known"
    );
    assert_eq!(number(&client, "SELECT received FROM completeness").await, 10);
    let again = conformance::commit(&store, conformance::one_batch(0, 10), 2).await.unwrap();
    assert_eq!((again.stored, again.duplicates), (0, 10));
}

#[tokio::test]
async fn people_see_units_that_they_know() {
    let Some((_database, store)) = fresh() else { return };
    conformance::commit(&store, conformance::one_batch(0, 1), 1).await.unwrap();
    let sql = "SELECT fleet || '/' || vehicle, time = to_timestamp(1700000000), latitude_degrees::float8, \
        longitude_degrees::float8 FROM fixes WHERE time_ms >= ms('2023-01-01')";
    let row = client(&store).await.query_one(sql, &[]).await.unwrap();
    let (latitude, longitude): (f64, f64) = (row.get(2), row.get(3));
    let fix = conformance::fix(0);
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("demo/van-1", true));
    assert!((latitude - fix.latitude_degrees().unwrap()).abs() < 1e-9);
    assert!((longitude - fix.longitude_degrees().unwrap()).abs() < 1e-9);
}

#[tokio::test]
async fn migrating_again_and_at_the_same_time_changes_nothing() {
    let Some((database, _store)) = fresh() else { return };
    let settings = database.settings();
    let (one, two) =
        tokio::join!(migrate(&settings, Wishes::default()), migrate(&settings, Wishes::default()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.schema, two.schema), (migrate::known(), migrate::known()));
    assert_eq!(one.chunk, Some(Duration::from_secs(86_400)));
    assert!(one.to_string().contains("up to date"), "{one}");
    TimescaleStore::open(&settings).await.unwrap();
}

#[tokio::test]
async fn a_schema_of_another_release_is_refused_with_the_cure() {
    let Some(database) = Database::empty() else { return };
    let settings = database.settings();
    let error = TimescaleStore::open(&settings).await.unwrap_err();
    assert!(error.to_string().contains("avl-cloud migrate"), "{error}");
    assert!(status(&settings).await.unwrap().to_string().contains("not switched on"));
    migrate(&settings, Wishes::default()).await.unwrap();
    let client = client(&TimescaleStore::unchecked(&settings).unwrap()).await;
    let newer = "INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '0')";
    client.batch_execute(newer).await.unwrap();
    assert!(matches!(TimescaleStore::open(&settings).await, Err(OpenError::Newer { found: 99, .. })));
    assert!(matches!(migrate(&settings, Wishes::default()).await, Err(OpenError::Newer { found: 99, .. })));
}

#[tokio::test]
async fn a_server_must_prove_its_name_by_an_authority_that_is_believed() {
    let Some((database, _store)) = fresh() else { return };
    let Some(authorities) = server::authorities() else { return };
    let with = |host: &str, authorities| {
        let mut settings = database.settings();
        let url = database.url().replace("127.0.0.1", host);
        settings.url = Some(format!("{url}?sslmode=verify-full").into());
        settings.authorities = authorities;
        settings
    };
    let store = TimescaleStore::open(&with("localhost", Some(authorities.clone()))).await.unwrap();
    let encrypted = "SELECT ssl::int::bigint FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(number(&client(&store).await, encrypted).await, 1);
    for (host, authorities) in [("127.0.0.1", Some(authorities)), ("localhost", None)] {
        let error = TimescaleStore::open(&with(host, authorities)).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{host}: {error}");
    }
}

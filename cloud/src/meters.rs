//! Every metric of this process outside the HTTP side, by name, with what it counts.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub const INGEST_CONNECTIONS: &str = "avl_ingest_connections";
pub const INGEST_HANDSHAKES: &str = "avl_ingest_handshakes_total";
pub const INGEST_CLOSED: &str = "avl_ingest_closed_total";
pub const INGEST_BATCHES: &str = "avl_ingest_batches_total";
pub const INGEST_FIXES: &str = "avl_ingest_fixes_total";
pub const INGEST_BYTES: &str = "avl_ingest_bytes_total";
pub const INGEST_REJECTS: &str = "avl_ingest_rejects_total";
pub const INGEST_SLOWED: &str = "avl_ingest_slowed_total";
pub const INGEST_ACKS: &str = "avl_ingest_acks_total";
pub const INGEST_DECLARED_LOST: &str = "avl_ingest_declared_lost_total";

pub const MQTT_CONNECTED: &str = "avl_mqtt_connected";
pub const MQTT_REFUSED: &str = "avl_mqtt_refused_total";

pub const JOURNAL_ENTRIES: &str = "avl_journal_entries_total";
pub const JOURNAL_BYTES: &str = "avl_journal_bytes_total";
pub const JOURNAL_ERRORS: &str = "avl_journal_errors_total";
pub const JOURNAL_COMMIT_SECONDS: &str = "avl_journal_commit_seconds";

pub const KAFKA_RENEWED: &str = "avl_kafka_producers_renewed_total";

pub const LIVE_BEHIND: &str = "avl_live_behind_seconds";
pub const LIVE_REFUSED: &str = "avl_live_refused_total";

pub const PUBLISHED: &str = "avl_publish_messages_total";
pub const PUBLISH_LAG: &str = "avl_publish_lag_entries";
pub const PUBLISH_ERRORS: &str = "avl_publish_errors_total";

pub const PROCESS_STORED: &str = "avl_process_stored_total";
pub const PROCESS_DUPLICATES: &str = "avl_process_duplicates_total";
pub const PROCESS_REFUSED: &str = "avl_process_refused_total";
pub const PROCESS_LAG: &str = "avl_process_lag_entries";
pub const PROCESS_ERRORS: &str = "avl_process_errors_total";

pub const STORE_CHUNKS_DROPPED: &str = "avl_store_chunks_dropped_total";

/// By what is needed: `name`.
pub const HEALTH_ANSWERS: &str = "avl_health_answers";

pub const ENROLMENTS: &str = "avl_fleet_enrolments_total";
pub const RENEWALS: &str = "avl_fleet_renewals_total";

/// Gives the recorder the units and help texts, and begins every counter at 0, with each label that an alert looks at: a
/// series that begins at 1 does not increase, and no alert would see it. Call it once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(INGEST_CONNECTIONS, "Vehicles connected by QUIC");
    counter_by(
        INGEST_HANDSHAKES,
        "Attempts to connect, by outcome",
        "outcome",
        &["accepted", "retried", "refused", "failed"],
    );
    describe_counter!(INGEST_CLOSED, "Connections that ended, by reason");
    counter(INGEST_BATCHES, "Batches verified and handed to the journal");
    counter(INGEST_FIXES, "Fixes in these batches, duplicates included");
    counter(INGEST_BYTES, "Bytes of these batches");
    counter(INGEST_REJECTS, "Batches refused for good");
    counter_by(
        INGEST_SLOWED,
        "Reads put off because a vehicle or its fleet sends too fast",
        "limit",
        &["vehicle", "fleet"],
    );
    counter(INGEST_ACKS, "Acknowledgements sent");
    counter(INGEST_DECLARED_LOST, "Numbers that vehicles declared lost");
    describe_gauge!(MQTT_CONNECTED, "1 while vehicles' messages come from the MQTT broker");
    counter_by(
        MQTT_REFUSED,
        "MQTT messages that can never be taken, by reason: released from the broker and gone",
        "reason",
        &["topic", "malformed", "protocol", "revoked", "overload"],
    );
    counter(JOURNAL_ENTRIES, "Entries made durable");
    counter(JOURNAL_BYTES, "Bytes of these entries");
    counter(JOURNAL_ERRORS, "Group commits that failed");
    describe_histogram!(JOURNAL_COMMIT_SECONDS, Unit::Seconds, "One group commit, fsync included");
    counter(KAFKA_RENEWED, "Producers that were made anew because Kafka's client had given up on them");
    describe_gauge!(
        LIVE_BEHIND,
        Unit::Seconds,
        "Age of the newest position read from Kafka, since the cloud received it"
    );
    counter(LIVE_REFUSED, "Messages among the positions that are none");
    describe_counter!(PUBLISHED, "Messages published, by topic; repetitions included");
    describe_gauge!(PUBLISH_LAG, "Journal entries processed and not published yet");
    counter(PUBLISH_ERRORS, "Attempts to publish that failed and are tried again");
    counter(PROCESS_STORED, "Fixes stored, each once");
    counter(PROCESS_DUPLICATES, "Fixes dropped because the ledger had them");
    counter(PROCESS_REFUSED, "Journal entries that cannot be decoded; they stay in the journal");
    describe_gauge!(PROCESS_LAG, "Journal entries not processed yet");
    counter(PROCESS_ERRORS, "Commits or reads that failed and are tried again");
    counter(STORE_CHUNKS_DROPPED, "Chunks of positions that were older than the retention");
    describe_gauge!(HEALTH_ANSWERS, "1 while what this process needs answers, by name");
    describe_counter!(ENROLMENTS, "Enrolment requests, by outcome");
    counter_by(
        RENEWALS,
        "Requests to renew a certificate, by outcome",
        "outcome",
        &["renewed", "malformed", "nonce", "foreign", "too_old", "revoked", "proof", "failed"],
    );
}

fn counter(name: &'static str, description: &'static str) {
    describe_counter!(name, description);
    metrics::counter!(name).increment(0);
}

fn counter_by(name: &'static str, description: &'static str, label: &'static str, values: &[&'static str]) {
    describe_counter!(name, description);
    for &value in values {
        metrics::counter!(name, label => value).increment(0);
    }
}

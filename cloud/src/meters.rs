//! Every metric of this process outside the HTTP side, by name, with what it counts.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub const INGEST_CONNECTIONS: &str = "avl_ingest_connections";
pub const INGEST_HANDSHAKES: &str = "avl_ingest_handshakes_total";
pub const INGEST_CLOSED: &str = "avl_ingest_closed_total";
pub const INGEST_BATCHES: &str = "avl_ingest_batches_total";
pub const INGEST_FIXES: &str = "avl_ingest_fixes_total";
pub const INGEST_BYTES: &str = "avl_ingest_bytes_total";
pub const INGEST_REJECTS: &str = "avl_ingest_rejects_total";
pub const INGEST_ACKS: &str = "avl_ingest_acks_total";
pub const INGEST_DECLARED_LOST: &str = "avl_ingest_declared_lost_total";

pub const MQTT_CONNECTED: &str = "avl_mqtt_connected";
pub const MQTT_REFUSED: &str = "avl_mqtt_refused_total";

pub const JOURNAL_ENTRIES: &str = "avl_journal_entries_total";
pub const JOURNAL_BYTES: &str = "avl_journal_bytes_total";
pub const JOURNAL_ERRORS: &str = "avl_journal_errors_total";
pub const JOURNAL_COMMIT_SECONDS: &str = "avl_journal_commit_seconds";

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

/// Gives the recorder the units and help texts. Call it once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(INGEST_CONNECTIONS, "Vehicles connected by QUIC");
    describe_counter!(
        INGEST_HANDSHAKES,
        "Attempts to connect, by outcome: accepted, retried, refused, failed"
    );
    describe_counter!(INGEST_CLOSED, "Connections that ended, by reason");
    describe_counter!(INGEST_BATCHES, "Batches verified and handed to the journal");
    describe_counter!(INGEST_FIXES, "Fixes in these batches, duplicates included");
    describe_counter!(INGEST_BYTES, Unit::Bytes, "Bytes of these batches");
    describe_counter!(INGEST_REJECTS, "Batches refused for good");
    describe_counter!(INGEST_ACKS, "Acknowledgements sent");
    describe_counter!(INGEST_DECLARED_LOST, "Numbers that vehicles declared lost");
    describe_gauge!(MQTT_CONNECTED, "1 while vehicles' messages come from the MQTT broker");
    describe_counter!(
        MQTT_REFUSED,
        "MQTT messages that can never be taken, by reason: released from the broker and gone"
    );
    describe_counter!(JOURNAL_ENTRIES, "Entries made durable");
    describe_counter!(JOURNAL_BYTES, Unit::Bytes, "Bytes of these entries");
    describe_counter!(JOURNAL_ERRORS, "Group commits that failed");
    describe_histogram!(JOURNAL_COMMIT_SECONDS, Unit::Seconds, "One group commit, fsync included");
    describe_counter!(PROCESS_STORED, "Fixes stored, each once");
    describe_counter!(PROCESS_DUPLICATES, "Fixes dropped because the ledger had them");
    describe_counter!(PROCESS_REFUSED, "Journal entries that cannot be decoded; they stay in the journal");
    describe_gauge!(PROCESS_LAG, "Journal entries not processed yet");
    describe_counter!(PROCESS_ERRORS, "Commits or reads that failed and are tried again");
    describe_counter!(STORE_CHUNKS_DROPPED, "Chunks of positions that were older than the retention");
    describe_gauge!(HEALTH_ANSWERS, "1 while what this process needs answers, by name");
    describe_counter!(ENROLMENTS, "Enrolment requests, by outcome");
    describe_counter!(RENEWALS, "Requests to renew a certificate, by outcome");
}

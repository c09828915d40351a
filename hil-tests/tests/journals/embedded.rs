use std::sync::Arc;

use avl_cloud::journal::sqlite::SqliteJournal;

use crate::conformance::{Opened, SUITE};

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_journal_does_what_a_journal_must() {
    for (name, behaviour) in SUITE {
        println!("{name}");
        let temp = tempfile::tempdir().unwrap();
        let journal = Arc::new(SqliteJournal::open(&temp.path().join("journal.sqlite")).unwrap());
        let discarding = Arc::clone(&journal);
        let opened = Opened {
            subscription: Box::new(journal.subscribe()),
            archive: journal.clone(),
            journal,
            discard_before: Box::new(move |place| {
                let journal = Arc::clone(&discarding);
                Box::pin(async move {
                    journal.discard_before(place.offset, usize::MAX).await.unwrap();
                })
            }),
        };
        behaviour(opened).await;
    }
}

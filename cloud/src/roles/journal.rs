//! Which journal this process works on: Kafka where one is named, the embedded one otherwise.

use std::sync::Arc;

use anyhow::ensure;

use crate::data_dir::DataDir;
use crate::journal::kafka::KafkaSettings;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Archive, Journal, Subscription};

/// A journal, from each of its sides.
pub struct Opened {
    pub journal: Arc<dyn Journal>,
    pub archive: Arc<dyn Archive>,
    pub subscription: Box<dyn Subscription>,
}

/// # Errors
/// When it cannot be opened, or the folder's rows come from another journal.
pub async fn open(settings: &KafkaSettings, data: &DataDir) -> anyhow::Result<Opened> {
    if settings.bootstrap.is_none() {
        let journal = Arc::new(SqliteJournal::open(&data.journal())?);
        let subscription = Box::new(journal.subscribe());
        return Ok(Opened { archive: journal.clone(), journal, subscription });
    }
    let path = data.journal();
    ensure!(
        !path.exists(),
        "the rows in {} come from the embedded journal ({}), and entries of Kafka would be taken for done: use a new \
         --data-dir with --kafka, or start without --kafka",
        data.path().display(),
        path.display()
    );
    on_kafka(settings).await
}

/// For those who only look.
///
/// # Errors
/// When it cannot be opened.
pub fn archive(settings: &KafkaSettings, data: &DataDir) -> anyhow::Result<Arc<dyn Archive>> {
    match &settings.bootstrap {
        None => Ok(Arc::new(SqliteJournal::open_read_only(&data.journal())?)),
        Some(_) => kafka_archive(settings),
    }
}

#[cfg(feature = "kafka")]
async fn on_kafka(settings: &KafkaSettings) -> anyhow::Result<Opened> {
    use crate::journal::kafka::{KafkaJournal, prepare, subscribe};
    prepare(settings).await?;
    Ok(Opened {
        journal: Arc::new(KafkaJournal::open(settings)?),
        archive: kafka_archive(settings)?,
        subscription: subscribe(settings)?,
    })
}

#[cfg(feature = "kafka")]
// The other build's can fail.
#[allow(clippy::unnecessary_wraps)]
fn kafka_archive(settings: &KafkaSettings) -> anyhow::Result<Arc<dyn Archive>> {
    Ok(Arc::new(crate::journal::kafka::KafkaArchive::new(settings.clone())))
}

#[cfg(not(feature = "kafka"))]
const WITHOUT: &str = "this avl-cloud was built without Kafka: build it with its default features, or leave kafka.bootstrap out";

#[cfg(not(feature = "kafka"))]
#[allow(clippy::unused_async)]
async fn on_kafka(_: &KafkaSettings) -> anyhow::Result<Opened> {
    anyhow::bail!(WITHOUT)
}

#[cfg(not(feature = "kafka"))]
fn kafka_archive(_: &KafkaSettings) -> anyhow::Result<Arc<dyn Archive>> {
    anyhow::bail!(WITHOUT)
}

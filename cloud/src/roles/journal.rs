//! Which journal this process works on: Kafka where one is named, the embedded one otherwise.

use std::sync::Arc;

use anyhow::ensure;

use super::server::Server;
use crate::data_dir::DataDir;
use crate::journal::kafka::KafkaSettings;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Archive, Journal, Subscription};
use crate::live::LiveFeed;
use crate::outlet::Outlet;
use crate::store::Store;

/// A journal that is there; its sides are opened as they are needed.
pub(super) enum Source {
    Embedded(Arc<SqliteJournal>),
    Kafka(KafkaSettings),
}

impl Source {
    /// Waits for the brokers.
    pub(super) async fn open(server: &mut Server, data: &DataDir) -> anyhow::Result<Self> {
        if server.config.kafka.bootstrap.is_none() {
            return Ok(Self::Embedded(Arc::new(SqliteJournal::open(&data.journal())?)));
        }
        let path = data.journal();
        ensure!(
            !path.exists(),
            "the rows in {} come from the embedded journal ({}), and entries of Kafka would be taken for done: use a new \
             --data-dir with --kafka, or start without --kafka",
            data.path().display(),
            path.display()
        );
        Self::shared(server).await
    }

    /// Kafka, which processes share. Waits for the brokers, and watches them from then on.
    pub(super) async fn shared(server: &mut Server) -> anyhow::Result<Self> {
        let settings = server.config.kafka.clone();
        ensure!(
            settings.bootstrap.is_some(),
            "no Kafka is named, which processes of this role share: give --kafka HOST:PORT, or set kafka.bootstrap ('avl-cloud \
             all' needs none)"
        );
        kafka::prepare(server, &settings).await?;
        Ok(Self::Kafka(settings))
    }

    pub(super) fn sink(&self) -> anyhow::Result<Arc<dyn Journal>> {
        match self {
            Self::Embedded(journal) => Ok(Arc::clone(journal) as Arc<dyn Journal>),
            Self::Kafka(settings) => kafka::sink(settings),
        }
    }

    pub(super) fn archive(&self) -> anyhow::Result<Arc<dyn Archive>> {
        match self {
            Self::Embedded(journal) => Ok(Arc::clone(journal) as Arc<dyn Archive>),
            Self::Kafka(settings) => kafka::archive(settings),
        }
    }

    pub(super) fn subscription(&self) -> anyhow::Result<Box<dyn Subscription>> {
        match self {
            Self::Embedded(journal) => Ok(Box::new(journal.subscribe())),
            Self::Kafka(settings) => kafka::subscription(settings),
        }
    }

    /// Where what is processed is published; the embedded journal has none.
    pub(super) fn outlet(&self) -> anyhow::Result<Option<Arc<dyn Outlet>>> {
        match self {
            Self::Embedded(_) => Ok(None),
            Self::Kafka(settings) => kafka::outlet(settings).map(Some),
        }
    }
}

/// The live feed of a process that does not process: what others publish. Empty where no Kafka is named.
pub(super) fn follow_positions(server: &mut Server, store: Arc<dyn Store>) -> anyhow::Result<LiveFeed> {
    let feed = LiveFeed::default();
    let settings = server.config.kafka.clone();
    if settings.bootstrap.is_some() && settings.positions {
        kafka::follow_positions(server, settings, store, feed.clone())?;
    } else {
        tracing::warn!("no Kafka with positions is named: the live map stands still between two loads");
    }
    Ok(feed)
}

/// For those who only look.
///
/// # Errors
/// When it cannot be opened.
pub fn archive(settings: &KafkaSettings, data: &DataDir) -> anyhow::Result<Arc<dyn Archive>> {
    match &settings.bootstrap {
        None => Ok(Arc::new(SqliteJournal::open_read_only(&data.journal())?)),
        Some(_) => kafka::archive(settings),
    }
}

/// Kafka's, for those who only look.
///
/// # Errors
/// When it cannot be opened.
pub fn kafka_archive(settings: &KafkaSettings) -> anyhow::Result<Arc<dyn Archive>> {
    kafka::archive(settings)
}

/// Kafka's, for a command that appends. Its topics are made when they are missing.
///
/// # Errors
/// When no broker answers.
pub async fn kafka_sink(settings: &KafkaSettings) -> anyhow::Result<Arc<dyn Journal>> {
    kafka::make_topics(settings).await?;
    kafka::sink(settings)
}

#[cfg(feature = "kafka")]
// The other build's can fail where these cannot.
#[allow(clippy::unnecessary_wraps)]
mod kafka {
    use std::sync::Arc;

    use super::super::parts::Stage;
    use super::{LiveFeed, Outlet, Server, Store};
    use crate::journal::kafka::{
        KafkaArchive, KafkaJournal, KafkaOutlet, KafkaProbe, KafkaSettings, SetupError,
        prepare as prepare_topics, subscribe,
    };
    use crate::journal::{Archive, Journal, Subscription};

    const NAME: &str = "Kafka";

    pub(super) async fn prepare(server: &mut Server, settings: &KafkaSettings) -> anyhow::Result<()> {
        let probe = KafkaProbe::new(settings)?;
        server.wait_for(NAME, SetupError::may_pass, async || prepare_topics(settings).await).await?;
        server.watch(NAME, move || {
            let probe = probe.clone();
            async move { probe.look().await }
        });
        Ok(())
    }

    pub(super) async fn make_topics(settings: &KafkaSettings) -> anyhow::Result<()> {
        Ok(prepare_topics(settings).await?)
    }

    pub(super) fn sink(settings: &KafkaSettings) -> anyhow::Result<Arc<dyn Journal>> {
        Ok(Arc::new(KafkaJournal::open(settings)?))
    }

    pub(super) fn archive(settings: &KafkaSettings) -> anyhow::Result<Arc<dyn Archive>> {
        Ok(Arc::new(KafkaArchive::new(settings.clone())))
    }

    pub(super) fn subscription(settings: &KafkaSettings) -> anyhow::Result<Box<dyn Subscription>> {
        Ok(subscribe(settings)?)
    }

    pub(super) fn outlet(settings: &KafkaSettings) -> anyhow::Result<Arc<dyn Outlet>> {
        Ok(Arc::new(KafkaOutlet::open(settings)?))
    }

    pub(super) fn follow_positions(
        server: &mut Server,
        settings: KafkaSettings,
        store: Arc<dyn Store>,
        feed: LiveFeed,
    ) -> anyhow::Result<()> {
        let follow = |stop| crate::journal::kafka::follow_positions(settings, store, feed, stop);
        server.parts.start(Stage::Serve, "live feed", follow);
        Ok(())
    }
}

#[cfg(not(feature = "kafka"))]
mod kafka {
    use std::sync::Arc;

    use anyhow::bail;

    use super::{LiveFeed, Outlet, Server, Store};
    use crate::journal::kafka::KafkaSettings;
    use crate::journal::{Archive, Journal, Subscription};

    const WITHOUT: &str = "this avl-cloud was built without Kafka: build it with its default features, or leave kafka.bootstrap out";

    #[allow(clippy::unused_async)]
    pub(super) async fn prepare(_: &mut Server, _: &KafkaSettings) -> anyhow::Result<()> {
        bail!(WITHOUT)
    }

    #[allow(clippy::unused_async)]
    pub(super) async fn make_topics(_: &KafkaSettings) -> anyhow::Result<()> {
        bail!(WITHOUT)
    }

    pub(super) fn sink(_: &KafkaSettings) -> anyhow::Result<Arc<dyn Journal>> {
        bail!(WITHOUT)
    }

    pub(super) fn archive(_: &KafkaSettings) -> anyhow::Result<Arc<dyn Archive>> {
        bail!(WITHOUT)
    }

    pub(super) fn subscription(_: &KafkaSettings) -> anyhow::Result<Box<dyn Subscription>> {
        bail!(WITHOUT)
    }

    pub(super) fn outlet(_: &KafkaSettings) -> anyhow::Result<Arc<dyn Outlet>> {
        bail!(WITHOUT)
    }

    pub(super) fn follow_positions(
        _: &mut Server,
        _: KafkaSettings,
        _: Arc<dyn Store>,
        _: LiveFeed,
    ) -> anyhow::Result<()> {
        bail!(WITHOUT)
    }
}

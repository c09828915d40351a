//! What a topic holds, as a stranger sees it: by a consumer of its own, without anything of the cloud.

use std::time::Duration;

use anyhow::Context as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Published {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub headers: Vec<(String, String)>,
    pub value: Vec<u8>,
}

impl Published {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Everything that is in the topic now, partition by partition.
///
/// # Errors
/// When it cannot be read.
pub async fn read(bootstrap: &str, topic: &str) -> anyhow::Result<Vec<Published>> {
    let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&bootstrap, &topic)).await?
}

fn read_blocking(bootstrap: &str, topic: &str) -> anyhow::Result<Vec<Published>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "oracle")
        .set("enable.auto.commit", "false")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let found = metadata.topics().first().context("no such topic")?;
    let mut published = Vec::new();
    for partition in found.partitions() {
        let (first, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
        if first == end {
            continue;
        }
        let mut only = TopicPartitionList::new();
        only.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        consumer.assign(&only)?;
        loop {
            let message = consumer.poll(PATIENCE).context("the topic ends before its end")??;
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            published.push(Published {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(text),
                headers: headers
                    .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
                    .collect(),
                value: message.payload().unwrap_or_default().to_vec(),
            });
            if message.offset() + 1 >= end {
                break;
            }
        }
    }
    Ok(published)
}

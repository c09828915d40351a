//! An entry as a Kafka message: key `fleet/vehicle`, the value as it came, and headers that any tool can read.

use avl_shared::batch;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

use crate::journal::{Kind, Record, Transport, Unreadable};

const KIND: &str = "kind";
const TRANSPORT: &str = "transport";
/// Milliseconds since 1970-01-01 UTC by our clock, decimal. The message's own timestamp is the broker's.
const RECEIVED_AT: &str = "received-at";
/// Eight hexadecimal digits. This and the next two only of batches, for tools: we read the batch itself.
const EPOCH: &str = "epoch";
const FIRST: &str = "first";
const COUNT: &str = "count";

pub(super) fn headers(record: &Record) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(6)
        .insert(text(KIND, record.kind.name()))
        .insert(text(TRANSPORT, record.transport.name()))
        .insert(text(RECEIVED_AT, &record.received_at.to_string()));
    if record.kind == Kind::Batch
        && let Ok(header) = batch::peek(&record.value)
    {
        headers = headers
            .insert(text(EPOCH, &header.epoch.to_string()))
            .insert(text(FIRST, &header.range.first().to_string()))
            .insert(text(COUNT, &header.range.count().to_string()));
    }
    headers
}

fn text<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key, value: Some(value) }
}

/// # Errors
/// What nobody can understand, and why.
pub(super) fn read(message: &BorrowedMessage<'_>) -> Result<Record, Unreadable> {
    understand(message).map_err(|reason| Unreadable {
        reason,
        key: message.key().map(Bytes::copy_from_slice),
        received_at: header(message, RECEIVED_AT).ok().and_then(|time| time.parse().ok()),
        value: value(message),
    })
}

fn understand(message: &BorrowedMessage<'_>) -> Result<Record, String> {
    let key = message.key().ok_or("no key: it does not say which vehicle")?;
    let vehicle: VehicleKey = utf8(key)?.parse().map_err(|error| format!("{error}"))?;
    let kind = header(message, KIND)?;
    let transport = header(message, TRANSPORT)?;
    let received_at = header(message, RECEIVED_AT)?;
    Ok(Record {
        vehicle,
        kind: Kind::from_name(kind).ok_or_else(|| format!("unknown kind {kind:?}"))?,
        transport: Transport::from_name(transport)
            .ok_or_else(|| format!("unknown transport {transport:?}"))?,
        received_at: received_at
            .parse::<UtcMillis>()
            .map_err(|_| format!("header {RECEIVED_AT} is {received_at:?}, not a number"))?,
        value: value(message),
    })
}

fn value(message: &BorrowedMessage<'_>) -> Bytes {
    message.payload().map_or_else(Bytes::new, Bytes::copy_from_slice)
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Result<&'a str, String> {
    let found = message.headers().and_then(|headers| headers.iter().find(|header| header.key == name));
    let value = found.and_then(|header| header.value).ok_or_else(|| format!("no header {name:?}"))?;
    utf8(value)
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

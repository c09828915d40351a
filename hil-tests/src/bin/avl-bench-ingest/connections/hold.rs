//! The vehicles' side: so many as it is told by its stdin, each silent behind its one batch.

use std::net::SocketAddr;
use std::path::PathBuf;

use avl_shared::link::{LaneFrame, to_vehicle};
use avl_shared::sequence::Epoch;
use bytes::BytesMut;
use futures_util::{StreamExt as _, TryStreamExt as _};
use quinn::{Endpoint, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::issuer::Issuer;
use crate::vehicle::{BATCH, Linked, batches, connect};

/// Vehicles of one process that connect at a time.
const CONNECTING: usize = 64;
/// Vehicles that share a UDP socket. Its receive buffer must hold what the cloud says to all of them at one time.
const SHARING: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    link: SocketAddr,
    /// Its vehicles are numbered from here on
    #[arg(long)]
    first: usize,
    /// The cloud's, with its authority
    #[arg(long)]
    data_dir: PathBuf,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let issuer = Issuer::of(&options.data_dir)?;
    let mut endpoints = Vec::new();
    let epoch = Epoch(7);
    let batch = batches(1, epoch, 1)?.swap_remove(0);
    let mut silent = JoinSet::new();
    let mut orders = orders();
    while let Some(order) = orders.recv().await {
        if order == "wait" {
            break;
        }
        let upto: usize = order.parse()?;
        while endpoints.len() * SHARING < upto {
            endpoints.push(Endpoint::client(([127, 0, 0, 1], 0).into())?);
        }
        let mut linked = futures_util::stream::iter(options.first + silent.len()..options.first + upto)
            .map(|number| {
                let endpoint = &endpoints[(number - options.first) / SHARING];
                let (issuer, batch) = (&issuer, batch.clone());
                async move {
                    let identity = issuer.identity(&format!("bench/v-{number:06}").parse()?)?;
                    let linked = connect(endpoint, options.link, &identity, epoch, BATCH as u64).await?;
                    let mut lane = linked.connection.open_uni().await?;
                    let mut wire = BytesMut::new();
                    LaneFrame { ack_wanted: false, batch }.write(&mut wire);
                    lane.write_all(&wire).await?;
                    anyhow::Ok((linked, lane))
                }
            })
            .buffer_unordered(CONNECTING);
        while let Some((linked, lane)) = linked.try_next().await? {
            silent.spawn(until_closed(linked, lane));
        }
        println!("held");
    }
    let acknowledged = silent.join_all().await.into_iter().filter(|&acknowledged| acknowledged).count();
    println!("{acknowledged}");
    Ok(())
}

/// The lines of stdin.
fn orders() -> mpsc::UnboundedReceiver<String> {
    let (sender, orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    orders
}

/// Whether its batch was acknowledged before the cloud went.
async fn until_closed(mut linked: Linked, lane: SendStream) -> bool {
    let mut acknowledged = false;
    while let Ok(Some(message)) = linked.answers.next().await {
        acknowledged |= matches!(message, to_vehicle::Message::Ack(ack)
            if ack.ranges.iter().any(|range| range.first == 0 && range.last + 1 == BATCH as u64));
    }
    // It stays open as long as the connection.
    drop(lane);
    acknowledged
}

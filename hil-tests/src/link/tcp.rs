//! A TCP relay that cuts connections, or swallows what passes so that both ends believe they are connected.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the relay does with bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// Bytes vanish; connections stay, as behind a NAT that has forgotten them.
    Swallowing,
    /// Connections are closed, and new ones at once.
    Closed,
}

/// Clients talk to [`TcpRelay::address`]; the relay talks to the server. Dropping it takes the link away.
#[derive(Debug)]
pub struct TcpRelay {
    address: SocketAddr,
    passage: Arc<watch::Sender<Passage>>,
    task: tokio::task::JoinHandle<()>,
}

impl TcpRelay {
    /// # Errors
    /// When no socket can be bound.
    pub async fn to(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let passage = Arc::new(watch::Sender::new(Passage::Open));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&passage)));
        Ok(Self { address, passage, task })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.passage.send_replace(Passage::Closed);
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, passage: Arc<watch::Sender<Passage>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let mut passage = passage.subscribe();
        if *passage.borrow_and_update() == Passage::Closed {
            continue;
        }
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let (up, down) = (passage.clone(), passage.clone());
            tokio::select! {
                () = copy(from_client, to_server, up) => {}
                () = copy(from_server, to_client, down) => {}
                _ = passage.wait_for(|passage| *passage == Passage::Closed) => {}
            }
        });
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, passage: watch::Receiver<Passage>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        // What was swallowed once is missing from the stream: it can only end.
        if *passage.borrow() == Passage::Swallowing {
            continue;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

//! NMEA over the network: from a server that sends it by TCP, or as UDP datagrams to a port of this gateway.
//!
//! Vehicle routers, AIS and ship networks, and telephones do this. Nothing is authenticated, so both belong inside the
//! vehicle. A TCP server that falls silent is connected anew; UDP listens to one sender at a time, because sentences of
//! two receivers make no sense together.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::live::{Complaint, ConsumerGone, Intake, Retry, Waited};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A device in the same vehicle that does not answer is off; looking twice a minute costs nothing.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);

/// A connection whose other side lost power is silent for ever, unlike a receiver, which always has something to say.
const IDLE: Duration = Duration::from_secs(60);

/// A sender that has been silent for so long gives its place to another.
const SENDER_SILENT: Duration = Duration::from_secs(10);

const READ_BYTES: usize = 4096;
/// The largest datagram there is.
const DATAGRAM_BYTES: usize = 65_536;

/// Reads from the server at `address` until nobody takes its fixes any more.
pub(super) async fn tcp(address: &str, intake: &mut Intake<'_>) -> ConsumerGone {
    let (mut retry, mut complaint) = (Retry::new(FIRST_PAUSE, LONGEST_PAUSE), Complaint::default());
    loop {
        match connect(address, intake).await {
            Ok(Ok(mut server)) => {
                tracing::info!(address, "connected to the receiver's server");
                intake.opened();
                match read(&mut server, intake, &mut retry).await {
                    Ok(cause) => complaint.say(intake.view(), format!("{address}: {cause}")),
                    Err(gone) => return gone,
                }
                complaint.forget();
            }
            Ok(Err(cause)) => complaint.say(intake.view(), cause),
            Err(gone) => return gone,
        }
        if intake.rest(retry.next()).await.is_err() {
            return ConsumerGone;
        }
    }
}

/// Connects, or says why not.
pub(super) async fn connect(
    address: &str,
    intake: &Intake<'_>,
) -> Result<Result<TcpStream, String>, ConsumerGone> {
    let connecting = async {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(server)) => Ok(server),
            Ok(Err(error)) => Err(format!(
                "cannot connect to {address} ({error}): check source.address, and that the program or device there is running"
            )),
            Err(_) => Err(format!(
                "{address} does not answer within {CONNECT:?}: check source.address and the network between"
            )),
        }
    };
    tokio::select! {
        connected = connecting => Ok(connected),
        gone = intake.gone() => Err(gone),
    }
}

async fn read(
    server: &mut TcpStream,
    intake: &mut Intake<'_>,
    retry: &mut Retry,
) -> Result<String, ConsumerGone> {
    let mut bytes = vec![0; READ_BYTES];
    let mut last = Instant::now();
    loop {
        let ended = match intake.wait(server.read(&mut bytes)).await? {
            Waited::Got(0) => Some("the other side has closed the connection".to_owned()),
            Waited::Got(read) => {
                last = Instant::now();
                retry.succeeded();
                intake.take(&bytes[..read]).await?;
                None
            }
            Waited::Failed(cause) => Some(cause),
            Waited::Quiet if last.elapsed() >= IDLE => Some(format!("silent for {IDLE:?}")),
            Waited::Quiet => None,
        };
        if let Some(cause) = ended {
            intake.interrupted().await?;
            return Ok(cause);
        }
        intake.show_state();
    }
}

/// Takes datagrams that are sent to `address` until nobody takes the fixes any more.
pub(super) async fn udp(address: &str, intake: &mut Intake<'_>) -> ConsumerGone {
    let (mut retry, mut complaint) = (Retry::new(FIRST_PAUSE, LONGEST_PAUSE), Complaint::default());
    loop {
        match UdpSocket::bind(address).await {
            Ok(socket) => {
                let local = socket.local_addr().map_or_else(|_| address.to_owned(), |at| at.to_string());
                tracing::info!(address = local, "listening for datagrams of the receiver");
                complaint.forget();
                intake.opened();
                intake.view().update(|view| view.from = local);
                let Ok(cause) = datagrams(&socket, intake, &mut retry).await else { return ConsumerGone };
                complaint.say(intake.view(), format!("{address}: {cause}"));
            }
            Err(error) => complaint.say(
                intake.view(),
                format!(
                    "cannot listen on {address} ({error}): check that source.address is an address of this gateway and that no other program uses the port"
                ),
            ),
        }
        if intake.rest(retry.next()).await.is_err() {
            return ConsumerGone;
        }
    }
}

async fn datagrams(
    socket: &UdpSocket,
    intake: &mut Intake<'_>,
    retry: &mut Retry,
) -> Result<String, ConsumerGone> {
    let mut bytes = vec![0; DATAGRAM_BYTES];
    let mut senders = Senders::default();
    loop {
        match intake.wait(socket.recv_from(&mut bytes)).await? {
            Waited::Got((read, sender)) => match senders.admit(sender, Instant::now()) {
                Admission::Known => intake.take(&bytes[..read]).await?,
                Admission::New => {
                    tracing::info!(%sender, "datagrams arrive");
                    retry.succeeded();
                    intake.interrupted().await?;
                    intake.take(&bytes[..read]).await?;
                }
                Admission::Refused { first: true } => {
                    tracing::warn!(%sender, "a second sender: ignored while the first one is heard");
                }
                Admission::Refused { first: false } => {}
            },
            Waited::Failed(cause) => {
                intake.interrupted().await?;
                return Ok(cause);
            }
            Waited::Quiet => {}
        }
        intake.show_state();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Known,
    New,
    /// `first` for the first datagram of a stranger.
    Refused {
        first: bool,
    },
}

/// One sender at a time.
#[derive(Debug, Default)]
struct Senders {
    current: Option<(SocketAddr, Instant)>,
    refused: Option<SocketAddr>,
}

impl Senders {
    fn admit(&mut self, sender: SocketAddr, now: Instant) -> Admission {
        match &mut self.current {
            Some((known, heard)) if *known == sender => {
                *heard = now;
                Admission::Known
            }
            Some((_, heard)) if now.duration_since(*heard) < SENDER_SILENT => {
                let first = self.refused != Some(sender);
                self.refused = Some(sender);
                Admission::Refused { first }
            }
            _ => {
                self.current = Some((sender, now));
                Admission::New
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! From the buffer to the cloud: connect, say what is held, send it in order, and let the buffer forget what the
//! cloud confirms.
//!
//! What to send when is decided by [`lane`], a state machine without I/O; when to connect again by [`backoff`].
//! [`session`] carries the decisions out on one connection, [`mod@run`] makes connections one after the other. How bytes
//! travel is behind [`Transport`]; [`failover`] chooses between two of them.
//!
//! Promises: nothing is forgotten but on `Ack` or `Welcome.durable`; nothing waits in memory but one batch and what
//! the transport's send window takes; a connection is not called connected before the cloud's `Welcome`, because a
//! TLS handshake ends before the cloud has judged the vehicle's certificate.

pub mod backoff;
pub mod budget;
mod config;
mod desk;
pub mod failover;
pub mod interfaces;
pub mod lane;
mod ledger;
pub mod mqtt;
mod old_epochs;
mod pace;
pub mod quic;
mod repeated;
mod run;
mod session;
mod socket;
mod traffic;
mod transports;
mod view;
mod ways;
mod window;

pub use config::{QuicConfig, UplinkConfig};
pub use desk::Desk;
pub use ledger::Calendar;
pub use pace::Pace;
pub use run::{Agent, Ports, UplinkSettings, run};
pub use traffic::{IPV4_UDP_HEADERS, IPV6_UDP_HEADERS, Traffic};
pub use transports::Transports;
pub use view::{LinkState, LinkView};

use std::future::Future;

use avl_shared::link::{Hello, LaneFrame, ToCloud, ToVehicle, Welcome};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A way to the cloud.
pub trait Transport {
    /// Connects, says hello, and returns when the cloud has welcomed the vehicle.
    fn connect(&mut self, hello: Hello) -> impl Future<Output = Result<Link, ConnectError>> + Send;

    /// Told how the last connection ended: who chooses between several ways learns from it.
    fn ended(&mut self, _ending: Ending) {}
}

/// How a connection ended, as far as it says something about its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As one of both sides wanted it, or for want of anything to say.
    Orderly,
    /// It broke, or the cloud fell silent.
    Broken,
}

/// What the vehicle sends on a link before anything of the backlog.
#[derive(Debug)]
pub enum Outgoing {
    /// Of the live lane.
    Batch(LaneFrame),
    Control(ToCloud),
}

/// One welcomed connection. Dropping `outgoing` and `backlog` closes it.
pub struct Link {
    /// `quic` or `mqtt`.
    pub transport: &'static str,
    pub welcome: Welcome,
    /// Control messages and the batches of the live lane. Has room for one message: when it is taken, the transport has
    /// accepted the one before.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// Batches of the backlog lane, which must not delay what `outgoing` carries. Has room for one.
    pub backlog: mpsc::Sender<LaneFrame>,
    /// Ends when the connection does; `end` says why.
    pub incoming: mpsc::Receiver<ToVehicle>,
    pub end: JoinHandle<LinkEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// Nothing was heard from the cloud for the idle timeout.
    Silent,
    /// Another transport has connected and takes over at once.
    Superseded,
    /// The connection broke or was closed; for the log.
    Lost(String),
}

/// Why there is no connection. Each says what to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot find the address of {host}: {cause}: check uplink.quic.address and the gateway's DNS")]
    Resolve { host: String, cause: String },
    #[error(
        "no answer from {address} within {seconds} s: check that the cloud is up and that UDP gets through"
    )]
    NoAnswer { address: String, seconds: u64 },
    #[error(
        "{address} is not the cloud this vehicle is enrolled with: {cause}: check uplink.quic.address, or enrol again with 'avl-edge enrol --force' if the cloud was set up anew"
    )]
    WrongServer { address: String, cause: String },
    #[error(
        "the certificate of {address} expired at {not_after}; it is {clock}: when that time is right, let the cloud renew its certificate (restart 'avl-cloud all'); otherwise set this gateway's clock"
    )]
    ServerExpired { address: String, not_after: String, clock: String },
    #[error(
        "the certificate of {address} begins at {not_before}; it is {clock}: this gateway's clock is behind: give the receiver a view of the sky, or set the clock (NTP)"
    )]
    ClockBehind { address: String, not_before: String, clock: String },
    #[error(
        "the time is not known: the system clock says {system}, which cannot be, and the receiver has given none yet: give it a view of the sky, or set the clock; recording goes on"
    )]
    NoTime { system: String },
    #[error(
        "this gateway is not enrolled: run 'avl-edge enrol', or provide an enrolment file (identity.enrolment_files); recording goes on"
    )]
    NotEnrolled,
    #[error("the identity of this gateway is unusable: {cause}: enrol again with 'avl-edge enrol --force'")]
    BadIdentity { cause: String },
    #[error(
        "this vehicle's certificate expired at {not_after}; it is {clock}: it is renewed as soon as the cloud's enrolment port can be reached; if that fails, enrol again with 'avl-edge enrol --force'"
    )]
    CertificateExpired { not_after: String, clock: String },
    #[error(
        "the cloud has revoked this vehicle's certificate: {cause}: recording goes on; to upload again, enrol with a new token ('avl-edge enrol --force')"
    )]
    Revoked { cause: String },
    #[error(
        "the cloud refused this vehicle's certificate: {cause}: if it belongs to another cloud, enrol again with 'avl-edge enrol --force'"
    )]
    CertificateRefused { cause: String },
    #[error("the cloud closed the connection: {cause}")]
    Refused { cause: String },
    #[error(
        "the cloud speaks another protocol: {cause}: check that agent and cloud are of matching versions"
    )]
    Protocol { cause: String },
    #[error(
        "none of the interfaces {names} has an address and a route to {address}, or may be used while roaming: see 'ip address' and 'ip route', or correct uplink.interfaces"
    )]
    NoInterface { names: String, address: String },
    #[error("MQTT broker {address}: {cause}")]
    Broker { address: String, cause: String },
    #[error(
        "MQTT broker {address} does not let this vehicle use its topics ({cause}): check the broker's access rules"
    )]
    BrokerForbids { address: String, cause: String },
    #[error("MQTT broker {address}: {cause}")]
    BehindBroker { address: String, cause: String },
    #[error("cannot open a UDP socket: {cause}")]
    Socket { cause: String },
    #[error("{first}; nor by the other transport: {second}")]
    Both { first: Box<ConnectError>, second: Box<ConnectError> },
}

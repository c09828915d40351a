//! The way to the cloud: name, address, UDP, TLS, welcome, durable acknowledgement.

use std::time::Duration;

use avl_shared::batch;
use avl_shared::link::{Hello, PROTOCOL, Welcome, ranges_from_message, ranges_to_message};
use tokio::time::timeout;

use super::check::Outcome;
use crate::buffer::Status;
use crate::config::Config;
use crate::health::Seen;
use crate::health::judge::split_cure;
use crate::health::words::{duration_ms, fixes, local_time};
use crate::identity::{Access, Identity};
use crate::uplink::Transport;
use crate::uplink::quic::QuicTransport;

/// A resolver on a bad link answers within some seconds, or not at all.
const DNS_PATIENCE: Duration = Duration::from_secs(10);
/// Two default intervals of acknowledgement, with room for a bad minute.
const ACK_OVERDUE_MS: u64 = 4_000_000;
/// Of a Hello; what is held only informs.
const MAX_HELLO_RANGES: usize = 100;

/// `key`: where the host and port are configured.
pub(super) async fn dns(key: &str, host_and_port: Option<(&str, u16)>) -> Outcome {
    let Some((host, port)) = host_and_port else {
        return Outcome::failed(format!("{key} is not HOST:PORT"), "correct it");
    };
    let cure = format!("check {key}, the gateway's DNS ('resolvectl status') and its coverage");
    match timeout(DNS_PATIENCE, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            addresses.dedup();
            if addresses.is_empty() {
                return Outcome::failed(format!("{host} has no address"), cure);
            }
            Outcome::good(format!("{host} is {}", addresses.join(", ")))
        }
        Ok(Err(error)) => Outcome::failed(format!("the address of {host} cannot be found: {error}"), cure),
        Err(_) => Outcome::failed(format!("no answer about {host} in {} s", DNS_PATIENCE.as_secs()), cure),
    }
}

/// What the agent would say of this buffer.
pub(super) fn hello(buffer: Option<&Status>) -> Hello {
    let hello = match buffer {
        Some(status) => {
            let mut held = ranges_to_message(&status.held);
            held.truncate(MAX_HELLO_RANGES);
            Hello { epoch: status.epoch.0, next_sequence: status.next_sequence, held, ..Hello::default() }
        }
        // An epoch that no buffer has, with nothing in it: the cloud keeps nothing of it.
        None => Hello { epoch: rand::random(), ..Hello::default() },
    };
    Hello {
        protocol: PROTOCOL,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        batch_versions: batch::FORMATS.map(u32::from).to_vec(),
        ..hello
    }
}

/// A connection of our own, as the agent makes it; closed again at the welcome.
pub(super) async fn connect(
    config: &Config,
    identity: Identity,
    buffer: Option<&Status>,
) -> Result<Welcome, String> {
    let mut transport = QuicTransport::new(&config.uplink, Access::fixed(identity));
    let link = transport.connect(hello(buffer)).await.map_err(|error| error.to_string())?;
    let welcome = link.welcome.clone();
    drop(link.outgoing);
    // The closing packet needs a moment; without it the cloud would wait for the idle timeout.
    let _ = timeout(Duration::from_secs(2), link.end).await;
    Ok(welcome)
}

pub(super) fn welcome(config: &Config, answer: &Result<Welcome, String>) -> Outcome {
    match answer {
        Ok(_) => Outcome::good(format!(
            "{} answers by UDP, its certificate is right, and it welcomes this vehicle",
            config.uplink.quic.address
        )),
        Err(trouble) => {
            let (cause, cure) = explain(trouble);
            Outcome::failed(cause, cure)
        }
    }
}

/// The same, from what the running agent says.
pub(super) fn agents_link(seen: &Seen) -> Outcome {
    let link = &seen.link;
    match (link.state.as_str(), &link.trouble) {
        ("connected", _) => {
            let by = link.transport.as_deref().unwrap_or("quic");
            let since =
                link.since_ms.map(|since| format!(" since {}", local_time(since))).unwrap_or_default();
            Outcome::good(format!("the agent is connected by {by}{since}"))
        }
        (_, Some(trouble)) => {
            let (cause, cure) = explain(trouble);
            Outcome::failed(format!("the agent is not connected: {cause}"), cure)
        }
        ("idle", None) if seen.buffer.waiting == 0 => {
            Outcome::good("the agent has nothing to send and keeps no connection open")
        }
        _ => Outcome::failed(
            "the agent is still connecting",
            "wait a minute and run this again; 'avl-edge status' says what it meets",
        ),
    }
}

/// Without an agent: the welcome itself comes from the cloud's journal.
pub(super) fn journal(welcome: &Welcome) -> Outcome {
    match ranges_from_message(&welcome.durable) {
        Ok(durable) => Outcome::good(format!(
            "the cloud's journal answered: it holds {} of this buffer",
            fixes(durable.count())
        )),
        Err(error) => {
            Outcome::failed(format!("the cloud's answer makes no sense: {error}"), "upgrade the older side")
        }
    }
}

pub(super) fn acknowledged(seen: &Seen) -> Outcome {
    match seen.link.last_ack_ms.map(|last| seen.age_ms(last)) {
        Some(age) if age <= ACK_OVERDUE_MS || seen.buffer.waiting == 0 => Outcome::good(format!(
            "the last one came {} ago; waiting: {}",
            duration_ms(age),
            fixes(seen.buffer.waiting)
        )),
        Some(age) => Outcome::warning(
            format!("the last one came {} ago; waiting: {}", duration_ms(age), fixes(seen.buffer.waiting)),
            "if the link is up, look at the cloud: its journal may be full; else see the link's check",
        ),
        None if seen.link.state == "connected" => {
            let held =
                format!("connected, nothing acknowledged yet; waiting: {}", fixes(seen.buffer.waiting));
            if seen.agent.uptime_s * 1000 > ACK_OVERDUE_MS && seen.buffer.waiting > 0 {
                Outcome::warning(held, "look at the cloud's log: its journal may be full")
            } else {
                Outcome::good(held)
            }
        }
        None => Outcome::skipped("there is no link"),
    }
}

/// What a failed attempt means to the installer. The words come from the transport, from TLS and from the system.
fn explain(trouble: &str) -> (String, String) {
    let (cause, own_cure) = split_cure(trouble);
    let words = trouble.to_ascii_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
    // Whose certificate is meant decides, before what is wrong with it.
    let cure = if has(&[
        "refused this vehicle",
        "certificate unknown",
        "certificate_unknown",
        "decrypt_error",
    ]) {
        "the cloud does not accept this vehicle's certificate (foreign, revoked or expired): enrol again with 'avl-edge enrol --force'"
    } else if has(&["not valid for name", "notvalidforname"]) {
        "start the cloud with --name of the host in uplink.quic.address, or set uplink.quic.server_name to a name that its certificate has"
    } else if has(&["unknownissuer", "unknown issuer", "badsignature", "is enrolled with"]) {
        "this is another cloud than the one that enrolled this gateway: correct uplink.quic.address, or enrol here with 'avl-edge enrol --force'"
    } else if has(&["notvalidyet", "not valid yet"]) {
        "this gateway's clock is behind: set it, or wait for GNSS time"
    } else if has(&["expired"]) {
        "if the date of this gateway is right, the cloud's certificate has expired: renew it there; else set the clock"
    } else if has(&["no answer", "timed out"]) {
        "check that avl-cloud runs there and that UDP (not only TCP) gets through firewall and mobile network; try another network"
    } else {
        own_cure.unwrap_or("look at the cloud's log for this vehicle")
    };
    (cause.to_owned(), cure.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::judge::tests::healthy;

    #[test]
    fn each_way_to_fail_has_its_own_cure() {
        for (trouble, expected) in [
            (
                "no answer from 10.0.0.1:7443 within 15 s: check that the cloud is up and that UDP gets through",
                "UDP",
            ),
            ("x is not the cloud: invalid peer certificate: certificate not valid for name \"a\"", "--name"),
            ("x is not the cloud: invalid peer certificate: UnknownIssuer", "another cloud"),
            ("x is not the cloud this vehicle is enrolled with: BadSignature", "another cloud"),
            ("the cloud refused this vehicle's certificate: UnknownIssuer", "does not accept"),
            (
                "x is not the cloud: invalid peer certificate: certificate expired: verification time 1",
                "renew it there",
            ),
            ("the cloud refused this vehicle's certificate: alert 42: if it was revoked", "enrol --force"),
            ("cannot open a UDP socket: denied: look at the limits of it", "look at the limits"),
        ] {
            let (_, cure) = explain(trouble);
            assert!(cure.contains(expected), "{trouble}: {cure}");
        }
    }

    #[test]
    fn the_agents_own_link_is_believed() {
        let mut seen = healthy();
        assert!(matches!(agents_link(&seen), Outcome::Good { .. }));
        assert!(matches!(acknowledged(&seen), Outcome::Good { .. }));
        seen.link.last_ack_ms = Some(seen.taken_at_ms - 4_200_000);
        assert!(matches!(acknowledged(&seen), Outcome::Warning { .. }));
        seen.link.state = "idle".to_owned();
        seen.link.trouble = Some("no answer from a:1 within 15 s: check it".to_owned());
        let Outcome::Failed { cause, cure } = agents_link(&seen) else { panic!() };
        assert!(cause.contains("no answer from a:1") && cure.contains("UDP"), "{cause} {cure}");
    }
}

//! The way through the MQTT broker, where one is configured: name, TLS, both certificates, access rules, and the cloud behind it.
//!
//! One connection as the agent makes it tells all of it: how far it got says what works, and what it ended with is blamed.

use std::time::Duration;

use avl_shared::link::Welcome;
use tokio::time::timeout;

use super::check::{Check, Outcome};
use super::link;
use crate::buffer::Status;
use crate::health::Seen;
use crate::health::judge::split_cure;
use crate::identity::{Access, Identity};
use crate::uplink::mqtt::{MqttConfig, MqttTransport};
use crate::uplink::{ConnectError, Traffic, Transport, UplinkConfig};

const NAME: &str = "broker name";
/// What a connection meets, in this order.
const STAGES: [&str; 4] = ["broker link", "broker certificate", "broker access", "broker acknowledgement"];
/// For the goodbye.
const CLOSING: Duration = Duration::from_secs(2);

fn check(name: &'static str, outcome: Outcome) -> Check {
    Check { name, outcome }
}

fn skipped(because: &str) -> impl Iterator<Item = Check> {
    STAGES.map(|name| check(name, Outcome::skipped(because))).into_iter()
}

/// All of them, when what they depend on is missing.
pub(super) fn all_skipped(because: &str) -> Vec<Check> {
    std::iter::once(check(NAME, Outcome::skipped(because))).chain(skipped(because)).collect()
}

/// Connects as the agent does, and hangs up at the welcome.
pub(super) async fn try_it(
    uplink: &UplinkConfig,
    mqtt: &MqttConfig,
    identity: Option<Identity>,
    buffer: Option<&Status>,
) -> Vec<Check> {
    let name = link::dns("uplink.mqtt.address", mqtt.host_and_port()).await;
    let resolved = !name.is_failure();
    let rest: Vec<Check> = match identity {
        _ if !resolved => skipped("the broker's name has no address").collect(),
        None => skipped("there is no identity to connect with").collect(),
        Some(identity) => {
            let mut transport =
                MqttTransport::new(mqtt, Access::fixed(identity)).watched(uplink, Traffic::default());
            let answer = match transport.connect(link::hello(buffer)).await {
                Ok(link) => {
                    let welcome = link.welcome.clone();
                    drop((link.outgoing, link.backlog));
                    let _ = timeout(CLOSING, link.end).await;
                    Ok(welcome)
                }
                Err(error) => Err(error),
            };
            judge(&mqtt.address, answer.as_ref())
        }
    };
    std::iter::once(check(NAME, name)).chain(rest).collect()
}

/// The agent has the vehicle's one session at the broker, so only it can tell.
pub(super) async fn ask(mqtt: &MqttConfig, seen: &Seen) -> Vec<Check> {
    let name = link::dns("uplink.mqtt.address", mqtt.host_and_port()).await;
    let by_broker = seen.link.state == "connected" && seen.link.transport.as_deref() == Some("mqtt");
    let rest: Vec<Check> = if by_broker {
        let [connected, certificate, access, _] = facts(&mqtt.address);
        STAGES
            .into_iter()
            .zip([
                Outcome::good(connected),
                Outcome::good(certificate),
                Outcome::good(access),
                link::acknowledged(seen),
            ])
            .map(|(name, outcome)| check(name, outcome))
            .collect()
    } else {
        skipped("the running agent does not use the broker now: stop it to have the broker tried").collect()
    };
    std::iter::once(check(NAME, name)).chain(rest).collect()
}

/// What is true once the next stage is reached.
fn facts(address: &str) -> [String; 4] {
    [
        format!("{address} answers by TCP and TLS, and its certificate is right"),
        "the broker accepts this vehicle's certificate".to_owned(),
        "the broker lets this vehicle use its two topics".to_owned(),
        "the cloud answered through the broker".to_owned(),
    ]
}

/// How far it got: everything before is well, everything behind is unknown.
fn judge(address: &str, answer: Result<&Welcome, &ConnectError>) -> Vec<Check> {
    let end = answer.err().map_or(STAGES.len(), stage);
    STAGES
        .into_iter()
        .zip(facts(address))
        .enumerate()
        .map(|(at, (name, fact))| {
            let outcome = match answer {
                Err(error) if at == end => {
                    let (cause, cure) = explain(error);
                    Outcome::failed(cause, cure)
                }
                _ if at > end => Outcome::skipped("the broker was not reached so far"),
                Ok(welcome) if at + 1 == STAGES.len() => link::journal(welcome),
                _ => Outcome::good(fact),
            };
            check(name, outcome)
        })
        .collect()
}

/// Which stage an attempt failed at.
fn stage(error: &ConnectError) -> usize {
    match error {
        ConnectError::NoTime { .. }
        | ConnectError::NotEnrolled
        | ConnectError::BadIdentity { .. }
        | ConnectError::CertificateExpired { .. }
        | ConnectError::Revoked { .. }
        | ConnectError::CertificateRefused { .. } => 1,
        ConnectError::BrokerForbids { .. } => 2,
        ConnectError::BehindBroker { .. } | ConnectError::Protocol { .. } => 3,
        ConnectError::Resolve { .. }
        | ConnectError::NoAnswer { .. }
        | ConnectError::WrongServer { .. }
        | ConnectError::ServerExpired { .. }
        | ConnectError::ClockBehind { .. }
        | ConnectError::Refused { .. }
        | ConnectError::NoInterface { .. }
        | ConnectError::Broker { .. }
        | ConnectError::Socket { .. }
        | ConnectError::Both { .. } => 0,
    }
}

fn explain(error: &ConnectError) -> (String, String) {
    if let ConnectError::WrongServer { address, cause } = error {
        let cure = if cause.to_ascii_lowercase().contains("name") {
            "correct uplink.mqtt.address, or make the broker's certificate for that name with 'avl-cloud broker --name'"
        } else {
            "the broker's certificate is not of the cloud that enrolled this gateway: correct uplink.mqtt.address, or make it with that cloud's 'avl-cloud broker'"
        };
        return (format!("{address} is not the broker of this vehicle's cloud: {cause}"), cure.to_owned());
    }
    let text = error.to_string();
    let (cause, cure) = split_cure(&text);
    (cause.to_owned(), cure.unwrap_or("look at the logs of the broker and of the cloud").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(answer: Result<&Welcome, &ConnectError>) -> Vec<&'static str> {
        judge("broker.example:8883", answer)
            .iter()
            .map(|check| match check.outcome {
                Outcome::Good { .. } => "good",
                Outcome::Warning { .. } => "warning",
                Outcome::Failed { .. } => "failed",
                Outcome::Skipped { .. } => "skipped",
            })
            .collect()
    }

    #[test]
    fn what_was_passed_is_well_and_what_was_not_reached_is_not_judged() {
        assert_eq!(outcomes(Ok(&Welcome::default())), ["good"; 4]);
        let cause = "no answer within 20 s: check that it is up".to_owned();
        let address = "broker.example:8883".to_owned();
        let down = ConnectError::Broker { address: address.clone(), cause };
        assert_eq!(outcomes(Err(&down)), ["failed", "skipped", "skipped", "skipped"]);
        let refused = ConnectError::CertificateRefused { cause: "UnknownCA".to_owned() };
        assert_eq!(outcomes(Err(&refused)), ["good", "failed", "skipped", "skipped"]);
        let forbids =
            ConnectError::BrokerForbids { address: address.clone(), cause: "NotAuthorized".to_owned() };
        assert_eq!(outcomes(Err(&forbids)), ["good", "good", "failed", "skipped"]);
        let nobody = ConnectError::BehindBroker { address, cause: "no cloud: start it anew".to_owned() };
        assert_eq!(outcomes(Err(&nobody)), ["good", "good", "good", "failed"]);
    }
}

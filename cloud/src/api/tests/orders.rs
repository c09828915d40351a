//! Commands and configurations, from the order to the answer, with a vehicle's connection played by the test.

use avl_shared::link::{CommandResult, CommandState, ConfigOutcome, ConfigState, to_cloud, to_vehicle};

use super::*;
use crate::fleet::control::Delivery;

const COMMANDS: &str = "/api/v1/vehicles/demo/van-1/commands";
const CONFIGURATION: &str = "/api/v1/vehicles/demo/van-1/configuration";

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..10)]).await;
    fixture
}

impl Fixture {
    async fn put(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut request = self.request(method, path);
        *request.body_mut() = Body::from(body.to_owned());
        self.send(request).await
    }
}

async fn commands_due(delivery: &mut Delivery) -> Vec<String> {
    let due = delivery.due().await.unwrap();
    due.into_iter()
        .filter_map(|message| match message {
            to_vehicle::Message::Command(command) => Some(command.id),
            _ => None,
        })
        .collect()
}

fn result(id: &str, state: CommandState, part: u32, payload: &[u8]) -> to_cloud::Message {
    to_cloud::Message::CommandResult(CommandResult {
        id: id.to_owned(),
        state: state.into(),
        payload: payload.to_vec(),
        part,
        receipt: 77,
        ..CommandResult::default()
    })
}

#[tokio::test]
async fn a_command_is_given_delivered_answered_and_shown() {
    let fixture = fixture().await;
    let mut connection = fixture.state.control.connect(&van("van-1"), 0);
    connection.changed().await;
    assert_eq!(commands_due(&mut connection).await, [""; 0]);
    let given = fixture.put("POST", COMMANDS, r#"{"action": "locate"}"#).await;
    assert_eq!(given.status, StatusCode::CREATED, "{given:?}");
    let given: Value = serde_json::from_slice(&given.body).unwrap();
    let id = given["id"].as_str().unwrap();
    assert_eq!(given["state"], "waiting");
    // Whoever is connected is told at once.
    connection.changed().await;
    assert_eq!(commands_due(&mut connection).await, [id]);
    assert_eq!(commands_due(&mut connection).await, [""; 0], "once a connection");
    let one = format!("{COMMANDS}/{id}");
    assert_eq!(fixture.get(&one).await.json()["state"], "sent");
    // A connection that broke has told nothing: the next one is sent it again.
    let mut next = fixture.state.control.connect(&van("van-1"), 0);
    assert_eq!(commands_due(&mut next).await, [id]);
    for _ in 0..2 {
        let done = result(id, CommandState::Done, 0, br#"{"position": {"lat": 1.5}}"#);
        let receipt = next.take(done).await.unwrap();
        assert!(matches!(receipt, Some(to_vehicle::Message::ReportAck(ack)) if ack.receipts == [77]));
    }
    let shown = fixture.get(&one).await.json();
    assert_eq!(
        (shown["state"].as_str(), shown["result"]["position"]["lat"].as_f64()),
        (Some("done"), Some(1.5))
    );
    next.take(result(id, CommandState::Accepted, 0, b"")).await.unwrap();
    assert_eq!(fixture.get(&one).await.json()["state"], "done", "what is over stays over");
    let mut last = fixture.state.control.connect(&van("van-1"), 0);
    assert_eq!(commands_due(&mut last).await, [""; 0]);
    assert_eq!(fixture.get(COMMANDS).await.json()["commands"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_result_in_parts_is_put_together_and_bounded() {
    let fixture = fixture().await;
    let given = fixture.put("POST", COMMANDS, r#"{"action": "diagnostics"}"#).await;
    let given: Value = serde_json::from_slice(&given.body).unwrap();
    let id = given["id"].as_str().unwrap();
    let path = format!("{COMMANDS}/{id}/result");
    assert_eq!(fixture.get(&path).await.problem().0, "no-result");
    let mut connection = fixture.state.control.connect(&van("van-1"), 0);
    for (part, payload) in
        [(1, "b".repeat(30_000)), (0, "a".repeat(30_000)), (8, "x".to_owned()), (2, "y".repeat(33_000))]
    {
        connection.take(result(id, CommandState::Done, part, payload.as_bytes())).await.unwrap();
    }
    let answer = fixture.get(&path).await;
    assert_eq!(answer.body, [vec![b'a'; 30_000], vec![b'b'; 30_000]].concat());
    assert_eq!(answer.header("content-disposition"), "attachment");
}

#[tokio::test]
async fn a_vehicle_answers_only_its_own_commands() {
    let fixture = fixture().await;
    fixture.commit(vec![fixes("van-2", 0..10)]).await;
    let given = fixture.put("POST", COMMANDS, r#"{"action": "restart"}"#).await;
    let given: Value = serde_json::from_slice(&given.body).unwrap();
    let id = given["id"].as_str().unwrap();
    let mut other = fixture.state.control.connect(&van("van-2"), 0);
    assert_eq!(commands_due(&mut other).await, [""; 0]);
    other.take(result(id, CommandState::Done, 0, b"forged")).await.unwrap();
    assert_eq!(fixture.get(&format!("{COMMANDS}/{id}")).await.json()["state"], "waiting");
    let foreign = format!("/api/v1/vehicles/demo/van-2/commands/{id}");
    assert_eq!(fixture.get(&foreign).await.problem().0, "unknown-command");
}

#[tokio::test]
async fn what_is_no_order_is_refused_with_its_cure() {
    let fixture = fixture().await;
    for (body, word) in [
        ("", "body"),
        (r#"{"action": "fly"}"#, "locate"),
        (r#"{"action": "history"}"#, "'from'"),
        (r#"{"action": "history", "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:00:00Z"}"#, "before"),
        (r#"{"action": "interval", "latency_s": -1}"#, "latency_s"),
        (r#"{"action": "interval", "profile": "flying"}"#, "parked"),
        (r#"{"action": "update", "version": "1"}"#, "1.4.0"),
        (r#"{"action": "locate", "expires_in_s": 0}"#, "expires_in_s"),
        (r#"{"action": "locate", "colour": "red"}"#, "colour"),
    ] {
        let (name, detail) = fixture.put("POST", COMMANDS, body).await.problem();
        assert_eq!(name, "bad-order", "{body}");
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let unknown =
        fixture.put("POST", "/api/v1/vehicles/demo/nobody/commands", r#"{"action": "locate"}"#).await;
    assert_eq!(unknown.problem().0, "unknown-vehicle");
    let no_release = fixture.put("POST", COMMANDS, r#"{"action": "update", "version": "1.2.3"}"#).await;
    assert_eq!(no_release.problem().0, "unknown-release");
    let (name, detail) = fixture.put("PUT", CONFIGURATION, r#"{"toml": "a = "}"#).await.problem();
    assert!(name == "bad-order" && detail.contains("TOML"), "{detail}");
}

#[tokio::test]
async fn no_more_commands_wait_than_a_connection_can_be_sent() {
    let fixture = fixture().await;
    for _ in 0..32 {
        let given = fixture.put("POST", COMMANDS, r#"{"action": "locate"}"#).await;
        assert_eq!(given.status, StatusCode::CREATED);
    }
    assert_eq!(fixture.put("POST", COMMANDS, r#"{"action": "locate"}"#).await.problem().0, "too-many-orders");
}

#[tokio::test]
async fn a_session_may_look_and_not_order() {
    let fixture = fixture().await;
    let (cookie, _) = fixture.state.sessions.issue(std::time::SystemTime::now()).unwrap();
    let cookie = format!("avl_session={cookie}");
    let session = |method: &str, path: &str, body: &'static str| {
        let mut request = bare(method, path, &[("cookie", &cookie)]);
        *request.body_mut() = Body::from(body);
        fixture.send(request)
    };
    assert_eq!(session("GET", COMMANDS, "").await.status, StatusCode::OK);
    assert_eq!(session("GET", CONFIGURATION, "").await.status, StatusCode::OK);
    assert_eq!(session("POST", COMMANDS, r#"{"action": "locate"}"#).await.problem().0, "token-needed");
    assert_eq!(session("PUT", CONFIGURATION, r#"{"toml": ""}"#).await.problem().0, "token-needed");
}

#[tokio::test]
async fn a_configuration_is_delivered_until_it_is_settled_and_again_to_a_reflashed_vehicle() {
    let fixture = fixture().await;
    assert_eq!(fixture.get(CONFIGURATION).await.json()["state"], "none");
    let given = fixture.put("PUT", CONFIGURATION, r#"{"toml": "uplink.latency = \"60s\""}"#).await.json();
    assert_eq!((given["version"].as_u64(), given["state"].as_str()), (Some(1), Some("waiting")));
    let versions = |due: Vec<to_vehicle::Message>| -> Vec<u64> {
        due.into_iter()
            .filter_map(|message| match message {
                to_vehicle::Message::Configuration(configuration) => Some(configuration.version),
                _ => None,
            })
            .collect()
    };
    let connect = |version| fixture.state.control.connect(&van("van-1"), version);
    for _ in 0..2 {
        assert_eq!(versions(connect(0).due().await.unwrap()), [1]);
    }
    let mut connection = connect(1);
    connection.due().await.unwrap();
    let settle = |version, outcome: ConfigOutcome| {
        to_cloud::Message::ConfigState(ConfigState {
            version,
            outcome: outcome.into(),
            ..ConfigState::default()
        })
    };
    connection.take(settle(1, ConfigOutcome::Applied)).await.unwrap();
    assert_eq!(fixture.get(CONFIGURATION).await.json()["state"], "applied");
    assert_eq!(versions(connect(1).due().await.unwrap()), [0; 0]);
    assert_eq!(versions(connect(0).due().await.unwrap()), [1], "it lost what it had");
    fixture.put("PUT", CONFIGURATION, r#"{"toml": "x = 1"}"#).await.json();
    let mut connection = connect(1);
    assert_eq!(versions(connection.due().await.unwrap()), [2]);
    connection.take(settle(2, ConfigOutcome::RolledBack)).await.unwrap();
    assert_eq!(fixture.get(CONFIGURATION).await.json()["state"], "rolled_back");
    assert_eq!(versions(connect(1).due().await.unwrap()), [0; 0], "it is not forced upon it");
}

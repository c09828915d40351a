//! What orders must do wherever they are kept: each storage runs the same suite.

use std::time::Duration;

use avl_shared::identity::VehicleKey;
use avl_shared::link::{CommandResult, CommandState, ConfigOutcome, ConfigState, to_cloud, to_vehicle};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Action, Control, ControlError};
use crate::time::now_utc;

/// Makes one test of each behaviour for orders that two processes share: `fn() -> Option<(guard, [Control; 2])>`.
macro_rules! suite {
    ($fresh:path) => {
        crate::fleet::control::conformance::suite!(@each $fresh:
            orders_arrive_once_a_connection_in_their_order, a_vehicle_that_never_came_is_given_nothing,
            the_number_of_waiting_orders_is_bounded_whoever_gives_them, an_answer_stays_and_its_parts_join,
            a_command_that_nobody_took_in_time_expires, the_newest_configuration_is_what_counts,
            an_order_of_another_process_reaches_a_connected_vehicle, no_look_leaves_an_order_out);
    };
    (@each $fresh:path: $($test:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let Some((_guard, [one, other])) = $fresh() else { return };
            crate::fleet::control::conformance::enter(&one).await;
            crate::fleet::control::conformance::$test(one, other).await;
        })*
    };
}
pub(crate) use suite;

const HOUR: Duration = Duration::from_secs(3600);

fn van() -> VehicleKey {
    "demo/van-1".parse().unwrap()
}

/// A vehicle that asks for its orders is known from then on.
pub(crate) async fn enter(control: &Control) {
    assert!(control.visit(&van(), Some(0)).due().await.unwrap().is_empty());
}

fn ids(messages: &[to_vehicle::Message]) -> Vec<String> {
    let id = |message: &to_vehicle::Message| match message {
        to_vehicle::Message::Command(command) => Some(command.id.clone()),
        _ => None,
    };
    messages.iter().filter_map(id).collect()
}

pub(crate) async fn orders_arrive_once_a_connection_in_their_order(one: Control, other: Control) {
    let mut given = Vec::new();
    for control in [&one, &other, &one, &other] {
        given.push(control.order(&van(), Action::Locate, HOUR).await.unwrap().id);
    }
    let mut connection = other.visit(&van(), Some(0));
    assert_eq!(ids(&connection.due().await.unwrap()), given);
    assert!(connection.due().await.unwrap().is_empty());
    assert_eq!(ids(&one.visit(&van(), Some(0)).due().await.unwrap()), given, "until they are answered");
    let listed = one.commands(&van(), 3).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.state.as_str()).collect::<Vec<_>>(), ["sent"; 3]);
    assert_eq!(listed[0].id, given[3], "the newest first");
}

pub(crate) async fn a_vehicle_that_never_came_is_given_nothing(one: Control, _: Control) {
    let stranger: VehicleKey = "demo/van-9".parse().unwrap();
    let refused = one.order(&stranger, Action::Locate, HOUR).await;
    assert!(matches!(refused, Err(ControlError::UnknownVehicle(_))));
    assert!(matches!(one.configure(&stranger, String::new()).await, Err(ControlError::UnknownVehicle(_))));
    for id in ["", "nothing", "'; DROP TABLE commands; --", "\0"] {
        assert!(matches!(one.command(&van(), id).await, Err(ControlError::UnknownCommand { .. })), "{id:?}");
    }
}

pub(crate) async fn the_number_of_waiting_orders_is_bounded_whoever_gives_them(one: Control, other: Control) {
    let mut giving = JoinSet::new();
    for turn in 0..40 {
        let control = if turn % 2 == 0 { one.clone() } else { other.clone() };
        giving.spawn(async move { control.order(&van(), Action::Locate, HOUR).await });
    }
    let outcomes = giving.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 32);
    let refused = |outcome: &Result<_, _>| matches!(outcome, Err(ControlError::TooMany { limit: 32, .. }));
    assert_eq!(outcomes.iter().filter(|outcome| refused(outcome)).count(), 8);
}

pub(crate) async fn an_answer_stays_and_its_parts_join(one: Control, other: Control) {
    let id = one.order(&van(), Action::Diagnostics, HOUR).await.unwrap().id;
    let mut connection = other.visit(&van(), Some(0));
    let answer = |state: CommandState, part, payload: &[u8], detail: &str| {
        to_cloud::Message::CommandResult(CommandResult {
            id: id.clone(),
            state: state as i32,
            part,
            payload: payload.to_vec(),
            detail: detail.to_owned(),
            media_type: "text/plain".to_owned(),
            ..CommandResult::default()
        })
    };
    for message in [
        answer(CommandState::Accepted, 0, b"", ""),
        answer(CommandState::Done, 1, b"two", "'quoted'\0"),
        answer(CommandState::Done, 0, b"one ", "'quoted'"),
        answer(CommandState::Done, 0, b"one ", "'quoted'"),
        answer(CommandState::Accepted, 0, b"", "late"),
        answer(CommandState::Done, u32::MAX, b"beyond", "'quoted'"),
    ] {
        assert!(connection.take(message).await.unwrap().is_some());
    }
    let record = one.command(&van(), &id).await.unwrap();
    assert_eq!((record.state.as_str(), record.detail.as_str(), record.result_bytes), ("done", "'quoted'", 7));
    assert_eq!(one.result(&van(), &id).await.unwrap().unwrap().bytes, b"one two");
    assert!(other.visit(&van(), Some(0)).due().await.unwrap().is_empty(), "it is settled");
}

pub(crate) async fn a_command_that_nobody_took_in_time_expires(one: Control, other: Control) {
    let given = one.order(&van(), Action::Restart, Duration::ZERO).await.unwrap();
    assert!(other.visit(&van(), Some(0)).due().await.unwrap().is_empty());
    other.table().fresh(None, now_utc() + 1).await.unwrap();
    assert_eq!(one.command(&van(), &given.id).await.unwrap().state, "expired");
}

pub(crate) async fn the_newest_configuration_is_what_counts(one: Control, other: Control) {
    assert!(matches!(one.configure(&van(), "x".to_owned()).await, Err(ControlError::BadConfiguration(_))));
    assert_eq!(one.configure(&van(), "a = 1".to_owned()).await.unwrap().version, 1);
    assert_eq!(other.configure(&van(), "a = 2".to_owned()).await.unwrap().version, 2);
    let mut connection = one.visit(&van(), Some(0));
    let due = connection.due().await.unwrap();
    let [to_vehicle::Message::Configuration(sent)] = &due[..] else { panic!("{due:?}") };
    assert_eq!((sent.version, sent.toml.as_str()), (2, "a = 2"));
    let applied =
        ConfigState { version: 2, outcome: ConfigOutcome::Applied as i32, ..ConfigState::default() };
    connection.take(to_cloud::Message::ConfigState(applied)).await.unwrap();
    assert_eq!(other.configuration(&van()).await.unwrap().unwrap().state, "applied");
    assert!(other.visit(&van(), Some(2)).due().await.unwrap().is_empty());
    assert_eq!(other.visit(&van(), Some(0)).due().await.unwrap().len(), 1, "it was reflashed");
}

pub(crate) async fn an_order_of_another_process_reaches_a_connected_vehicle(one: Control, other: Control) {
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(one.clone().run(stopped));
    let mut connection = one.connect(&van(), 0);
    connection.changed().await;
    assert!(connection.due().await.unwrap().is_empty());
    let given = other.order(&van(), Action::Locate, HOUR).await.unwrap().id;
    // Whether the first look comes before the order or after it.
    loop {
        connection.changed().await;
        let due = connection.due().await.unwrap();
        if !due.is_empty() {
            assert_eq!(ids(&due), [given]);
            break;
        }
    }
    stop.send(true).unwrap();
    running.await.unwrap();
}

/// Numbers are seen in the order in which their orders become visible.
pub(crate) async fn no_look_leaves_an_order_out(one: Control, other: Control) {
    let vehicles: Vec<VehicleKey> = (0..12).map(|n| format!("demo/bus-{n}").parse().unwrap()).collect();
    for vehicle in &vehicles {
        one.visit(vehicle, Some(0)).due().await.unwrap();
    }
    let (_, mut seen) = one.table().fresh(None, now_utc()).await.unwrap();
    let mut giving = JoinSet::new();
    for (turn, vehicle) in vehicles.iter().cloned().enumerate() {
        let control = if turn % 2 == 0 { one.clone() } else { other.clone() };
        giving.spawn(async move { control.order(&vehicle, Action::Locate, HOUR).await.unwrap() });
    }
    let mut told = std::collections::HashSet::new();
    loop {
        let done = giving.is_empty();
        let (news, now_seen) = one.table().fresh(Some(seen), now_utc()).await.unwrap();
        (told, seen) = (told.into_iter().chain(news).collect(), now_seen);
        if done {
            break;
        }
        giving.join_next().await.unwrap().unwrap();
    }
    assert_eq!(told.len(), vehicles.len());
}

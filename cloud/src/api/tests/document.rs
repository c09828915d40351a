//! The OpenAPI document: whole, and true.

use std::collections::BTreeSet;

use super::*;
use crate::api::openapi;

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, operations): (&String, &Value)| {
        let path = path.clone();
        let operations = operations.as_object().unwrap().clone();
        operations.into_iter().map(move |(method, operation)| (method, path.clone(), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

/// Every string under a key `$ref`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn it_is_openapi_3_1_and_every_reference_leads_somewhere() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn every_operation_is_described() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
        assert!(ids.insert(id.to_owned()), "{id} twice");
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{method} {path}");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
        for response in operation["responses"].as_object().unwrap().values() {
            let reference = response["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
            let response = reference.map_or(Some(response), |pointer| document.pointer(pointer)).unwrap();
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{method} {path}");
        }
        let named = |place: &str| -> BTreeSet<String> {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let here = parameters.into_iter().filter(|parameter| parameter["in"] == place);
            here.map(|parameter| {
                assert!(
                    !parameter["description"].as_str().unwrap_or_default().is_empty(),
                    "{path}: {parameter}"
                );
                parameter["name"].as_str().unwrap().to_owned()
            })
            .collect()
        };
        let in_path: BTreeSet<String> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(named("path"), in_path, "{method} {path}");
        named("query");
    }
}

#[test]
fn every_field_of_a_shape_says_what_it_is() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in [
        "Position",
        "Vehicle",
        "Vehicles",
        "PositionPage",
        "Completeness",
        "EpochCompleteness",
        "LiveMessage",
        "Problem",
        "SignInLink",
        "Command",
        "Configuration",
        "PageConfig",
    ] {
        assert!(schemas.contains_key(name), "{name} in {:?}", schemas.keys().collect::<Vec<_>>());
    }
    let position = schemas["Position"]["properties"].as_object().unwrap();
    assert_eq!(position.len(), 20);
    for (field, schema) in position {
        assert!(!schema["description"].as_str().unwrap_or_default().is_empty(), "{field}");
    }
}

/// A command that has a result.
async fn answered_command(fixture: &Fixture) -> String {
    use avl_shared::link::{CommandResult, CommandState, to_cloud};
    let control = &fixture.state.control;
    let life = std::time::Duration::from_secs(60);
    let id = control.order(&van("van-1"), crate::fleet::control::Action::Locate, life).await.unwrap().id;
    let result = CommandResult {
        id: id.clone(),
        state: CommandState::Done.into(),
        payload: b"{}".to_vec(),
        ..CommandResult::default()
    };
    control.connect(&van("van-1"), 0).take(to_cloud::Message::CommandResult(result)).await.unwrap();
    id
}

/// Calls each route as it is documented; the answer must be one that is documented.
#[tokio::test]
async fn every_route_answers_as_documented() {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..10)]).await;
    let id = answered_command(&fixture).await;
    for (method, path, operation) in operations(&document()) {
        let filled = path.replace("{fleet}", "demo").replace("{vehicle}", "van-1").replace("{id}", &id);
        let mut query = String::from("?");
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            let example = &parameter["example"];
            if parameter["in"] == "query" && !example.is_null() {
                let value = example.as_str().map_or_else(|| example.to_string(), ToOwned::to_owned);
                query.push_str(&format!("{}={value}&", parameter["name"].as_str().unwrap()));
            }
        }
        let uri = format!("{filled}{}", query.trim_end_matches(['?', '&']));
        let mut request = fixture.request(&method.to_uppercase(), &uri);
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        if let Some(schema) = schema.as_str().and_then(|schema| schema.strip_prefix('#')) {
            let example = document().pointer(schema).unwrap()["example"].to_string();
            *request.body_mut() = Body::from(example);
        }
        let answer = fixture.send(request).await;
        let documented = operation["responses"].as_object().unwrap();
        let response =
            documented.get(answer.status.as_str()).unwrap_or_else(|| panic!("{method} {uri}: {answer:?}"));
        if path != "/api/v1/live" && path != "/sign-in" {
            assert!(answer.status.is_success(), "{method} {uri}: {answer:?}");
        }
        let media = answer.header("content-type").split(';').next().unwrap().to_owned();
        if let Some(content) = response["content"].as_object() {
            assert!(
                content.contains_key(&media),
                "{method} {uri} answers {media}, documented: {:?}",
                content.keys()
            );
        }
    }
}

/// The document that the server gives is the one that the command prints.
#[tokio::test]
async fn the_server_gives_its_own_document() {
    assert_eq!(Fixture::new().get("/api/v1/openapi.json").await.json(), document());
}

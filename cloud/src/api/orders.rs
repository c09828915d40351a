//! Orders to a vehicle: commands with what became of them, and its remote configuration. Giving one needs the API token:
//! a session belongs to somebody who looks.

use std::time::Duration;

use avl_shared::identity::VehicleKey;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::extract::VehiclePath;
use super::period::{Period, rfc3339};
use super::problem::{ApiError, Problem};
use super::state::ApiState;
use crate::fleet::control::{Action, CommandRecord, ConfigurationRecord};
use crate::time::now_utc;

const DEFAULT_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
const SHOWN: u32 = 100;
/// A longer result is fetched by itself.
const INLINE_BYTES: u64 = 32 * 1024;

/// A command to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"action": "locate", "expires_in_s": 3600}))]
pub(crate) struct NewCommand {
    /// `locate`, `interval`, `history`, `diagnostics`, `restart` or `update`.
    #[schema(example = "locate")]
    action: String,
    /// Seconds that it may wait for the vehicle; a day unless given.
    expires_in_s: Option<u64>,
    /// `interval`: only while the vehicle is `moving`, `stopped`, `parked` or `night`.
    profile: Option<String>,
    /// `interval`: the longest that a fix waits before it is sent, in seconds.
    latency_s: Option<f64>,
    /// `interval`: between two fixes that are kept, in seconds.
    interval_s: Option<f64>,
    /// `interval`: for so many seconds; until it is set otherwise unless given.
    for_s: Option<u64>,
    /// `history`: RFC 3339; belongs to the period.
    from: Option<String>,
    /// `history`: RFC 3339; does not belong to it.
    to: Option<String>,
    /// `update`: a release that was added before.
    version: Option<String>,
    /// `update`: the platform, where the release is there for several.
    target: Option<String>,
}

/// A command and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
pub(crate) struct CommandRow {
    #[schema(example = "019ae61c5d0-3f2a9c01")]
    id: String,
    #[schema(example = "locate")]
    action: String,
    /// `waiting` and `sent` (no answer yet), `accepted` (begun), `done`, `failed`, `refused` (by the vehicle's own
    /// configuration) or `expired`.
    #[schema(example = "done")]
    state: String,
    /// Cause and cure, where there is something to say.
    detail: String,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// When the state last changed.
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    /// Bytes of its result that have arrived; all of it once the state is `done`. The whole of it is at `…/result`.
    result_bytes: u64,
    /// The result itself, when it is JSON of up to 32 KiB and a single command was asked for.
    result: Option<serde_json::Value>,
}

impl From<CommandRecord> for CommandRow {
    fn from(record: CommandRecord) -> Self {
        Self {
            id: record.id,
            action: record.action,
            state: record.state,
            detail: record.detail,
            created_at: rfc3339(record.created_at),
            expires_at: rfc3339(record.expires_at),
            updated_at: rfc3339(record.updated_at),
            result_bytes: record.result_bytes,
            result: None,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Commands {
    /// The newest hundred, newest first.
    commands: Vec<CommandRow>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"toml": "uplink.latency = \"60s\"\n"}))]
pub(crate) struct NewConfiguration {
    /// Keys as in the gateway's file; empty: the gateway's own file alone.
    toml: String,
}

/// The newest configuration that was ordered for a vehicle.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Configuration)]
pub(crate) struct ConfigurationRow {
    /// Grows with each change; 0: none was ever ordered.
    #[schema(example = 3)]
    version: u64,
    toml: String,
    /// `none`, `waiting` and `sent` (no answer yet), `applied`, `rejected` (not used) or `rolled_back` (tried, and taken
    /// back because the link did not come back).
    #[schema(example = "applied")]
    state: String,
    /// Cause and cure, where there is something to say.
    detail: String,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
}

impl From<Option<ConfigurationRecord>> for ConfigurationRow {
    fn from(record: Option<ConfigurationRecord>) -> Self {
        match record {
            None => Self {
                version: 0,
                toml: String::new(),
                state: "none".to_owned(),
                detail: String::new(),
                created_at: None,
                updated_at: None,
            },
            Some(record) => Self {
                version: record.version,
                toml: record.toml,
                state: record.state,
                detail: record.detail,
                created_at: rfc3339(record.created_at),
                updated_at: rfc3339(record.updated_at),
            },
        }
    }
}

/// Give a vehicle a command
#[utoipa::path(
    post,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/commands",
    tag = "orders",
    operation_id = "giveCommand",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
    ),
    request_body = NewCommand,
    responses(
        (status = 201, description = "Given; it is delivered when the vehicle is connected", body = CommandRow),
        (status = 400, description = "Not a command", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A session is not enough", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle, or no such release", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Too many wait already", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn give(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    VehiclePath(vehicle): VehiclePath,
    body: Bytes,
) -> Result<(StatusCode, Json<CommandRow>), ApiError> {
    require_token(caller)?;
    let order: NewCommand = read(&body)?;
    let life = order.expires_in_s.map_or(DEFAULT_LIFE, Duration::from_secs);
    if life.is_zero() || life > LONGEST_LIFE {
        return Err(ApiError::BadOrder("expires_in_s must be from 1 to 7776000 (90 days)".to_owned()));
    }
    let record = state.control.order(&vehicle, action(order)?, life).await?;
    Ok((StatusCode::CREATED, Json(record.into())))
}

/// A vehicle's commands and what became of them
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/commands",
    tag = "orders",
    operation_id = "listCommands",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
    ),
    responses(
        (status = 200, description = "The newest hundred", body = Commands),
        (status = 400, description = "Not a vehicle's name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    VehiclePath(vehicle): VehiclePath,
) -> Result<Json<Commands>, ApiError> {
    let commands = state.control.commands(&vehicle, SHOWN).await?;
    Ok(Json(Commands { commands: commands.into_iter().map(Into::into).collect() }))
}

/// One command and what became of it
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/commands/{id}",
    tag = "orders",
    operation_id = "getCommand",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
        ("id" = String, Path, description = "The command's id", example = "019ae61c5d0-3f2a9c01"),
    ),
    responses(
        (status = 200, description = "The command", body = CommandRow),
        (status = 400, description = "Not a vehicle's name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle or command", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    Path(path): Path<(String, String, String)>,
) -> Result<Json<CommandRow>, ApiError> {
    let (vehicle, id) = named(path)?;
    let mut row = CommandRow::from(state.control.command(&vehicle, &id).await?);
    if (1..=INLINE_BYTES).contains(&row.result_bytes) {
        let result = state.control.result(&vehicle, &id).await?;
        row.result = result.and_then(|result| serde_json::from_slice(&result.bytes).ok());
    }
    Ok(Json(row))
}

/// What a command brought, such as a diagnostics bundle
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/commands/{id}/result",
    tag = "orders",
    operation_id = "getCommandResult",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
        ("id" = String, Path, description = "The command's id", example = "019ae61c5d0-3f2a9c01"),
    ),
    responses(
        (status = 200, description = "As the vehicle sent it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "Not a vehicle's name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle or command, or it brought nothing yet", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn result(
    State(state): State<ApiState>,
    Path(path): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let (vehicle, id) = named(path)?;
    let result = state.control.result(&vehicle, &id).await?.ok_or(ApiError::NoResult(id))?;
    // A vehicle's own words must not run in a browser: it is saved, not shown.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, result.bytes).into_response())
}

/// Lay keys over a vehicle's own configuration
#[utoipa::path(
    put,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/configuration",
    tag = "orders",
    operation_id = "putConfiguration",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
    ),
    request_body = NewConfiguration,
    responses(
        (status = 200, description = "Ordered; the vehicle tries it when it is connected", body = ConfigurationRow),
        (status = 400, description = "Not TOML, or too long", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A session is not enough", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn configure(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    VehiclePath(vehicle): VehiclePath,
    body: Bytes,
) -> Result<Json<ConfigurationRow>, ApiError> {
    require_token(caller)?;
    let NewConfiguration { toml } = read(&body)?;
    Ok(Json(Some(state.control.configure(&vehicle, toml).await?).into()))
}

/// The newest configuration that was ordered, and what became of it
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/configuration",
    tag = "orders",
    operation_id = "getConfiguration",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
    ),
    responses(
        (status = 200, description = "The configuration", body = ConfigurationRow),
        (status = 400, description = "Not a vehicle's name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn configuration(
    State(state): State<ApiState>,
    VehiclePath(vehicle): VehiclePath,
) -> Result<Json<ConfigurationRow>, ApiError> {
    Ok(Json(state.control.configuration(&vehicle).await?.into()))
}

fn require_token(caller: Caller) -> Result<(), ApiError> {
    if caller == Caller::Token { Ok(()) } else { Err(ApiError::TokenNeeded) }
}

fn named((fleet, vehicle, id): (String, String, String)) -> Result<(VehicleKey, String), ApiError> {
    Ok((VehicleKey { fleet: fleet.parse()?, vehicle: vehicle.parse()? }, id))
}

/// Whatever the content type says: a browser's form can not send it past the check of the origin anyway.
fn read<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::BadOrder(format!("the body is not what is wanted: {error}")))
}

fn action(order: NewCommand) -> Result<Action, ApiError> {
    let bad = |cause: &str| ApiError::BadOrder(cause.to_owned());
    let seconds = |name: &'static str, value: Option<f64>| {
        let value = value.map(Duration::try_from_secs_f64).transpose();
        value.map_err(|error| ApiError::BadOrder(format!("{name}: {error}")))
    };
    let action = match order.action.as_str() {
        "locate" => Action::Locate,
        "diagnostics" => Action::Diagnostics,
        "restart" => Action::Restart,
        "interval" => Action::Interval {
            profile: order.profile.unwrap_or_default(),
            latency: seconds("latency_s", order.latency_s)?,
            interval: seconds("interval_s", order.interval_s)?,
            until: order.for_s.map(|seconds| {
                now_utc().saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
            }),
        },
        "history" => {
            let (Some(from), Some(to)) = (&order.from, &order.to) else {
                return Err(bad("history needs 'from' and 'to'"));
            };
            let period = Period::parse(Some(from), Some(to))?;
            Action::History { from: period.from, to: period.to }
        }
        "update" => {
            let version = order.version.ok_or_else(|| bad("update needs 'version'"))?;
            let version =
                version.parse().map_err(|error: avl_shared::release::BadVersion| bad(&error.to_string()))?;
            Action::Update { version, target: order.target }
        }
        other => {
            let other: String = other.chars().take(40).collect();
            return Err(ApiError::BadOrder(format!(
                "action {other:?} is not known: use locate, interval, history, diagnostics, restart or update"
            )));
        }
    };
    action.validate().map_err(|error| bad(&error.to_string()))?;
    Ok(action)
}

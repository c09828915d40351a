//! Whether everything a vehicle recorded has arrived: of all time, or of a period.
//!
//! The ledger knows numbers, not times, and a fix that has not arrived has no known time. Within one epoch, though,
//! numbers are given in the order of recording, so a run of absent numbers happened between the received fix before
//! it and the received fix after it. A period is touched by that run when it overlaps the time between the two;
//! with no fix on one side that side is open. So a period is never called complete when it might not be.

mod account;

use std::collections::HashMap;

use avl_shared::identity::VehicleKey;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::account::Account;
use super::extract::{Parameters, VehiclePath};
use super::period::Period;
use super::problem::{ApiError, Problem};
use super::state::ApiState;
use crate::store::{EpochLedger, Store, StoreError};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompletenessParameters {
    /// Start of the period, which belongs to it: RFC 3339. Default: the first fix.
    #[param(format = DateTime, example = "2026-11-22T00:00:00Z")]
    from: Option<String>,
    /// End of the period, which does not belong to it: RFC 3339. Default: open.
    #[param(format = DateTime, example = "2026-11-23T00:00:00Z")]
    to: Option<String>,
}

/// What arrived, what is missing and what the vehicle gave up. Ranges are `[first, last]`, both included.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Completeness {
    /// Nothing is missing and nothing was lost.
    pub(crate) complete: bool,
    /// Fixes received, each counted once.
    #[schema(example = 86210)]
    pub(crate) received: u64,
    /// Fixes the vehicle has recorded that have neither arrived nor been declared lost: they may still come.
    #[schema(example = 180)]
    pub(crate) missing: u64,
    /// Fixes the vehicle has declared lost: they will not come.
    #[schema(example = 10)]
    pub(crate) lost: u64,
    /// One entry for each buffer the vehicle has had, oldest first. With a period, only those that touch it.
    pub(crate) epochs: Vec<EpochCompleteness>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EpochCompleteness {
    /// 8 hexadecimal digits.
    #[schema(example = "5f3a09c1")]
    pub(crate) epoch: String,
    /// Every number below it was given to a fix, as far as the cloud knows.
    #[schema(example = 86400)]
    pub(crate) next_sequence: u64,
    /// Received; with a period, those whose time lies in it.
    #[schema(example = json!([[0, 86209]]))]
    pub(crate) received: Vec<[u64; 2]>,
    /// Missing; with a period, those that may lie in it.
    #[schema(example = json!([[86220, 86399]]))]
    pub(crate) missing: Vec<[u64; 2]>,
    /// Declared lost; with a period, those that may lie in it.
    pub(crate) lost: Vec<LostRange>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LostRange {
    #[schema(example = 86210)]
    pub(crate) first: u64,
    /// Included.
    #[schema(example = 86219)]
    pub(crate) last: u64,
    /// Why the vehicle gave them up: buffer_full (its disk bound was reached), corruption (its storage was damaged),
    /// rejected (the cloud refused them for good), storage (its flash took no writes), thinned (a full buffer kept only the
    /// shape of the track; the fixes that it needs came again under later numbers) or unspecified.
    #[schema(example = "buffer_full")]
    pub(crate) reason: &'static str,
}

/// Whether everything the vehicle recorded has arrived
///
/// Without a period, the whole ledger. With one, received fixes count by their time. A run of absent fixes counts
/// when the period overlaps the time between the received fix before the run and the one after it (open where there
/// is none): missing fixes have no known time, so the answer errs on the side of incomplete.
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/completeness",
    tag = "vehicles",
    operation_id = "getCompleteness",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
        CompletenessParameters,
    ),
    responses(
        (status = 200, description = "The account", body = Completeness),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    VehiclePath(vehicle): VehiclePath,
    Parameters(parameters): Parameters<CompletenessParameters>,
) -> Result<Json<Completeness>, ApiError> {
    let period = Period::parse(parameters.from.as_deref(), parameters.to.as_deref())?;
    let ledgers = state.store.ledgers(&vehicle).await?;
    if ledgers.is_empty() && state.store.vehicle(&vehicle).await?.is_none() {
        return Err(ApiError::UnknownVehicle(vehicle));
    }
    let accounts = if period == Period::EVERYTHING {
        ledgers.iter().map(Account::of_all_time).collect()
    } else {
        of_period(&*state.store, &vehicle, &ledgers, period).await?
    };
    Ok(Json(Completeness::from_accounts(&accounts)))
}

async fn of_period(
    store: &dyn Store,
    vehicle: &VehicleKey,
    ledgers: &[EpochLedger],
    period: Period,
) -> Result<Vec<Account>, StoreError> {
    let mut received: HashMap<Epoch, RangeSet> =
        store.received_within(vehicle, period.from, period.to).await?.into_iter().collect();
    let mut accounts = Vec::new();
    for ledger in ledgers {
        let absent = account::absent(ledger);
        let neighbours = store.positions_at(vehicle, ledger.epoch, &account::neighbours(&absent)).await?;
        let received = received.remove(&ledger.epoch).unwrap_or_default();
        let account = Account::of_period(ledger, received, &account::touching(&absent, &neighbours, period));
        accounts.extend((!account.is_empty()).then_some(account));
    }
    Ok(accounts)
}

impl Completeness {
    fn from_accounts(accounts: &[Account]) -> Self {
        let sum = |count: fn(&Account) -> u64| accounts.iter().map(count).sum();
        let missing = sum(|account| account.missing.count());
        let lost = sum(|account| account.lost.iter().map(|(range, _)| range.count()).sum());
        Self {
            complete: missing == 0 && lost == 0,
            received: sum(|account| account.received.count()),
            missing,
            lost,
            epochs: accounts.iter().map(EpochCompleteness::from).collect(),
        }
    }
}

impl From<&Account> for EpochCompleteness {
    fn from(account: &Account) -> Self {
        let pairs = |set: &RangeSet| set.ranges().iter().map(|range| [range.first(), range.last()]).collect();
        Self {
            epoch: account.epoch.to_string(),
            next_sequence: account.next_sequence,
            received: pairs(&account.received),
            missing: pairs(&account.missing),
            lost: account.lost.iter().map(LostRange::from).collect(),
        }
    }
}

impl From<&(SequenceRange, LossReason)> for LostRange {
    fn from((range, reason): &(SequenceRange, LossReason)) -> Self {
        Self { first: range.first(), last: range.last(), reason: reason.name() }
    }
}

//! Walking through a vehicle's positions page by page: a reader of millions of rows holds one page.

use std::sync::Arc;

use avl_shared::identity::VehicleKey;

use super::super::period::Period;
use crate::store::{Position, PositionCursor, PositionQuery, Store, StoreError};

/// Some 1 MB of rows: large enough that the queries cost little, small enough for many exports at one time.
const ROWS: usize = 4000;

pub(super) struct Pages {
    store: Arc<dyn Store>,
    vehicle: VehicleKey,
    period: Period,
    /// `None` once the last page was read.
    next: Option<Start>,
}

enum Start {
    Begin,
    After(PositionCursor),
}

impl Pages {
    pub(super) fn new(store: Arc<dyn Store>, vehicle: VehicleKey, period: Period) -> Self {
        Self { store, vehicle, period, next: Some(Start::Begin) }
    }

    /// The next rows; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Position>, StoreError> {
        let after = match self.next.take() {
            None => return Ok(Vec::new()),
            Some(Start::Begin) => None,
            Some(Start::After(cursor)) => Some(cursor),
        };
        let query = PositionQuery {
            vehicle: self.vehicle.clone(),
            from: self.period.from,
            to: self.period.to,
            after,
            limit: ROWS,
        };
        let rows = self.store.positions(query).await?;
        if rows.len() == ROWS {
            self.next = rows.last().map(|row| Start::After(cursor_of(row)));
        }
        Ok(rows)
    }
}

pub(super) fn cursor_of(position: &Position) -> PositionCursor {
    PositionCursor { time: position.time(), epoch: position.epoch, sequence: position.sequence }
}

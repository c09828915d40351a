//! Where the uplink accounts for what it does: the month's ledger, and the view that people see.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::{Allowance, BudgetConfig};
use super::ledger::{Calendar, Ledger};
use super::{LinkView, Traffic};
use crate::health::View;

/// Clones share the same books.
#[derive(Clone, Debug)]
pub struct Desk {
    ledger: Arc<Mutex<Ledger>>,
    pub(super) view: View<LinkView>,
}

impl Desk {
    /// With the budget's account in `state_dir`. `traffic` is what the transports count in.
    #[must_use]
    pub fn new(
        view: View<LinkView>,
        budget: BudgetConfig,
        state_dir: &Path,
        traffic: Traffic,
        calendar: Calendar,
    ) -> Self {
        let ledger = Ledger::open(budget, state_dir, traffic, calendar);
        Self { ledger: Arc::new(Mutex::new(ledger)), view }
    }

    pub(super) fn allowance(&self) -> Allowance {
        self.ledger().judge()
    }

    /// Bytes and budget, as they stand.
    pub(super) fn show_use(&self) {
        let ledger = self.ledger();
        self.view.update(|view| view.show_use(&ledger));
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without a budget.
impl From<View<LinkView>> for Desk {
    fn from(view: View<LinkView>) -> Self {
        Self::new(view, BudgetConfig::default(), Path::new(""), Traffic::default(), Calendar::system())
    }
}

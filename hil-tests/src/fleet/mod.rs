//! A virtual fleet: many vehicles in one process, each with its own certificate from the real enrolment
//! endpoint, each speaking the real link protocol, each knowing every fix it emitted.
//!
//! They share nothing with the agent but the wire: their buffer is memory, so they are as durable as the
//! process that runs them. What they hold is resent until the cloud has acknowledged it.

mod enrolment;
mod mischief;
mod outbox;
mod vehicle;

pub use enrolment::{Desk, Identity, enrol};
pub use vehicle::{Conduct, Script, VirtualVehicle};

use std::net::SocketAddr;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use quinn::Endpoint;

use crate::oracle::truth::Truth;
use crate::process::Cloud;

/// Enrolments under way at once; each runs `avl-cloud token`.
const ENROLLING: usize = 4;

/// Vehicles `v-0001`, `v-0002` … of one fleet. Dropping it takes them off the road.
#[derive(Debug)]
pub struct Fleet {
    name: String,
    vehicles: Vec<VirtualVehicle>,
    endpoint: Endpoint,
}

impl Fleet {
    /// Enrols `count` vehicles and sends them on their way to `link` (the cloud's QUIC port, or a relay to it).
    /// `progress` hears how many are enrolled.
    ///
    /// # Errors
    /// When one cannot be enrolled.
    pub async fn launch(
        cloud: &Cloud,
        name: &str,
        count: usize,
        link: SocketAddr,
        script: Script,
        progress: impl FnMut(usize),
    ) -> anyhow::Result<Self> {
        let desk =
            Desk { data: cloud.data().to_owned(), url: cloud.enrolment_url(), database: cloud.database() };
        Self::launch_from(&desk, name, count, &[link], script, Conduct::Orderly, progress).await
    }

    /// As [`Fleet::launch`], where enrolment and links are processes of their own.
    ///
    /// # Errors
    /// When one cannot be enrolled.
    pub async fn launch_from(
        desk: &Desk,
        name: &str,
        count: usize,
        links: &[SocketAddr],
        script: Script,
        conduct: Conduct,
        mut progress: impl FnMut(usize),
    ) -> anyhow::Result<Self> {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).context("no UDP socket for the fleet")?;
        let mut vehicles = Vec::with_capacity(count);
        let mut enrolled = futures_util::stream::iter(1..=count)
            .map(|number| async move {
                let vehicle = format!("v-{number:04}");
                let token = desk.token(name, &vehicle).await?;
                let identity = enrol(&desk.url, &token).await.with_context(|| vehicle.clone())?;
                anyhow::Ok((number, vehicle, identity))
            })
            .buffer_unordered(ENROLLING);
        while let Some((number, vehicle, identity)) = enrolled.try_next().await? {
            let script = Script { seed: script.seed.wrapping_add(number as u64), ..script };
            let endpoint = endpoint.clone();
            let driving =
                VirtualVehicle::drive_off_to(&vehicle, &identity, endpoint, links, script, conduct)?;
            vehicles.push(driving);
            progress(vehicles.len());
        }
        vehicles.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(Self { name: name.to_owned(), vehicles, endpoint })
    }

    #[must_use]
    pub fn vehicles(&self) -> &[VirtualVehicle] {
        &self.vehicles
    }

    /// Fixes emitted so far by all.
    #[must_use]
    pub fn emitted(&self) -> u64 {
        self.vehicles.iter().map(VirtualVehicle::emitted).sum()
    }

    /// Fixes that the cloud has acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.vehicles.iter().map(VirtualVehicle::acknowledged).sum()
    }

    /// Vehicles with a link at the moment.
    #[must_use]
    pub fn linked(&self) -> usize {
        self.vehicles.iter().filter(|vehicle| vehicle.is_linked()).count()
    }

    /// Each vehicle as the API names it, and every fix it emitted.
    pub fn truth(&self) -> impl Iterator<Item = (String, Vec<Truth>)> {
        self.vehicles.iter().map(|vehicle| (format!("{}/{}", self.name, vehicle.name()), vehicle.truth()))
    }

    /// Asks every vehicle to stop driving, and waits until all it emitted is acknowledged.
    pub async fn park(&self) {
        for vehicle in &self.vehicles {
            vehicle.park();
        }
        self.parked().await;
    }

    /// Waits until every vehicle has come to the end of its script and all it emitted is acknowledged.
    pub async fn parked(&self) {
        for vehicle in &self.vehicles {
            vehicle.parked().await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.endpoint.close(0_u32.into(), b"");
    }
}

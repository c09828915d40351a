use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Packets in flight one way for one vehicle; more are lost, as in any router.
const QUEUE: usize = 1024;
/// A rate's packets wait no longer than this, as in a router; more are lost.
const LONGEST_QUEUE: Duration = Duration::from_secs(1);
/// Of IPv4 and UDP.
const HEADERS: u64 = 28;
/// No UDP datagram is longer.
const DATAGRAM: usize = 65_536;

/// What the link does to each packet, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Nothing passes.
    pub cut: bool,
    /// One way.
    pub delay: Duration,
    /// Part of the packets that vanish, 0 to 1.
    pub loss: f64,
}

#[derive(Debug)]
struct State {
    cloud: SocketAddr,
    impairment: Impairment,
    rng: StdRng,
    /// Of each way, for all vehicles together; 0 for no limit.
    bits_per_second: u64,
    /// When each way has carried what it took, up and down.
    busy_until: [Instant; 2],
    /// Raised when every vehicle shall be seen from a new address.
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Up,
    Down,
}

impl State {
    /// When the last bit of the packet has gone out; `None` when too much waits before it.
    fn carry(&mut self, way: Way, bytes: usize) -> Option<Instant> {
        let now = Instant::now();
        let bits = (bytes as u64 + HEADERS) * 8;
        let Some(micros) = (bits * 1_000_000).checked_div(self.bits_per_second) else { return Some(now) };
        let busy = &mut self.busy_until[way as usize];
        let begin = (*busy).max(now);
        if begin.duration_since(now) > LONGEST_QUEUE {
            return None;
        }
        *busy = begin + Duration::from_micros(micros);
        Some(*busy)
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    generation: watch::Sender<u64>,
    forwarded: AtomicU64,
    dropped: AtomicU64,
    rebinds: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the packet is due at the other side; `None` when it is lost.
    fn admit(&self, way: Way, bytes: usize) -> Option<Instant> {
        let mut state = self.state();
        let Impairment { cut, delay, loss } = state.impairment;
        let vanishes = cut || (loss > 0.0 && state.rng.random_bool(loss.min(1.0)));
        let carried = if vanishes { None } else { state.carry(way, bytes) };
        let counter = if carried.is_none() { &self.dropped } else { &self.forwarded };
        counter.fetch_add(1, Ordering::Relaxed);
        carried.map(|at| at + delay)
    }
}

/// Vehicles talk to [`Relay::address`]; the relay talks to the cloud. Dropping it takes the link away.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// # Errors
    /// When no socket can be bound.
    pub async fn to(cloud: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = front.local_addr()?;
        let state = State {
            cloud,
            impairment: Impairment::default(),
            rng: StdRng::seed_from_u64(seed),
            bits_per_second: 0,
            busy_until: [Instant::now(); 2],
            generation: 0,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            generation: watch::Sender::new(0),
            forwarded: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            rebinds: AtomicU64::new(0),
        });
        let task = tokio::spawn(run(Arc::new(front), Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, impairment: Impairment) {
        self.shared.state().impairment = impairment;
    }

    /// Bits a second each way, IP and UDP headers included; 0 for no limit.
    pub fn set_rate(&self, bits_per_second: u64) {
        self.shared.state().bits_per_second = bits_per_second;
    }

    /// From now on the cloud sees every vehicle from a new port, as after a NAT forgot its mapping.
    pub fn change_source_address(&self) {
        let generation = {
            let mut state = self.shared.state();
            state.generation += 1;
            state.generation
        };
        self.shared.generation.send_replace(generation);
    }

    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// How often a vehicle's packets really left from a new address.
    #[must_use]
    pub fn rebinds(&self) -> u64 {
        self.shared.rebinds.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A packet and when it is due.
type Due = (Instant, Vec<u8>);

async fn run(front: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut vehicles: HashMap<SocketAddr, mpsc::Sender<Due>> = HashMap::new();
    // Owns the vehicles' tasks, so that they end with this one.
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An error here is an ICMP report about an earlier packet; the socket stays good.
        let Ok((length, vehicle)) = front.recv_from(&mut buffer).await else { continue };
        let Some(due) = shared.admit(Way::Up, length) else { continue };
        let way_up = vehicles.entry(vehicle).or_insert_with(|| {
            let (sender, packets) = mpsc::channel(QUEUE);
            tasks.spawn(serve(vehicle, packets, Arc::clone(&front), Arc::clone(&shared)));
            sender
        });
        // A full queue loses the packet.
        let _ = way_up.try_send((due, buffer[..length].to_vec()));
    }
}

/// Both ways of one vehicle.
async fn serve(vehicle: SocketAddr, mut up: mpsc::Receiver<Due>, front: Arc<UdpSocket>, shared: Arc<Shared>) {
    let (down_sender, mut down) = mpsc::channel::<Due>(QUEUE);
    let mut generation = shared.generation.subscribe();
    generation.mark_unchanged();
    let mut bound_at = *generation.borrow();
    let Ok(mut back) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { return };
    let mut buffer = vec![0; DATAGRAM];
    let (mut next_up, mut next_down): (Option<Due>, Option<Due>) = (None, None);
    loop {
        tokio::select! {
            changed = generation.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            packet = up.recv(), if next_up.is_none() => match packet {
                Some(packet) => next_up = Some(packet),
                None => return,
            },
            packet = down.recv(), if next_down.is_none() => next_down = packet,
            () = until(&next_up) => {
                let newest = shared.state().generation;
                if newest != bound_at {
                    let Ok(fresh) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { return };
                    back = fresh;
                    bound_at = newest;
                    shared.rebinds.fetch_add(1, Ordering::Relaxed);
                }
                if let Some((_, packet)) = next_up.take() {
                    let cloud = shared.state().cloud;
                    let _ = back.send_to(&packet, cloud).await;
                }
            }
            () = until(&next_down) => if let Some((_, packet)) = next_down.take() {
                let _ = front.send_to(&packet, vehicle).await;
            },
            received = back.recv_from(&mut buffer) => {
                // Whoever answers: loopback has no strangers. Errors are reports of a closed port.
                if let Ok((length, _)) = received
                    && let Some(due) = shared.admit(Way::Down, length)
                {
                    let _ = down_sender.try_send((due, buffer[..length].to_vec()));
                }
            }
        }
    }
}

async fn until(packet: &Option<Due>) {
    match packet {
        Some((due, _)) => tokio::time::sleep_until(*due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each packet with the sender's port in front of it.
    async fn echo() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let answer = format!("{} {}", from.port(), String::from_utf8_lossy(&buffer[..length]));
                let _ = socket.send_to(answer.as_bytes(), from).await;
            }
        });
        address
    }

    async fn ask(client: &UdpSocket, text: &str) -> Option<(u16, String)> {
        client.send(text.as_bytes()).await.unwrap();
        let mut buffer = [0; 1500];
        let answer = tokio::time::timeout(Duration::from_millis(500), client.recv(&mut buffer)).await.ok()?;
        let answer = String::from_utf8_lossy(&buffer[..answer.unwrap()]).into_owned();
        let (port, text) = answer.split_once(' ').unwrap();
        Some((port.parse().unwrap(), text.to_owned()))
    }

    async fn client_of(relay: &Relay) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(relay.address()).await.unwrap();
        client
    }

    #[tokio::test]
    async fn packets_pass_both_ways_until_the_link_is_cut_and_again_when_it_is_back() {
        let relay = Relay::to(echo().await, 1).await.unwrap();
        let client = client_of(&relay).await;
        assert_eq!(ask(&client, "one").await.unwrap().1, "one");
        relay.set(Impairment { cut: true, ..Impairment::default() });
        assert_eq!(ask(&client, "two").await, None);
        relay.set(Impairment::default());
        assert_eq!(ask(&client, "three").await.unwrap().1, "three");
        assert_eq!(relay.dropped(), 1);
    }

    #[tokio::test]
    async fn a_changed_source_address_is_what_the_cloud_sees() {
        let relay = Relay::to(echo().await, 1).await.unwrap();
        let client = client_of(&relay).await;
        let (before, _) = ask(&client, "a").await.unwrap();
        assert_eq!(ask(&client, "b").await.unwrap().0, before);
        relay.change_source_address();
        assert_ne!(ask(&client, "c").await.unwrap().0, before);
        assert_eq!(relay.rebinds(), 1);
    }

    #[tokio::test]
    async fn a_rate_lets_packets_wait_for_each_other() {
        let relay = Relay::to(echo().await, 1).await.unwrap();
        let client = client_of(&relay).await;
        assert!(ask(&client, "bind the way back").await.is_some());
        // 1,028 bytes with headers are 8,224 bits: about a tenth of a second each way.
        relay.set_rate(82_240);
        let asked = Instant::now();
        assert!(ask(&client, &"x".repeat(1000)).await.is_some());
        assert!(asked.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn delay_delays_and_loss_loses() {
        let relay = Relay::to(echo().await, 7).await.unwrap();
        let client = client_of(&relay).await;
        relay.set(Impairment { delay: Duration::from_millis(40), ..Impairment::default() });
        let asked = Instant::now();
        assert!(ask(&client, "slow").await.is_some());
        assert!(asked.elapsed() >= Duration::from_millis(80));

        relay.set(Impairment { loss: 0.3, ..Impairment::default() });
        for _ in 0..300 {
            client.send(b"x").await.unwrap();
            tokio::task::yield_now().await;
        }
        let total = || relay.dropped() + relay.forwarded();
        while total() < 300 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let part = relay.dropped() as f64 / total() as f64;
        assert!((0.15..0.45).contains(&part), "{part} of the packets were lost");
    }
}

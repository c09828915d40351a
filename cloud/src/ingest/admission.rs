//! Who may begin a handshake: pure counting, by address and in all.

use std::collections::HashMap;
use std::net::IpAddr;

use super::settings::IngestSettings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Accept,
    /// Ask the sender to prove that it receives at its address; nothing is kept for it meanwhile.
    Retry,
    Refuse,
}

/// Counts handshakes and connections.
#[derive(Debug)]
pub(super) struct Gate {
    max_connections: usize,
    max_handshakes: usize,
    max_per_address: usize,
    connections: usize,
    handshakes: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Gate {
    pub(super) fn new(settings: &IngestSettings) -> Self {
        Self {
            max_connections: settings.max_connections,
            max_handshakes: settings.max_handshakes,
            max_per_address: settings.max_handshakes_per_address,
            connections: 0,
            handshakes: 0,
            by_address: HashMap::new(),
        }
    }

    /// Decides, and counts an accepted handshake until [`Gate::handshake_ended`].
    pub(super) fn knock(&mut self, address: IpAddr, validated: bool) -> Admission {
        let address = network_of(address);
        let from_here = self.by_address.get(&address).copied().unwrap_or(0);
        // A quarter of the limit is load: a forged address must not fill the rest of it.
        let loaded = self.handshakes >= self.max_handshakes / 4 || from_here >= self.max_per_address / 4;
        if loaded && !validated {
            return Admission::Retry;
        }
        let full = self.handshakes >= self.max_handshakes
            || self.connections + self.handshakes >= self.max_connections;
        if full || from_here >= self.max_per_address {
            return Admission::Refuse;
        }
        self.handshakes += 1;
        *self.by_address.entry(address).or_default() += 1;
        Admission::Accept
    }

    pub(super) fn handshake_ended(&mut self, address: IpAddr, connected: bool) {
        let address = network_of(address);
        self.handshakes = self.handshakes.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        self.connections += usize::from(connected);
    }

    pub(super) fn connection_ended(&mut self) {
        self.connections = self.connections.saturating_sub(1);
    }

    pub(super) fn connections(&self) -> usize {
        self.connections
    }
}

/// Who has one IPv6 address has a whole /64 of them.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn gate() -> Gate {
        Gate::new(&IngestSettings {
            max_connections: 20,
            max_handshakes: 16,
            max_handshakes_per_address: 8,
            ..IngestSettings::default()
        })
    }

    #[test]
    fn under_load_an_address_must_be_proven_first() {
        let mut gate = gate();
        assert_eq!(gate.knock(HERE, false), Admission::Accept);
        assert_eq!(gate.knock(HERE, false), Admission::Accept);
        assert_eq!(gate.knock(HERE, false), Admission::Retry);
        assert_eq!(gate.knock(HERE, true), Admission::Accept);
        assert_eq!(gate.knock(ELSEWHERE, false), Admission::Accept, "others are not asked");
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let mut gate = gate();
        for _ in 0..8 {
            assert_eq!(gate.knock(HERE, true), Admission::Accept);
        }
        assert_eq!(gate.knock(HERE, true), Admission::Refuse);
        assert_eq!(gate.knock(ELSEWHERE, true), Admission::Accept);
        gate.handshake_ended(HERE, false);
        assert_eq!(gate.knock(HERE, true), Admission::Accept);
    }

    #[test]
    fn connections_are_capped_and_places_come_back() {
        let mut gate = gate();
        for _ in 0..20 {
            assert_eq!(gate.knock(HERE, true), Admission::Accept);
            gate.handshake_ended(HERE, true);
        }
        assert_eq!(gate.knock(HERE, true), Admission::Refuse);
        gate.connection_ended();
        assert_eq!(gate.knock(HERE, true), Admission::Accept);
    }

    #[test]
    fn a_network_of_ipv6_addresses_counts_as_one() {
        let mut gate = gate();
        for last in 0..8 {
            assert_eq!(gate.knock(format!("2001:db8::{last}").parse().unwrap(), true), Admission::Accept);
        }
        assert_eq!(gate.knock("2001:db8::99".parse().unwrap(), true), Admission::Refuse);
        assert_eq!(gate.knock("2001:db8:0:1::1".parse().unwrap(), true), Admission::Accept);
    }
}

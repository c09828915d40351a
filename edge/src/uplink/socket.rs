//! UDP sockets that leave by one interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// A socket for packets to `remote`, by `interface` where one is named. Naming one needs Linux 5.7, or the capability
/// `CAP_NET_RAW` before it.
pub(super) fn open(remote: SocketAddr, interface: Option<&str>) -> io::Result<UdpSocket> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(name) = interface {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    Ok(socket.into())
}

/// The address that the kernel would send to `remote` from; `None` without a route. Sends nothing.
pub(super) fn local_ip(remote: SocketAddr, interface: Option<&str>) -> Option<IpAddr> {
    let socket = open(remote, interface).ok()?;
    socket.connect(remote).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_which_address_a_packet_would_leave_from() {
        let remote: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(local_ip(remote, None), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(local_ip(remote, Some("no-such-link")), None);
    }
}

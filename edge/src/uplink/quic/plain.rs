//! A UDP socket without ECN marks. With them each side counts the other's marks in every acknowledgement, three bytes a
//! packet: more than they are worth on a connection that sends one packet in half a minute. The cellular queue that they could
//! keep short is watched by the backlog's window.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};

#[derive(Debug)]
struct Plain(Arc<dyn AsyncUdpSocket>);

/// For an endpoint of quinn.
pub(super) fn plain(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(Arc::new(Plain(TokioRuntime.wrap_udp_socket(socket)?)))
}

impl AsyncUdpSocket for Plain {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Transmit { destination, contents, segment_size, src_ip, .. } = *transmit;
        self.0.try_send(&Transmit { destination, ecn: None, contents, segment_size, src_ip })
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.0.poll_recv(context, buffers, meta);
        if let Poll::Ready(Ok(count)) = received {
            meta.iter_mut().take(count).for_each(|one| one.ecn = None);
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

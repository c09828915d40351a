//! A connection that gives up on a client that stopped reading, and that holds its place until it is closed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

/// Writes fail with `TimedOut` once the client has taken nothing for the limit. Without this, whoever asks for an
/// export and stops reading holds a connection and a page of rows for as long as TCP lives.
pub(super) struct StallGuard<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write waits.
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    /// The place among the connections; an upgraded connection keeps it.
    _place: OwnedSemaphorePermit,
}

impl<S> StallGuard<S> {
    pub(super) fn new(stream: S, limit: Duration, place: OwnedSemaphorePermit) -> Self {
        Self { stream, limit, timer: Box::pin(sleep(limit)), waiting: false, _place: place }
    }

    fn judge<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "client stopped reading")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn guarded(
        buffer: usize,
    ) -> (StallGuard<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Semaphore>) {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let (ours, theirs) = tokio::io::duplex(buffer);
        (StallGuard::new(ours, LIMIT, place), theirs, places)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_but_reads_is_served() {
        let (mut stream, mut client, places) = guarded(10).await;
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            for _ in 0..10 {
                tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
                let mut part = [0; 10];
                client.read_exact(&mut part).await.unwrap();
                got.extend(part);
            }
            got
        });
        stream.write_all(&[7; 100]).await.unwrap();
        drop(stream);
        assert_eq!(reader.await.unwrap(), [7; 100]);
        assert_eq!(places.available_permits(), 1, "the place is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_given_up() {
        let (mut stream, _client, _places) = guarded(10).await;
        let begin = Instant::now();
        let error = stream.write_all(&[7; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() >= LIMIT);
    }
}

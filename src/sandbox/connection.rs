//! Connections that the server can cut without a word, as a network does.
//!
//! An HTTP server always answers; to fail like a network, it must be stopped from writing. Each connection carries a
//! switch that turns every further write into an error, upon which the server drops it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The switch of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Sever(Arc<AtomicBool>);

impl Sever {
    /// From now on nothing is written to the connection.
    pub(super) fn sever(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

/// Listens for connections that can be cut.
#[derive(Debug)]
pub(super) struct SeverableListener(pub(super) TcpListener);

impl SeverableListener {
    /// The next connection, and its switch.
    pub(super) async fn accept(&self) -> (SeverableStream, Sever) {
        loop {
            if let Ok((stream, _)) = self.0.accept().await {
                // Small answers must not wait for the peer's acknowledgement; without the option they are only slower.
                let _ = stream.set_nodelay(true);
                let switch = Sever::default();
                return (SeverableStream { stream, switch: switch.clone() }, switch);
            }
            // Most likely out of file descriptors: some will be closed soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A connection with its switch.
#[derive(Debug)]
pub(super) struct SeverableStream {
    stream: TcpStream,
    switch: Sever,
}

impl AsyncRead for SeverableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SeverableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.switch.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.switch.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

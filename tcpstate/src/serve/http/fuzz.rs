//! Fuzz target of the HTTP server: the bytes of one connection, and no tracer behind the server.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

use super::{
    AllowedHost, Hosts, Server,
    connections::{Connections, Phase},
    converse,
};
use crate::{
    serve::{LastReading, TracerHandle},
    view::metrics::reading_age,
};

/// A connection whose client has sent all bytes and has then closed its side.
struct Client<'a> {
    sent: &'a [u8],
    received: &'a mut Vec<u8>,
}

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.sent.split_at(self.sent.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.sent = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.received.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime with a timer needs no files");
}

/// Serves a connection with these bytes. Checks that the server sends only whole responses, and
/// that no response for another host contains a metric.
pub(crate) fn http(bytes: &[u8]) {
    let reading = LastReading::new(vec![reading_age(std::time::Duration::ZERO)], Instant::now());
    // No request may wait for a reading, so each request gets the last reading.
    let server = Arc::new(Server {
        tracer_handle: TracerHandle::without_tracer(Arc::new(reading)),
        hosts: Hosts::default(),
        connections: Connections::new(0),
    });
    let mut received = Vec::new();
    let client = Client { sent: bytes, received: &mut received };
    RUNTIME.with(|runtime| runtime.block_on(converse(client, &server, &Phase::default())));
    assert!(received.is_empty() || received.starts_with(b"HTTP/1."), "{received:?}");
    // The name of the other site cannot be part of an address or of an allowed name.
    if let Some(head) = only_head(bytes)
        && contains(&head.to_ascii_lowercase(), b"\r\nhost: evil.example\r\n")
    {
        assert!(!contains(&received, b"\ntcpstate_reading_age_seconds "), "{received:?}");
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(host) = text.parse::<AllowedHost>()
    {
        let host = format!("{host:?}");
        assert!(host.is_ascii(), "{host}");
    }
}

/// Returns the head of the only request, or `None` if more bytes follow the head. The parser also
/// takes a bare line feed for the end of a line, so an empty line can have one byte.
fn only_head(bytes: &[u8]) -> Option<&[u8]> {
    let end = |empty: &[u8]| {
        let at = bytes.windows(empty.len()).position(|window| window == empty)?;
        Some(at + empty.len())
    };
    let length = [end(b"\n\r\n"), end(b"\n\n")].into_iter().flatten().min().unwrap_or(bytes.len());
    (length == bytes.len()).then_some(bytes)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

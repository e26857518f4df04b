//! Serves metrics over HTTP/1.1. The number of connections, the size of headers and the duration of
//! every step are limited, because clients may be slow, broken or malicious.
//!
//! ```text
//! connections   decides which connections stay open
//! hosts         refuses requests that name another host, against DNS rebinding
//! body          sends one text to many clients without a copy
//! ```
//!
//! No request waits for other clients. At most `max_connections` scrapes wait for a new reading,
//! and further scrapes get the last reading at once. Requests for `/healthz` never wait.

mod body;
mod connections;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hosts;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

pub use self::hosts::{AllowedHost, Hosts};
use self::{
    body::Text,
    connections::{Connections, Phase},
};
use super::{TracerHandle, negotiation};

/// Maximum time in which the server waits for a request and reads the header of the request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Maximum duration of a connection. A client that needs a connection for a longer time must
/// connect again.
const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// How long a running request may continue after the connection has reached [`CONNECTION_TIME`].
const LAST_TIME: Duration = Duration::from_secs(2);
/// Maximum size of a request header in bytes.
const HEADER_BYTES: usize = 16 << 10;
/// Maximum number of lines in a request header.
const HEADER_LINES: usize = 64;
/// The number of connections that are accepted before the server reads from the new connections.
const BURST: u32 = 32;
/// The pause after a burst. In this pause, the server reads from the new connections.
const PAUSE: Duration = Duration::from_millis(1);

/// The response body for the path `/`.
const INDEX: &str = "tcpstate\n\n/metrics\n/healthz\n/readyz\n";

/// The tracer and the settings that all connections share.
struct Server {
    tracer_handle: TracerHandle,
    hosts: Hosts,
    connections: Connections,
}

/// Accepts and serves connections until the future is dropped.
pub async fn serve(
    listener: TcpListener,
    tracer_handle: TracerHandle,
    max_connections: usize,
    hosts: Hosts,
) {
    let connections = Connections::new(max_connections);
    let server = Arc::new(Server { tracer_handle, hosts, connections });
    let mut accepted = 0;
    loop {
        server.connections.make_room().await;
        match listener.accept().await {
            Ok((stream, _)) => admit(&server, stream),
            // The server could not accept a connection. The cause is that no file descriptor is
            // free, or that the client has already disconnected.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => {
                // Closing a connection frees a file descriptor.
                if !server.connections.close_one() {
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
        accepted += 1;
        if accepted % BURST == 0 {
            sleep(PAUSE).await;
        }
    }
}

/// Serves a new connection in a task of its own.
fn admit(server: &Arc<Server>, stream: TcpStream) {
    let slot = server.connections.add();
    let number = slot.number();
    let task = {
        let server = Arc::clone(server);
        tokio::spawn(async move {
            converse(stream, &server, &slot.phase).await;
            drop(slot);
        })
    };
    server.connections.set_task(number, task.abort_handle());
}

/// Answers the requests of one connection until either side closes the connection. The function
/// ignores connection errors, because a connection error affects only one client.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, server: &Server, phase: &Phase) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let mut response = respond(&request, server, phase).await;
        phase.set_idle();
        if server.connections.are_crowded() {
            // Other clients need the slot of this connection.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(HEADER_LINES)
        .max_buf_size(HEADER_BYTES)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    if timeout(CONNECTION_TIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_TIME, connection).await;
    }
}

async fn respond(request: &Request<Incoming>, server: &Server, phase: &Phase) -> Response<Text> {
    let path = request.uri().path();
    if !matches!(path, "/" | "/metrics" | "/healthz" | "/readyz") {
        return text(
            StatusCode::NOT_FOUND,
            "not found; the paths are /metrics, /healthz and /readyz\n",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/healthz" => health(server.tracer_handle.is_alive()),
        "/readyz" => health(is_ready(server, phase).await),
        _ => match server.hosts.check(request) {
            Err(refusal) => text(refusal.status(), refusal.to_string()),
            Ok(()) if path == "/metrics" => metrics(request, server, phase).await,
            Ok(()) => text(StatusCode::OK, INDEX),
        },
    }
}

/// Returns whether the counters can be read.
async fn is_ready(server: &Server, phase: &Phase) -> bool {
    let tracer_handle = &server.tracer_handle;
    if !tracer_handle.is_alive() {
        return false;
    }
    match server.connections.wait(phase) {
        Some(_waiting) => matches!(tracer_handle.scrape_or_last(None).await, Some(Ok(_))),
        None => tracer_handle.last().is_some(),
    }
}

async fn metrics(request: &Request<Incoming>, server: &Server, phase: &Phase) -> Response<Text> {
    let accept = request.headers().get_all(ACCEPT);
    let format = negotiation::format(accept.iter().filter_map(|line| line.to_str().ok()));
    let tracer_handle = &server.tracer_handle;
    let reading = match server.connections.wait(phase) {
        Some(_waiting) => tracer_handle.scrape_or_last(Some(format)).await,
        None => tracer_handle.last().map(Ok),
    };
    match reading {
        Some(Ok(reading)) => {
            let mut response = text(StatusCode::OK, reading.text(format));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            headers.insert(VARY, HeaderValue::from_static("Accept"));
            response
        }
        Some(Err(error)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "there is no reading yet\n"),
    }
}

fn health(is_well: bool) -> Response<Text> {
    if is_well {
        text(StatusCode::OK, "ok\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

fn text(status: StatusCode, body: impl Into<Text>) -> Response<Text> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

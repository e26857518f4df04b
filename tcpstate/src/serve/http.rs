//! Serves metrics over HTTP/1.1. The number of connections, the size of headers and the duration of
//! every step are limited, because clients may be slow, broken or malicious.
//!
//! If there are too many connections, the server closes the oldest connection that has no running
//! request.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{TracerHandle, negotiation};
use crate::view::metrics::Format;

/// Maximum time in which the server waits for a request and reads the header of the request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Maximum time for the response to a request. A snapshot takes about 30 ms. A scan of a million
/// sockets takes about a second.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Maximum duration of a connection. A client that needs a connection for a longer time must
/// connect again.
const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// How long a running request may continue after the connection has reached [`CONNECTION_TIME`].
const LAST_TIME: Duration = Duration::from_secs(2);
/// Maximum size of a request header in bytes.
const HEADER_BYTES: usize = 16 << 10;
/// Maximum number of lines in a request header.
const HEADER_LINES: usize = 64;

/// The response body for the path `/`.
const INDEX: &str = "tcpstate\n\n/metrics\n/healthz\n/readyz\n";

/// Accepts and serves connections until the future is dropped.
pub async fn serve(listener: TcpListener, tracer_handle: TracerHandle, max_connections: usize) {
    let connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.admit(stream, &tracer_handle, max_connections),
            // The server could not accept a connection. The cause is that no file descriptor is
            // free, or that the client has already disconnected.
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted) {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// The open connections of the server, ordered by age.
#[derive(Clone, Default)]
struct Connections(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    next: u64,
    by_age: BTreeMap<u64, Connection>,
}

struct Connection {
    /// Whether the server is answering a request of this connection.
    is_busy: Arc<AtomicBool>,
    task: Option<AbortHandle>,
}

/// The slot of a connection. Dropping a `ConnectionSlot` frees the slot of the connection.
struct ConnectionSlot {
    connections: Connections,
    number: u64,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.open().by_age.remove(&self.number);
    }
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a new connection. If there are `max` connections, the oldest connection without a
    /// running request is closed. If every open connection has a running request, the new
    /// connection is closed.
    fn admit(&self, stream: TcpStream, tracer_handle: &TracerHandle, max: usize) {
        let is_busy = Arc::new(AtomicBool::new(false));
        let mut open = self.open();
        if open.by_age.len() >= max {
            let idle = |connection: &&mut Connection| !connection.is_busy.load(Relaxed);
            // Skip connections that have no task. A connection without a task was already aborted,
            // but still occupies a slot.
            let oldest = open.by_age.values_mut().filter(idle).find_map(|it| it.task.take());
            let Some(task) = oldest else { return };
            task.abort();
        }
        let number = open.next;
        open.next += 1;
        let connection = Connection { is_busy: Arc::clone(&is_busy), task: None };
        open.by_age.insert(number, connection);
        drop(open);
        let slot = ConnectionSlot { connections: self.clone(), number };
        let tracer_handle = tracer_handle.clone();
        let task = tokio::spawn(async move {
            converse(stream, &tracer_handle, &is_busy).await;
            drop(slot);
        });
        if let Some(connection) = self.open().by_age.get_mut(&number) {
            connection.task = Some(task.abort_handle());
        }
    }
}

/// Answers the requests of one connection until either side closes the connection. The function
/// ignores connection errors, because a connection error affects only one client.
async fn converse(stream: TcpStream, tracer_handle: &TracerHandle, is_busy: &AtomicBool) {
    let service = service_fn(|request: Request<Incoming>| async move {
        is_busy.store(true, Relaxed);
        let response = respond(&request, tracer_handle).await;
        is_busy.store(false, Relaxed);
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

async fn respond(
    request: &Request<Incoming>,
    tracer_handle: &TracerHandle,
) -> Response<Full<Bytes>> {
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
        "/metrics" => metrics(request, tracer_handle).await,
        "/healthz" => {
            health(timeout(ANSWER_TIME, tracer_handle.ping()).await.is_ok_and(|it| it.is_ok()))
        }
        "/readyz" => {
            let scrape = timeout(ANSWER_TIME, tracer_handle.scrape(Format::Prometheus)).await;
            health(scrape.is_ok_and(|it| it.is_ok()))
        }
        _ => text(StatusCode::OK, INDEX),
    }
}

async fn metrics(
    request: &Request<Incoming>,
    tracer_handle: &TracerHandle,
) -> Response<Full<Bytes>> {
    let accept = request.headers().get_all(ACCEPT);
    let format = negotiation::format(accept.iter().filter_map(|line| line.to_str().ok()));
    match timeout(ANSWER_TIME, tracer_handle.scrape(format)).await {
        Ok(Ok(metrics)) => {
            let mut response = text(StatusCode::OK, metrics);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            headers.insert(VARY, HeaderValue::from_static("Accept"));
            response
        }
        Ok(Err(error)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "no snapshot within 10 seconds\n"),
    }
}

fn health(is_well: bool) -> Response<Full<Bytes>> {
    if is_well {
        text(StatusCode::OK, "ok\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

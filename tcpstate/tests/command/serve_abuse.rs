//! Tests `tcpstate serve` with faulty and malicious clients. The server must keep running and serve
//! other clients, whatever one client does.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tcpstate_tests::{emulated::scaled, netns::Namespace, stopped::StoppedThread, wait};

use super::served::{PATIENCE, Server, serve};

/// While this value exists, this process and its children may open more files than by default.
/// Dropping the value restores the previous limit.
struct Raised {
    before: (rlim_t, rlim_t),
}

impl Raised {
    fn to(needed: rlim_t) -> Option<Self> {
        let before = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit exists");
        let (soft, hard) = (needed.max(before.0), needed.max(before.1));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).is_ok().then_some(Self { before })
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        let (soft, hard) = self.before;
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("limits can be lowered");
    }
}

fn assert_serves(server: &mut Server, after: &str) {
    let response = server.get("/metrics", "");
    assert_eq!(response.status, 200, "after {after}: {response:?}");
    assert!(server.is_running(), "after {after}: {}", server.said());
}

#[test]
fn serve_refuses_requests_that_are_not_for_metrics() {
    let _namespace = Namespace::enter();
    let mut server = Server::start(&mut serve(&[]));
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let header = |lines: &str| {
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n")
    };
    let many_lines = "X-Many: y\r\n".repeat(1000);
    for (what, request, statuses) in [
        ("the index", get("/"), &[200][..]),
        ("a query", get("/metrics?name[]=tcpstate_exact"), &[200]),
        ("the whole URL", get("http://127.0.0.1/metrics"), &[200]),
        ("the whole URL of another host", get("http://elsewhere/metrics"), &[421]),
        ("another host", "GET /metrics HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n".into(), &[421]),
        ("another host of the index", "GET / HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n".into(), &[421]),
        ("another host's health", "GET /healthz HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n".into(), &[200]),
        ("two hosts", header("Host: localhost\r\n"), &[400]),
        ("no host", "GET /metrics HTTP/1.0\r\n\r\n".into(), &[200]),
        ("another path", get("/metrics/"), &[404]),
        ("two slashes", get("//metrics"), &[404]),
        ("a way up", get("/metrics/../../etc/passwd"), &[404]),
        ("a hidden way up", get("/%2e%2e/%2e%2e/etc/passwd"), &[404]),
        ("letters in disguise", get("/%6detrics"), &[404]),
        ("a zero", get("/metrics\0"), &[400]),
        ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), &[404, 405]),
        ("a post", "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".into(), &[405]),
        ("a tunnel", "CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), &[404, 405]),
        ("a long path", get(&format!("/{}", "a".repeat(1 << 20))), &[400, 414, 431]),
        ("a long header", header(&format!("X: {}\r\n", "y".repeat(1 << 20))), &[431]),
        ("many headers", header(&many_lines), &[431]),
        ("garbage", "\x16\x03\x01\x02\x00 this is TLS, or not\r\n\r\n".into(), &[400]),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &[400, 505]),
        ("HTTP/0.9", "GET /metrics\r\n\r\n".into(), &[400]),
        ("two lengths", header("Content-Length: 3\r\nContent-Length: 4\r\n"), &[400]),
        ("a bad length", header("Content-Length: -1\r\n"), &[400]),
    ] {
        match server.send(request.as_bytes()) {
            Ok(response) => assert!(statuses.contains(&response.status), "{what}: {response:?}"),
            // The read fails if the server closes the connection before the server has read the
            // whole request, because such a close resets the connection.
            Err(error) => assert!(statuses[0] >= 400, "{what}: {error}"),
        }
        assert_serves(&mut server, what);
    }
    let head =
        server.send(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let head = head.expect("it answers");
    assert!(head.status == 200 && head.body.is_empty() && head.header.contains("content-length: "));
}

#[test]
fn serve_answers_pipelined_requests_and_then_refuses_garbage() {
    let _namespace = Namespace::enter();
    let mut server = Server::start(&mut serve(&[]));
    let mut stream = server.connect();
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream
        .write_all(format!("{}\0\0garbage\r\n\r\n", request.repeat(20)).as_bytes())
        .expect("sent");
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("it answers and closes");
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 20, "{all}");
    assert_eq!(all.matches("HTTP/1.1 400").count(), 1, "{all}");
    assert_serves(&mut server, "garbage");
}

#[test]
fn serve_answers_while_thousands_of_connections_hang() {
    let wanted = scaled(10_000);
    let needed = wanted + 200;
    let Some(_raised) = Raised::to(needed) else {
        println!("skipped: this process may not open {needed} files");
        return;
    };
    let _namespace = Namespace::enter();
    let mut server = Server::start(&mut serve(&[]));
    let descriptors = |server: &Server| {
        fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count()
    };
    let before = descriptors(&server);
    // Half of the connections send the beginning of a request. One connection in a hundred sends a
    // request and never reads the response. The remaining connections send nothing.
    let hang = |number: u64| -> TcpStream {
        let mut stream = server.connect();
        let beginning: &[u8] = match number % 100 {
            0 => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            odd if odd % 2 == 1 => b"GET /metrics HTTP/1.1\r\nX-Slow: ",
            _ => b"",
        };
        // Ignore errors, because the server may have closed this connection for a newer connection.
        let _ = stream.write_all(beginning);
        stream
    };
    let mut hanging = Vec::new();
    for number in 0..wanted {
        hanging.push(hang(number));
        if number % (wanted / 5) == 0 {
            let asked = Instant::now();
            let response = server.get("/metrics", "");
            assert_eq!(response.status, 200, "with {number} hanging connections: {response:?}");
            println!("{number} hanging connections: answered in {:?}", asked.elapsed());
        }
    }
    assert_serves(&mut server, "all of them");
    let open = descriptors(&server);
    // The default of --max-connections, and the reserve for requests that do not wait.
    assert!(open <= before + 512 + 128 + 2, "{open} files are open, {before} were before");
    drop(hanging);
    wait::until_within(PATIENCE, "its descriptors to be as few as before", || {
        descriptors(&server) <= before
    });
    assert!(server.end().success());
}

/// Clients that ask for `/metrics` without a pause, until the value is dropped. Half of the clients
/// keep their connection, and the others connect for each request.
struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Hogs {
    fn start(number: u64, address: SocketAddr, host: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |number: u64| {
            let stop = Arc::clone(&stop);
            let close = if number.is_multiple_of(2) { "" } else { "Connection: close\r\n" };
            let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n{close}\r\n");
            let builder = thread::Builder::new().stack_size(128 << 10);
            builder.spawn(move || hog(&stop, address, &request)).expect("a thread can start")
        };
        let threads = (0..number).map(start).collect();
        Self { stop, threads }
    }

    /// Stops all clients. Returns the number of answers that the clients got.
    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    }
}

/// Sends a request again and again. Ignores errors, because the server may close a connection.
fn hog(stop: &AtomicBool, address: SocketAddr, request: &str) -> u64 {
    let mut answers = 0;
    let mut buffer = vec![0; 1 << 16];
    while !stop.load(Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        while !stop.load(Relaxed) {
            match stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut buffer)) {
                Ok(1..) => answers += 1,
                _ => break,
            }
        }
    }
    answers
}

#[test]
fn serve_answers_health_and_polite_clients_among_hundreds_that_never_pause() {
    let _namespace = Namespace::enter();
    let clients = scaled(500);
    for (max, host) in [("512", "localhost"), ("16", "localhost"), ("16", "elsewhere")] {
        let mut server = Server::start(&mut serve(&["--max-connections", max]));
        let hogs = Hogs::start(clients, server.address, host);
        let mut times: Vec<_> = (0..100)
            .map(|_| {
                let asked = Instant::now();
                let response = server.get("/healthz", "");
                assert_eq!(response.status, 200, "{response:?}");
                asked.elapsed()
            })
            .collect();
        times.sort();
        for _ in 0..20 {
            let found = server.get("/metrics", "");
            assert_eq!(found.status, 200, "{found:?}");
            assert_eq!(server.get("/readyz", "").status, 200);
        }
        let answers = hogs.stop();
        println!(
            "{clients} clients, --max-connections {max}, {host}: {answers} answers; /healthz took \
             {:?} (median), {:?} (maximum)",
            times[50], times[99]
        );
        assert_serves(&mut server, "the hogs");
        assert!(server.end().success());
    }
}

#[test]
fn serve_answers_with_the_last_reading_while_the_tracer_is_busy() {
    let _namespace = Namespace::enter();
    let server = Server::start(&mut serve(&[]));
    let age = || server.metrics()["tcpstate_reading_age_seconds"];
    assert!(age() < 1.0, "a new reading");
    let stopped = StoppedThread::new(server.pid(), "tracer");
    assert_eq!(server.get("/healthz", "").status, 200);
    assert_eq!(server.get("/readyz", "").status, 200);
    let first = age();
    let second = age();
    assert!(first > 0.5 && second > first, "{first}, {second}");
    let open = server.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(open.body.ends_with("\n# EOF\n"), "{}", open.body);
    assert!(open.body.contains("\ntcpstate_reading_age_seconds "), "{}", open.body);
    drop(stopped);
    wait::until_within(PATIENCE, "a new reading", || age() < 0.5);
    assert!(server.end().success());
}

#[test]
fn serve_answers_for_hosts_that_are_allowed() {
    let _namespace = Namespace::enter();
    let server = Server::start(&mut serve(&["--allow-host", "node5,*.mesh.local"]));
    let status = |host: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.send(request.as_bytes()).expect("it answers")
    };
    for host in ["node5:80", "a.mesh.local", "[::1]:80", "192.0.2.1", "localhost"] {
        assert_eq!(status(host).status, 200, "{host}");
    }
    let refused = status("rebound.example:9919");
    assert_eq!(refused.status, 421, "{refused:?}");
    let expected = "cannot answer for the host rebound.example:9919: it is not an allowed name\n\
         help: ask by IP address, or run tcpstate serve with --allow-host NAME\n";
    assert_eq!(refused.body, expected);
}

#[test]
fn serve_answers_many_at_once_with_few_readings() {
    let _namespace = Namespace::enter();
    let server = Server::start(&mut serve(&["--max-connections", "1000"]));
    let scrapers = scaled(500);
    let answered: usize = thread::scope(|scope| {
        let ask = || usize::from(server.get("/metrics", "").status == 200);
        let threads: Vec<_> = (0..scrapers).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    assert_eq!(answered as u64, scrapers);
    assert!(server.end().success());
}

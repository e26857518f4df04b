//! Tests `tcpstate serve` with faulty and malicious clients. The server must keep running and serve
//! other clients, whatever one client does.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Instant,
};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tcpstate_tests::{emulated::scaled, netns::Namespace, wait};

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
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let header = |lines: &str| {
        format!("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n")
    };
    let many_lines = "X-Many: y\r\n".repeat(1000);
    for (what, request, statuses) in [
        ("the index", get("/"), &[200][..]),
        ("a query", get("/metrics?name[]=tcpstate_exact"), &[200]),
        ("the whole URL", get("http://elsewhere/metrics"), &[200]),
        ("another path", get("/metrics/"), &[404]),
        ("two slashes", get("//metrics"), &[404]),
        ("a way up", get("/metrics/../../etc/passwd"), &[404]),
        ("a hidden way up", get("/%2e%2e/%2e%2e/etc/passwd"), &[404]),
        ("letters in disguise", get("/%6detrics"), &[404]),
        ("a zero", get("/metrics\0"), &[400]),
        ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), &[404, 405]),
        ("a post", "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".into(), &[405]),
        ("a tunnel", "CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), &[404, 405]),
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
    let head = server.send(b"HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let head = head.expect("it answers");
    assert!(head.status == 200 && head.body.is_empty() && head.header.contains("content-length: "));
}

#[test]
fn serve_answers_pipelined_requests_and_then_refuses_garbage() {
    let _namespace = Namespace::enter();
    let mut server = Server::start(&mut serve(&[]));
    let mut stream = server.connect();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
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
            0 => b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
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
    assert!(open <= before + 130, "{open} files are open, {before} were before");
    drop(hanging);
    wait::until_within(PATIENCE, "its descriptors to be as few as before", || {
        descriptors(&server) <= before
    });
    assert!(server.end().success());
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

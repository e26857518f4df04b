//! Starts `tcpstate serve`, and sends requests to the server.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use tcpstate_common::State;

use crate::{command, wait};

/// The maximum wait for a server, which is far longer than any operation takes, even on an emulated
/// machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A command that runs `serve` of this program on a port that the kernel chooses.
#[must_use]
pub fn serve(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
    command
}

/// A running server. The process is killed when this value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The address on which the server listens.
    pub address: SocketAddr,
    said: Arc<Mutex<String>>,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header, in lower case.
    pub header: String,
    /// The body.
    pub body: String,
}

/// Series and their values. For example, the value of `tcpstate_exact` is 1.
pub type Metrics = BTreeMap<String, f64>;

impl Server {
    /// Starts the server, and returns when the server has begun to count.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut before = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {before}"));
            let line = line.expect("stderr is text");
            if let Some(url) = line.strip_prefix("tcpstate: serving http://") {
                let address = url.strip_suffix("/metrics").expect("that is the path");
                break address.parse().expect("it is an address");
            }
            before.push_str(&line);
        };
        let said = Arc::new(Mutex::new(before));
        let all = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut said = all.lock().expect("nobody panics with it");
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child, address, said }
    }

    /// Returns the text that the server has printed on stderr until now.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }

    /// The process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection with a read timeout.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        stream
    }

    /// Sends one GET request on a new connection.
    #[must_use]
    pub fn get(&self, path: &str, header: &str) -> Response {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n");
        self.send(request.as_bytes()).expect("it answers")
    }

    /// Sends bytes and returns the first response. The result is an error if the connection was
    /// closed without a response.
    pub fn send(&self, request: &[u8]) -> io::Result<Response> {
        let mut stream = self.connect();
        // The server may refuse the request before it has read all bytes.
        let _ = stream.write_all(request);
        let mut response = Vec::new();
        let read = stream.read_to_end(&mut response);
        parse(&response).ok_or_else(|| read.err().unwrap_or(io::ErrorKind::UnexpectedEof.into()))
    }

    /// All current metrics.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let response = self.get("/metrics", "");
        assert_eq!(response.status, 200, "{response:?}");
        metrics(&response.body)
    }

    /// Returns the metrics after all gauges have become exact. The server may run scans until the
    /// gauges are exact.
    #[must_use]
    pub fn exact_metrics(&self) -> Metrics {
        let mut last = Metrics::new();
        wait::until_within(PATIENCE, "exact gauges", || {
            last = self.metrics();
            last["tcpstate_exact"] == 1.0
        });
        last
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) {
        command::signal(&self.child, signal);
    }

    /// Requests a scan, and returns when the scan is finished.
    pub fn scan(&self) {
        let scans = |it: &Self| it.metrics()["tcpstate_reconciles_total"];
        let before = scans(self);
        self.signal(Signal::SIGHUP);
        wait::until_within(PATIENCE, "a scan", || scans(self) > before);
    }

    /// Sends SIGTERM to the server, as a service manager does.
    #[must_use]
    pub fn end(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let mut status = None;
        wait::until_within(PATIENCE, "its end", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Returns whether the server still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(response: &[u8]) -> Option<Response> {
    let text = String::from_utf8_lossy(response);
    let (header, body) = text.split_once("\r\n\r\n")?;
    let status = header.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, header: header.to_ascii_lowercase(), body: body.to_owned() })
}

/// Returns the samples of a text in the Prometheus exposition format.
#[must_use]
pub fn metrics(text: &str) -> Metrics {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        (series.to_owned(), value.parse().expect("the value is a number"))
    };
    samples.map(sample).collect()
}

/// Returns the metrics without the series of listeners. A listener has a series only while it
/// listens, unless it has dropped packets.
#[must_use]
pub fn without_listeners(mut metrics: Metrics) -> Metrics {
    metrics.retain(|series, _| !series.starts_with("tcpstate_listen_drops_total{"));
    metrics
}

/// Returns the number of sockets of both families in a state, when the gauges are exact.
#[must_use]
pub fn sockets(server: &Server, state: State) -> f64 {
    let metrics = server.exact_metrics();
    let series =
        |family| format!("tcpstate_connections{{state=\"{}\",family=\"{family}\"}}", state.label());
    metrics[&series("ipv4")] + metrics[&series("ipv6")]
}

/// Returns the path of a program from Debian's package `prometheus`. The function searches for the
/// program in `PATH` and in the directory `TCPSTATE_TEST_PROMETHEUS`. If the program is missing,
/// the function prints why the test is skipped.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let lists = ["TCPSTATE_TEST_PROMETHEUS", "PATH"].into_iter().filter_map(env::var_os);
    let folders = lists.flat_map(|list| env::split_paths(&list).collect::<Vec<_>>());
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: no {name} on this machine: it is in Debian's package prometheus");
    }
    found
}

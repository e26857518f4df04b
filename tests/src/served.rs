//! A running `tcpstate serve`, and what a tracer_handle gets from it.
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

use crate::{command, wait};

/// For whatever is awaited from a server; far more than anything takes, in an emulated machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A command that has this program serve on a port of the kernel's choice.
#[must_use]
pub fn serve(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
    command
}

/// One that runs, until it is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    said: Arc<Mutex<String>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The number in its first line.
    pub status: u16,
    /// The header, in lower case.
    pub header: String,
    /// What follows the header.
    pub body: String,
}

/// Series and their numbers: `tcpstate_exact` is 1.
pub type Metrics = BTreeMap<String, f64>;

impl Server {
    /// Starts it, and returns when it counts.
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

    /// What it said on stderr up to now.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection that nobody waits for in vain.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        stream
    }

    /// Asks once, on a connection of its own.
    #[must_use]
    pub fn get(&self, path: &str, header: &str) -> Response {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{header}\r\n");
        self.send(request.as_bytes()).expect("it answers")
    }

    /// Sends bytes, and returns the first response. An error is a connection that was closed without one.
    pub fn send(&self, request: &[u8]) -> io::Result<Response> {
        let mut stream = self.connect();
        // It may refuse before it has read all.
        let _ = stream.write_all(request);
        let mut response = Vec::new();
        let read = stream.read_to_end(&mut response);
        parse(&response).ok_or_else(|| read.err().unwrap_or(io::ErrorKind::UnexpectedEof.into()))
    }

    /// All metrics as of now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let response = self.get("/metrics", "");
        assert_eq!(response.status, 200, "{response:?}");
        metrics(&response.body)
    }

    /// The metrics when the gauges are exact, by scans if need be.
    #[must_use]
    pub fn exact_metrics(&self) -> Metrics {
        let mut last = Metrics::new();
        wait::until_within(PATIENCE, "exact gauges", || {
            last = self.metrics();
            last["tcpstate_exact"] == 1.0
        });
        last
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        command::signal(&self.child, signal);
    }

    /// Has it make a scan, and returns when it is done.
    pub fn scan(&self) {
        let scans = |it: &Self| it.metrics()["tcpstate_reconciles_total"];
        let before = scans(self);
        self.signal(Signal::SIGHUP);
        wait::until_within(PATIENCE, "a scan", || scans(self) > before);
    }

    /// ReasonCounts it as a service manager does.
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

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
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

/// The samples of a text.
#[must_use]
pub fn metrics(text: &str) -> Metrics {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        (series.to_owned(), value.parse().expect("the value is a number"))
    };
    samples.map(sample).collect()
}

/// A program of Debian's package `prometheus`, on the `PATH` or in the folder that `TCPSTATE_TEST_PROMETHEUS` names; else a
/// word on why the test is skipped.
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

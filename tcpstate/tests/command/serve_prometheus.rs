//! Tests `tcpstate serve` with a real Prometheus server that scrapes while traffic runs. The
//! results of Prometheus queries must be equal to the kernel's counts. The alerts must load and
//! pass their tests, and each query of the dashboard must return data.
//!
//! The Prometheus server is the Debian package `prometheus`. The programs of this package are in
//! the `PATH` or in the folder that `TCPSTATE_TEST_PROMETHEUS` names. Traffic runs for two seconds,
//! or for `TCPSTATE_TEST_SECONDS` seconds.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tcpstate_common::State;
use tcpstate_tests::{
    netns::{Namespace, Place},
    traffic::{Load, Mixed, Style},
    truth, wait,
};

use super::served::{PATIENCE, Server, program, serve};

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");

/// A running Prometheus server. Dropping the value kills the server.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(program: &Path, folder: &Path, scraped: SocketAddr) -> Self {
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [\"{PACKAGING}/prometheus/tcpstate.rules.yml\"]\n\
             scrape_configs:\n\
             - job_name: tcpstate\n  static_configs: [{{targets: [\"{scraped}\"]}}]\n"
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).expect("the folder can be written to");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.expect("there is a free port");
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let server = Self { child, address };
        wait::until_within(PATIENCE, "Prometheus to be ready", || {
            server.ask("GET /-/ready", "").is_some_and(|answer| answer.contains(" 200 OK\r\n"))
        });
        server
    }

    fn ask(&self, request: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let length = body.len();
        let form = "Content-Type: application/x-www-form-urlencoded";
        let header = format!("Host: p\r\nConnection: close\r\n{form}\r\nContent-Length: {length}");
        // Use HTTP/1.0, so that the response is not chunked.
        write!(stream, "{request} HTTP/1.0\r\n{header}\r\n\r\n{body}").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn json(&self, request: &str, body: &str) -> Value {
        let answer = self.ask(request, body).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a header and a body");
        let value: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(value["status"], "success", "{request} {body}: {value}");
        value["data"].clone()
    }

    /// Returns the current samples of a query.
    fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String =
            query.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
        let data = self.json("POST /api/v1/query", &format!("query={encoded}"));
        data["result"].as_array().expect("it is a list").clone()
    }

    /// Returns the current value of a query whose result has exactly one sample.
    fn number(&self, query: &str) -> Option<f64> {
        match &self.query(query)[..] {
            [sample] => sample["value"][1].as_str().and_then(|number| number.parse().ok()),
            _ => None,
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the series by owner, added up, are the sockets of each state. On some kernels BPF
/// programs silently miss events. The sums may be wrong by the number of missed events that
/// tcpstate itself reports.
fn await_sums(prometheus: &Prometheus, place: &Place) {
    for state in State::GAUGES {
        for key in ["process", "remote_port"] {
            let label = state.label();
            let query = format!("sum(tcpstate_{key}_connections{{state=\"{label}\"}})");
            let equals = || {
                let there = place.inside(truth::ss)[state] as f64;
                let missed = prometheus.number("tcpstate_groups_missed_events_total");
                let sum = prometheus.number(&query);
                sum.zip(missed).is_some_and(|(sum, missed)| (sum - there).abs() <= missed)
            };
            wait::until_within(PATIENCE, &query, equals);
        }
    }
}

#[test]
fn serve_is_scraped_by_prometheus() {
    let Some(program) = program("prometheus") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let _namespace = Namespace::enter();
    let place = Place::new();
    let netns = format!("path:{}", place.path().display());
    let keys = ["--by", "process", "--by", "remote-port", "--netns", &netns];
    let server = Server::start(&mut serve(&keys));
    let prometheus = Prometheus::start(&program, folder.path(), server.address);
    wait::until_within(PATIENCE, "the first scrape", || {
        !prometheus.query("tcpstate_exact").is_empty()
    });
    let seconds = env::var("TCPSTATE_TEST_SECONDS").ok().and_then(|text| text.parse().ok());
    let load = place.inside(|| Load::start(2, Style::Mixed));
    thread::sleep(Duration::from_secs(seconds.unwrap_or(2)));
    assert!(load.stop() > 0);
    let mixed = place.inside(|| Mixed::open(1000));
    // Scan to correct the gauges, because on some kernels BPF programs silently miss events.
    server.scan();
    for (family, flag) in [("ipv4", "-4"), ("ipv6", "-6")] {
        for state in State::GAUGES {
            let query =
                format!("tcpstate_connections{{state=\"{}\",family=\"{family}\"}}", state.label());
            // Read the value of the query and the kernel's count again until they are equal,
            // because sockets in TIME_WAIT still expire.
            let equals = || {
                let there = place.inside(|| truth::ss_filtered(&[flag]))[state] as f64;
                prometheus.number(&query) == Some(there)
            };
            wait::until_within(PATIENCE, &query, equals);
        }
    }
    await_sums(&prometheus, &place);
    let own = server.metrics();
    for (series, count) in
        own.iter().filter(|(series, _)| series.starts_with("tcpstate_transitions_total"))
    {
        let equals = || prometheus.number(series) == Some(*count);
        wait::until_within(PATIENCE, series, equals);
    }
    assert!(prometheus.number("sum(rate(tcpstate_transitions_total[1m]))") > Some(0.0));
    let rules = prometheus.json("GET /api/v1/rules", "");
    for group in rules["groups"].as_array().expect("it is a list") {
        for rule in group["rules"].as_array().expect("it is a list") {
            assert!(rule["health"] != "err", "{rule}");
        }
    }
    for query in dashboard() {
        assert!(!prometheus.query(&query).is_empty(), "the dashboard's {query} has no data");
    }
    drop(mixed);
}

/// Returns the queries of the dashboard. The function replaces the dashboard's variables: queries
/// select all instances, and rates are over one minute.
fn dashboard() -> Vec<String> {
    let text =
        fs::read_to_string(format!("{PACKAGING}/grafana/tcpstate.json")).expect("it is there");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels").clone();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("queries"));
    let query = |target: &Value| {
        let query = target["expr"].as_str().expect("a query");
        query.replace("$instance", ".*").replace("$__rate_interval", "1m")
    };
    let queries: Vec<String> = targets.map(query).collect();
    assert!(queries.len() >= 20, "{queries:?}");
    queries
}

#[test]
fn serve_alerts_pass_their_tests() {
    let Some(promtool) = program("promtool") else { return };
    for arguments in
        [["check", "rules", "tcpstate.rules.yml"], ["test", "rules", "tcpstate.rules.test.yml"]]
    {
        let output = Command::new(&promtool)
            .args(arguments)
            .current_dir(format!("{PACKAGING}/prometheus"))
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
}

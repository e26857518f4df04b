//! Tests `tcpstate serve`: its numbers, its privileges, its text file, its start and its exit.
//!
//! The counted sockets are in another network namespace than the HTTP endpoint, so that `serve`
//! does not count the connections to its endpoint.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    thread,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcpstate_common::State;
use tcpstate_tests::{
    bpf::KernelObjects,
    command::{Finished, as_nobody, signal, with_mounts},
    errors::Row,
    netns::{Namespace, Place},
    traced::Traced,
    traffic::{Family, Listener, Load, Mixed, Style},
    truth, wait,
};

use super::served::{Metrics, PATIENCE, Server, metrics, program, serve, without_listeners};

/// Returns one metric for each address family and state: the name of the metric, and the count that
/// `ss` reports.
fn by_ss(place: &Place) -> Vec<(String, f64)> {
    let families = [("ipv4", "-4"), ("ipv6", "-6")];
    let of_family = |(family, flag): (&str, &'static str)| {
        let counts = place.inside(|| truth::ss_filtered(&[flag]));
        State::GAUGES.map(|state| {
            let labels = format!("{{state=\"{}\",family=\"{family}\"}}", state.label());
            (format!("tcpstate_connections{labels}"), counts[state] as f64)
        })
    };
    families.into_iter().flat_map(of_family).collect()
}

/// Returns the sum of the absolute differences between the gauges and the true counts, in sockets.
fn difference(metrics: &Metrics, truth: &[(String, f64)]) -> f64 {
    truth.iter().map(|(series, count)| (metrics[series] - count).abs()).sum()
}

/// Asserts that the gauges are equal to the counts of `ss`. No socket may change its state during
/// this call. The gauges may differ from `ss` only if BPF programs missed events and the kernel did
/// not count these misses. After a scan, the gauges must be equal to the counts of `ss`.
fn assert_equal(server: &Server, place: &Place, idle: &mut Traced) -> Metrics {
    let truth = by_ss(place);
    let found = server.exact_metrics();
    let off = difference(&found, &truth);
    let lost = idle.uncounted() as f64;
    assert!(off <= 2.0 * lost, "off by {off}, {lost} events were lost: {found:?}, {truth:?}");
    if off == 0.0 {
        return found;
    }
    println!("off by {off}, and {lost} events were lost: one scan");
    server.scan();
    let found = server.metrics();
    assert_eq!(
        difference(&found, &truth),
        0.0,
        "still different after a scan: {found:?}, {truth:?}"
    );
    found
}

fn inside(place: &Place) -> String {
    format!("path:{}", place.path().display())
}

/// A child process. Dropping the value kills the process.
struct Trace(Child);

impl Drop for Trace {
    fn drop(&mut self) {
        // Ignore errors, because the process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_equals_ss_and_trace() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let mut idle = Traced::start();
    let before = place.inside(|| {
        let listener = Listener::open(Family::V6);
        let pairs = listener.pairs(17);
        (listener, pairs)
    });
    let netns = inside(&place);
    let server = Server::start(&mut serve(&["--netns", &netns]));
    let mut trace = Trace(
        Command::new(env!("CARGO_BIN_EXE_tcpstate"))
            .args(["trace", "-o", "json", "-i", "1h", "--netns", &netns])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts"),
    );
    let mut lines = BufReader::new(trace.0.stdout.take().expect("it is piped")).lines();
    lines.next().expect("a start line").expect("the pipe is open");
    assert_equal(&server, &place, &mut idle);
    let mixed = place.inside(|| Mixed::open(1000));
    let found = assert_equal(&server, &place, &mut idle);
    signal(&trace.0, Signal::SIGTERM);
    let end = lines.next().expect("an end line").expect("the pipe is open");
    let end: Value = serde_json::from_str(&end).expect("it is an object");
    assert!(trace.0.wait().expect("it ends").success());
    let lost = idle.uncounted() as f64;
    for pair in end["transitions"].as_array().expect("it is a list") {
        let text = |key: &str| pair[key].as_str().expect("a state").to_owned();
        let of_family = |family: &str| {
            let labels =
                format!("{{from=\"{}\",to=\"{}\",family=\"{family}\"}}", text("from"), text("to"));
            found[&format!("tcpstate_transitions_total{labels}")]
        };
        let (ours, theirs) =
            (of_family("ipv4") + of_family("ipv6"), pair["count"].as_f64().expect("a number"));
        assert!((ours - theirs).abs() <= lost, "{pair}: {ours}, and {lost} events were lost");
    }
    let time_wait = &end["time_wait"];
    let sockets = time_wait["sockets"].as_f64().expect("a number");
    assert!((found["tcpstate_time_wait_sockets"] - sockets).abs() <= lost);
    assert!(server.end().success());
    drop((mixed, before));
}

#[test]
fn serve_shows_every_series_from_the_start_and_its_counters_never_fall() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let server = Server::start(&mut serve(&["--netns", &inside(&place)]));
    let first = without_listeners(server.metrics());
    let is_counted =
        |series: &str| series.split('{').next().is_some_and(|it| it.ends_with("_total"));
    for (series, &count) in first.iter().filter(|(series, _)| is_counted(series)) {
        let is_ours =
            series.contains("cpu") || series.contains("reconciles") || series.contains("missed");
        assert!(is_ours || count == 0.0, "{series} begins with {count}");
    }
    let load = place.inside(|| Load::start(2, Style::Mixed));
    let mut earlier = first.clone();
    for round in 0..10 {
        if round % 3 == 0 {
            server.scan();
        }
        let now = without_listeners(server.metrics());
        for (series, count) in earlier.iter().filter(|(series, _)| is_counted(series)) {
            let next = *now.get(series).unwrap_or_else(|| panic!("{series} is gone"));
            assert!(next >= *count, "{series} fell from {count} to {next}");
        }
        earlier = now;
    }
    assert!(load.stop() > 0);
    let series = |metrics: &Metrics| metrics.keys().cloned().collect::<Vec<_>>();
    assert_eq!(series(&first), series(&earlier));
    let total: f64 =
        earlier.iter().filter(|(it, _)| it.contains("transitions_total")).map(|it| it.1).sum();
    assert!(total > 0.0, "the load was counted");
}

#[test]
fn serve_as_nobody_is_exact_and_keeps_no_capability() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let before = listener.pairs(7);
    // Count the sockets in the namespace of the endpoint, because entering another namespace needs
    // more capabilities.
    let mut command = as_nobody(&["bpf", "perfmon", "syslog"], env!("CARGO_BIN_EXE_tcpstate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--hist"]);
    let server = Server::start(&mut command);
    let is_old = tcpstate::probe::kernel::Kernel::running().expect("uname").guards_each_bpf_call();
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let mut threads = 0;
    for task in tasks.flatten() {
        let status = fs::read_to_string(task.path().join("status")).expect("it runs");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let line = status.lines().find(|line| line.starts_with(set)).expect("a set");
            let is_none = line.ends_with("\t0000000000000000");
            // CAP_BPF is bit 39 of a capability set.
            let is_least = is_old && line.ends_with("\t0000008000000000");
            assert!(is_none || is_least, "{}: {line}", task.path().display());
        }
        threads += 1;
    }
    assert!(threads >= 2, "including the tracer's thread");
    let established = "tcpstate_connections{state=\"established\",family=\"ipv4\"}";
    let v6 = "tcpstate_connections{state=\"listen\",family=\"ipv6\"}";
    let during = listener.pairs(5);
    let v6_listener = Listener::open(Family::V6);
    // A scan must work after `serve` has dropped its privileges.
    server.scan();
    let found = server.exact_metrics();
    // Each connection has two sockets. The connection of the scraper also has two sockets.
    assert_eq!((found[established], found[v6]), (2.0 * (7.0 + 5.0 + 1.0), 1.0));
    let sum = |state: &str| {
        let of = |family| {
            found[&format!("tcpstate_connections{{state=\"{state}\",family=\"{family}\"}}")]
        };
        of("ipv4") + of("ipv6")
    };
    assert_eq!(sum("listen"), 3.0, "including the listener of the endpoint");
    // After `serve` has dropped its privileges, `serve` must still read the durations from the BPF
    // maps.
    let timed = &found["tcpstate_connect_latency_seconds_count{side=\"client\"}"];
    assert!(*timed > 0.0, "{found:?}");
    assert!(server.end().success());
    drop((before, during, v6_listener));
}

#[test]
fn serve_has_series_for_namespaces_up_to_a_limit() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let held = place.inside(|| {
        let listener = Listener::open(Family::V4);
        let pairs = listener.pairs(11);
        (listener, pairs)
    });
    let server = Server::start(&mut serve(&["--by", "netns", "--max-series", "10000"]));
    let found = server.metrics();
    let series = format!(
        "tcpstate_netns_connections{{netns=\"{}\",name=\"\",state=\"established\"}}",
        place.inode()
    );
    assert_eq!(found[&series], 22.0, "{found:?}");
    assert_eq!(
        found["tcpstate_netns_connections{netns=\"other\",name=\"\",state=\"established\"}"],
        0.0
    );
    drop(server);
    let server = Server::start(&mut serve(&["--by", "netns", "--max-series", "1"]));
    let found = server.metrics();
    let namespaces =
        found.keys().filter(|it| it.starts_with("tcpstate_netns_") && it.contains("\"listen\""));
    assert_eq!(namespaces.count(), 2, "one, and other");
    drop(held);
}

#[test]
fn serve_negotiates_the_format() {
    let _namespace = Namespace::enter();
    let server = Server::start(&mut serve(&[]));
    let plain = server.get("/metrics", "");
    assert!(plain.header.contains("content-type: text/plain; version=0.0.4"), "{}", plain.header);
    assert!(plain.body.contains("# TYPE tcpstate_transitions_total counter\n"));
    let open = server.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    let media = "content-type: application/openmetrics-text; version=1.0.0";
    assert!(open.header.contains(media), "{}", open.header);
    assert!(open.body.contains("# TYPE tcpstate_transitions counter\n"));
    assert!(open.body.ends_with("\n# EOF\n"));
    let names = |text: &str| metrics(text).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&plain.body), names(&open.body));
    assert!(server.end().success());
}

#[test]
fn serve_writes_a_textfile_and_survives_a_full_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("tcpstate.prom");
    // Mount a tmpfs of 32 KiB that is full until the test removes a file.
    let mounts = format!(
        "mount -t tmpfs -o size=32k none {0}; dd if=/dev/zero of={0}/ballast bs=4k 2>/dev/null || :",
        folder.path().display()
    );
    let text = path.to_str().expect("the path is text");
    let serve = serve(&["--textfile", text, "--textfile-interval", "50ms"]);
    let _namespace = Namespace::enter();
    let server = Server::start(&mut with_mounts(&mounts, &serve));
    let errors = || server.metrics()["tcpstate_textfile_errors_total"];
    wait::until_within(PATIENCE, "writes that fail", || errors() >= 3.0);
    let stderr = server.said();
    assert_eq!(stderr.matches("write the textfile").count(), 1, "{stderr}");
    let said = Finished { status: Some(0), stdout: String::new(), stderr };
    Row::of("serve_writes_a_textfile_and_survives_a_full_disk").assert(&said);
    // The path of the folder in the mount namespace of the server.
    let seen = format!("/proc/{}/root{}", server.pid(), folder.path().display());
    let files = || fs::read_dir(&seen).expect("it is a folder").count();
    assert_eq!(files(), 1, "no half of a text");
    fs::remove_file(format!("{seen}/ballast")).expect("root can remove it");
    let path = format!("{seen}/tcpstate.prom");
    wait::until_within(PATIENCE, "the file", || fs::metadata(&path).is_ok());
    let text = fs::read_to_string(&path).expect("the whole file exists");
    assert!(text.ends_with('\n') && metrics(&text).contains_key("tcpstate_exact"));
    let number = || fs::metadata(&path).map(|file| std::os::unix::fs::MetadataExt::ino(&file)).ok();
    let first = number();
    wait::until_within(PATIENCE, "another file in its place", || number() != first);
    let open = fs::File::open(&seen).expect("it is a folder");
    assert!(server.end().success());
    let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
    let left = fs::read_dir(format!("/proc/self/fd/{fd}")).expect("it is a folder").count();
    assert_eq!(left, 0, "the server removes its file");
}

#[test]
fn serve_notifies_its_manager_and_leaves_nothing_behind() {
    let before = KernelObjects::at_rest();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket can be made there");
    manager.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    let next = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).expect("the server sends a message");
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    let server =
        Server::start(serve(&[]).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "100000"));
    assert_eq!(next(), "READY=1");
    assert_eq!([next(), next()], ["WATCHDOG=1"; 2]);
    assert!(server.end().success());
    let last = std::iter::repeat_with(next).find(|message| message != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    wait::until_equal("its BPF objects to go", &before, KernelObjects::now);
}

#[test]
fn serve_passes_promtool() {
    let Some(promtool) = program("promtool") else { return };
    let _namespace = Namespace::enter();
    for arguments in [&["--by", "netns", "--cost", "--hist"][..], &["--by", "local-port"]] {
        let server = Server::start(&mut serve(arguments));
        let text = server.get("/metrics", "").body;
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = check.stdin.take().expect("it is piped");
        thread::spawn(move || std::io::Write::write_all(&mut stdin, text.as_bytes()));
        let output = check.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    }
}

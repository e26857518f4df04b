//! Tests the rules of `doctor` about local ports, TIME_WAIT and sysctls.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use socket2::SockAddr;
use tcpstate::doctor::{Level, Opening, Paths, Thresholds, diagnose};
use tcpstate_common::State;
use tcpstate_tests::{
    emulated::scaled,
    netns::{Namespace, sysctl},
    traffic::{Family, Listener, leave_time_wait, reset, shutdown, socket},
    truth, wait,
};

use super::{assert_alarms, found, found_with, only, thresholds};

/// The server of this test closes its connections first. The sockets of the server in TIME_WAIT
/// have the server's port.
#[test]
fn doctor_calls_many_time_wait_of_a_server_harmless() {
    let _namespace = Namespace::enter();
    sysctl("net.ipv4.tcp_max_tw_buckets", "262144");
    let any = socket(Family::V4);
    any.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 443))))
        .expect("a namespace of one's own has free ports");
    let server = Listener::on(Family::V4, any, 128);
    let wanted = scaled(40_000);
    let mut made = 0;
    // Some clients get a port that was used before, which ends the TIME_WAIT socket of that port.
    while truth::sockstat().tw < wanted {
        assert!(made < 2 * wanted, "{made} connections, {:?}", truth::sockstat());
        for _ in 0..1000 {
            // Each server address has few clients, so most clients get a port that no earlier
            // client used.
            let to = Ipv4Addr::new(127, 0, 0, u8::try_from(1 + made / 8000).expect("a few"));
            let client = socket(Family::V4);
            client.connect(&SocketAddr::from((to, 443)).into()).expect("the server listens");
            let accepted = server.accept();
            shutdown([&accepted]);
            drop(client);
            drop(accepted);
            made += 1;
        }
    }
    // The last client may still be closing.
    wait::until("only the listener to be a full socket", || truth::sockets().full.total() == 1);
    let findings = found_with(&thresholds("[time_wait]\nmany_info = 500"), || ());
    assert_alarms(&findings, &[]);
    let many = only(&findings, "T10", Level::Info);
    assert!(many.numbers["time_wait_of_servers"].as_u64() >= Some(wanted), "{many:#?}");
    assert!(many.summary.ends_with("harmless by itself"), "{}", many.summary);
    assert_eq!(only(&findings, "P1", Level::Ok).numbers["taken"], 0);
}

#[test]
fn doctor_sees_a_range_of_two_ports_exhausted() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    sysctl("net.ipv4.ip_local_port_range", "40000 40001");
    let _one = listener.connect();
    let findings = found(|| ());
    assert_alarms(&findings, &[]);
    let _two = listener.connect();
    let error = socket(Family::V4).connect(listener.address()).expect_err("there is no port left");
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    let findings = found(|| ());
    assert_alarms(&findings, &["P1"]);
    let exhausted = only(&findings, "P1", Level::Crit);
    assert_eq!((&exhausted.numbers["ports"], &exhausted.numbers["taken"]), (&2.into(), &2.into()));
    let own = format!("[{}]", std::process::id());
    assert!(exhausted.summary.contains(&own), "{}", exhausted.summary);
}

/// The test compares the number of ports that `doctor` reports with the number that `connect()`
/// tries.
#[test]
fn doctor_counts_the_ports_that_connect_tries() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    for (range, reserved, bind, ports) in [
        ("40000 40001", "", None, 2),
        ("40000 40002", "", None, 2),
        ("40000 40000", "", None, 1),
        ("40000 40007", "40001,40004-40005", None, 5),
        ("40000 40007", "", Some(40003), 7),
    ] {
        sysctl("net.ipv4.ip_local_port_range", range);
        // The kernel ignores an empty text, so the test writes a newline.
        sysctl("net.ipv4.ip_local_reserved_ports", &format!("{reserved}\n"));
        let _other = bind.map(|port| {
            let socket = socket(Family::V4);
            socket.bind(&Family::V4.loopback(port).into()).expect("it is free");
            Listener::on(Family::V4, socket, 1)
        });
        let connect = || {
            let client = socket(Family::V4);
            client.connect(listener.address()).map(|()| client)
        };
        let mut clients = Vec::new();
        while let Ok(client) = connect() {
            clients.push(client);
        }
        assert_eq!(clients.len(), ports, "{range} {reserved}");
        let findings = found(|| ());
        assert_eq!(only(&findings, "P1", Level::Crit).numbers["ports"], ports, "{range}");
        clients.into_iter().for_each(reset);
        (0..ports).for_each(|_| drop(listener.accept()));
    }
}

#[test]
fn doctor_forecasts_that_ports_will_run_out() {
    let _namespace = Namespace::enter();
    sysctl("net.ipv4.tcp_tw_reuse", "0");
    let listener = Listener::open(Family::V4);
    sysctl("net.ipv4.ip_local_port_range", "40000 40009");
    for _ in 0..2 {
        let (client, server) = (listener.connect(), listener.accept());
        shutdown([&client]);
        drop(server);
        drop(client);
    }
    wait::until("two in TIME_WAIT", || truth::sockets().minis[State::TimeWait] == 2);
    let findings = found(|| ());
    assert_alarms(&findings, &["P2"]);
    let soon = only(&findings, "P2", Level::Warn);
    assert_eq!(soon.numbers["time_wait_entries_per_second"], 0.2);
    assert_eq!(soon.numbers["seconds_left"], 40.0, "{soon:#?}");
    // With `tcp_tw_reuse`, the ports are free again after a second.
    sysctl("net.ipv4.tcp_tw_reuse", "1");
    assert_alarms(&found(|| ()), &[]);
}

#[test]
fn doctor_sees_sockets_skip_time_wait() {
    let _namespace = Namespace::enter();
    sysctl("net.ipv4.tcp_max_tw_buckets", "100");
    let findings = found(|| leave_time_wait(70, &[Family::V4]));
    assert_alarms(&findings, &[]);
    let findings = found(|| leave_time_wait(61, &[Family::V4]));
    assert_alarms(&findings, &["T1", "T2"]);
    assert_eq!(only(&findings, "T1", Level::Crit).numbers["overflows"], 31);
    // Between the next two readings there are no new overflows.
    only(&found(|| ()), "T1", Level::Info);
}

#[test]
fn doctor_explains_settings_on_this_kernel() {
    let _namespace = Namespace::enter();
    let summary = |id: &str, level: Level| only(&found(|| ()), id, level).summary.clone();
    assert!(summary("T3", Level::Ok).ends_with("has no tcp_tw_recycle"));
    assert!(summary("T5", Level::Ok).contains("over loopback only"));
    sysctl("net.ipv4.tcp_tw_reuse", "1");
    assert!(summary("T5", Level::Info).contains("to any destination"));
    sysctl("net.ipv4.tcp_timestamps", "0");
    assert!(summary("T6", Level::Warn).contains("no effect"));
    sysctl("net.ipv4.tcp_syncookies", "2");
    assert!(summary("S5", Level::Warn).contains("a setting for tests"));
    sysctl("net.ipv4.tcp_syncookies", "0");
    assert!(summary("S4", Level::Warn).contains("cookies are off"));
    sysctl("net.ipv4.ip_local_port_range", "32768 61000");
    assert!(summary("P3", Level::Info).contains("equal parity"));
    if PathBuf::from("/proc/sys/net/ipv4/tcp_tw_reuse_delay").exists() {
        sysctl("net.ipv4.tcp_tw_reuse_delay", "50");
        assert!(summary("T7", Level::Info).contains("after 50 ms"));
    }
    sysctl("net.ipv4.tcp_fin_timeout", "30");
    leave_time_wait(101, &[Family::V4]);
    assert!(summary("T8", Level::Info).contains("stay 60 s"));
}

/// A `sysctl.conf` with four old recommendations against TIME_WAIT, which users still copy.
const NOTE: &str = "net.ipv4.tcp_syncookies = 1\nnet.ipv4.tcp_tw_reuse = 1\nnet.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_fin_timeout = 30\n";

#[test]
fn doctor_judges_old_advice_for_this_kernel() {
    let _namespace = Namespace::enter();
    let root = tempfile::tempdir().expect("there is a place for temporary files");
    std::fs::create_dir(root.path().join("etc")).expect("it is ours");
    std::fs::write(root.path().join("etc/sysctl.conf"), NOTE).expect("it is ours");
    let opening = Opening::read(Paths { root: root.path().into(), ..Paths::default() });
    let facts = opening.close().expect("the kernel has a version");
    let findings = diagnose(&facts, &Thresholds::default());
    let release = &facts.kernel.release;
    for (id, line, says) in [
        ("A1", 1, "1 is the default, so the line changes nothing".to_owned()),
        ("A2", 2, format!("(value in force: 2): on {release} connect() reuses ports in TIME_WAIT to any destination")),
        ("T4", 3, format!("removed in 4.12, so on {release} it only makes sysctl print an error")),
        ("A3", 4, "(value in force: 60): applies only to orphans in FIN_WAIT2; it does not shorten TIME_WAIT, which takes 60 s".to_owned()),
    ] {
        let answer = only(&findings, id, Level::Info);
        assert_eq!(answer.numbers["line"], line);
        assert!(answer.summary.contains(&says), "{id}: {}", answer.summary);
    }
    assert_alarms(&findings, &[]);
}

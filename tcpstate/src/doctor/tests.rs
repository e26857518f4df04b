//! Tests that read /proc files copied from real kernels. Some tests damage the copies first. The
//! files were copied in a network namespace in which seven connections had been closed before. The
//! files of 5.10, 6.1 and 7.2 are from Debian's kernels in a virtual machine, and the files of 6.18
//! are from a vendor's kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Facts, Finding, Level, Paths, Thresholds, diagnose,
    facts::{Counters, Known, SocketTable, SysctlFiles, Sysctls},
};
use crate::probe::kernel::Kernel;

fn captured() -> PathBuf {
    captured_on("6.18")
}

fn captured_on(kernel: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor/captured").join(kernel)
}

fn paths(root: &Path) -> Paths {
    Paths { net: root.join("net"), sys: root.join("sys"), root: root.join("net") }
}

/// Returns the facts that the files at these paths contain. The facts contain no sockets.
fn facts(before: &Paths, after: &Paths) -> Facts {
    let sysctls = Sysctls::read(before).unless_changed(&Sysctls::read(after));
    Facts {
        kernel: Kernel::from_release("6.18.44".into()),
        interval: Duration::from_secs(5),
        before: Counters::read(before),
        after: Counters::read(after),
        sysctls,
        files: Ok(SysctlFiles::read(&after.root)),
        sockets: Ok(SocketTable::default()),
        counts_births: true,
        recording: None,
    }
}

fn worst(findings: &[Finding]) -> Vec<(&str, Level)> {
    let bad = findings.iter().filter(|finding| finding.level != Level::Ok);
    bad.map(|finding| (finding.id, finding.level)).collect()
}

/// Returns a folder with a copy of the captured files, so that a test may damage the copy.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("there is a place for temporary files");
    copy_folder(&captured(), copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is ours");
    for entry in fs::read_dir(from).expect("it was captured") {
        let entry = entry.expect("it was captured");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("it is ours");
        }
    }
}

/// Returns some counters that the rules use: at least one counter from each file.
fn counted(counters: &Counters) -> Vec<Known<u64>> {
    [
        ("TcpExt", "TCPTimeWaitOverflow"),
        ("TcpExt", "TW"),
        ("TcpExt", "ListenOverflows"),
        ("Tcp", "ActiveOpens"),
        ("Tcp", "EstabResets"),
        ("TCP", "tw"),
        ("TCP", "orphan"),
        ("conntrack", "drop"),
    ]
    .map(|(table, name)| counters.get(table, name))
    .to_vec()
}

#[test]
fn all_counters_of_a_healthy_kernel_are_read() {
    let paths = paths(&captured());
    let numbers = counted(&Counters::read(&paths));
    assert_eq!(numbers, [0, 7, 0, 7, 0, 7, 101, 0].map(Ok));
    let findings = diagnose(&facts(&paths, &paths), &Thresholds::default());
    // F2 is unknown, because the sysctl with the limit of orphans exists only in the network
    // namespace of the host.
    assert_eq!(worst(&findings), [("F2", Level::Unknown)]);
}

#[test]
fn all_counters_of_older_and_newer_kernels_are_read() {
    // Another test had made the 101 orphans before the files were copied. Before 5.18 the counter
    // TW counts time-wait sockets that were destroyed, and no time-wait socket had been destroyed
    // yet.
    for (kernel, ended_or_born) in [("5.10", 0), ("6.1", 7), ("7.2", 7)] {
        let paths = paths(&captured_on(kernel));
        let numbers = counted(&Counters::read(&paths));
        let (last, numbers) = numbers.split_last().expect("eight counters");
        assert_eq!(numbers, [0, ended_or_born, 0, 7, 0, 7, 101].map(Ok), "{kernel}");
        assert!(last.is_err(), "nothing tracks connections in these guests");
        let findings = diagnose(&facts(&paths, &paths), &Thresholds::default());
        assert_eq!(worst(&findings), [("F2", Level::Unknown)], "{kernel}");
    }
}

#[test]
fn a_truncated_file_gives_no_wrong_counter() {
    let whole = paths(&captured());
    let expected = counted(&Counters::read(&whole));
    let copy = copy();
    let cut = paths(copy.path());
    for file in ["netstat", "snmp", "sockstat", "stat/nf_conntrack"] {
        let (from, to) = (whole.net.join(file), cut.net.join(file));
        let text = fs::read(&from).expect("it was captured");
        for length in (0..text.len()).step_by(if text.len() > 2000 { 7 } else { 1 }) {
            fs::write(&to, &text[..length]).expect("it is ours");
            for (number, expected) in counted(&Counters::read(&cut)).iter().zip(&expected) {
                assert!(
                    number.is_err() || number == expected,
                    "{file} cut at {length}: {number:?}"
                );
            }
        }
        fs::copy(from, to).expect("it is ours");
    }
}

#[test]
fn a_truncated_sysctl_is_missing() {
    let copy = copy();
    fs::write(copy.path().join("sys/net/ipv4/tcp_max_tw_buckets"), "131").expect("it is ours");
    fs::write(copy.path().join("sys/net/ipv4/ip_local_port_range"), "").expect("it is ours");
    let spoilt = paths(copy.path());
    let findings = diagnose(&facts(&spoilt, &spoilt), &Thresholds::default());
    let expected = ["P1", "P2", "P3", "T2", "F2"].map(|id| (id, Level::Unknown));
    assert_eq!(worst(&findings), expected);
}

#[test]
fn a_wrong_byte_causes_no_panic() {
    let whole = paths(&captured());
    let copy = copy();
    let spoilt = paths(copy.path());
    for file in
        ["net/netstat", "net/sockstat", "net/stat/nf_conntrack", "sys/net/ipv4/ip_local_port_range"]
    {
        let path = copy.path().join(file);
        let text = fs::read(&path).expect("it was captured");
        for at in (0..text.len()).step_by(37) {
            for byte in [0, b'\n', b' ', b'-', b'9', 0xff] {
                let mut changed = text.clone();
                changed[at] = byte;
                fs::write(&path, changed).expect("it is ours");
                let findings = diagnose(&facts(&whole, &spoilt), &Thresholds::default());
                assert!(findings.len() >= super::RULES.len());
            }
        }
        fs::write(&path, text).expect("it is ours");
    }
}

#[test]
fn a_missing_file_makes_only_its_rules_unknown() {
    for (file, expected) in [
        ("net/netstat", vec!["T1", "T9", "S1", "S3", "S4", "F2"]),
        ("net/snmp", vec!["T9", "F2", "R1"]),
        ("net/sockstat", vec!["T2", "F2"]),
        // Rule K1 does not need the file stat/nf_conntrack, so K1 still works.
        ("net/stat/nf_conntrack", vec!["F2"]),
    ] {
        let copy = copy();
        fs::remove_file(copy.path().join(file)).expect("it was captured");
        let paths = paths(copy.path());
        let findings = diagnose(&facts(&paths, &paths), &Thresholds::default());
        let unknown: Vec<(&str, Level)> = expected.iter().map(|id| (*id, Level::Unknown)).collect();
        assert_eq!(worst(&findings), unknown, "{file}");
        let t1 = findings.iter().find(|finding| finding.level == Level::Unknown).expect("one is");
        assert!(!t1.advice.is_empty() && !t1.source.is_empty(), "{t1:?}");
    }
}

#[test]
fn a_counter_that_decreases_is_missing() {
    let whole = paths(&captured());
    let copy = copy();
    let path = copy.path().join("net/snmp");
    let text = fs::read_to_string(&path).expect("it was captured");
    // Changes 7 to 6 in the copy, so that a counter decreases between the two readings.
    fs::write(&path, text.replace(" 7 7 ", " 6 7 ")).expect("it is ours");
    let findings = diagnose(&facts(&whole, &paths(copy.path())), &Thresholds::default());
    let expected = ["T9", "F2", "R1"].map(|id| (id, Level::Unknown));
    assert_eq!(worst(&findings), expected);
    let t9 = findings.iter().find(|finding| finding.id == "T9").expect("each rule says something");
    assert!(t9.summary.contains("decreased from 7 to 6"), "{}", t9.summary);
}

#[test]
fn the_document_has_a_section_and_a_test_for_each_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("it is in the repository");
    let document = read("docs/DOCTOR.md");
    let tests =
        ["mod.rs", "ports.rs"].map(|file| read(&format!("tests/tests/kernel/doctor/{file}")));
    let tests = tests.concat();
    let sections: Vec<&str> = document.split("\n### ").skip(1).collect();
    assert_eq!(sections.len(), super::RULES.len());
    for (section, rule) in sections.iter().zip(&super::RULES) {
        let heading = section.lines().next().unwrap_or_default();
        assert_eq!(heading, format!("{}: {}", rule.id, rule.title));
        assert_eq!(item(section, "Source"), rule.reference, "{}", rule.id);
        assert!(!item(section, "Level").is_empty(), "{}", rule.id);
        let made_so_by = item(section, "Test");
        let name = made_so_by.trim_matches('`');
        let is_test = tests.contains(&format!("fn {name}()"));
        assert!(name == "fixture" || is_test, "{}: {name}", rule.id);
    }
}

/// Returns the text of the list item with this name. The item may have several lines.
fn item(section: &str, name: &str) -> String {
    let (_, text) = section.split_once(&format!("\n* {name}: ")).expect("the item exists");
    let text = text.split("\n* ").next().unwrap_or_default();
    let text = text.split("\n\n").next().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

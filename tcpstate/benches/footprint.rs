//! The sections `footprint`, `maps` and `binary` of `cargo xtask bench` measure the start and the
//! size of `tcpstate trace`. The benchmark measures the time until the first output, and the memory
//! during the start and the run.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use aya::maps::loaded_maps;
use tcpstate_tests::{
    measure::{peak_resident_bytes, resident_bytes},
    netns::Namespace,
    own::Own,
    rows::{Turns, is_full},
    traffic::{Family, Idle},
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");
const SOCKETS: [usize; 2] = [1_000, 50_000];

fn main() {
    let (sizes, turns) = if is_full() { (&SOCKETS[..], 7) } else { (&SOCKETS[..1], 1) };
    let _namespace = Namespace::enter();
    for &sockets in sizes {
        let _idle = Idle::open(sockets, &Family::BOTH);
        let mut rows = Turns::new("footprint", Some(sockets as u64));
        for _ in 0..turns {
            for (name, arguments) in [
                ("trace", &["trace", "-o", "json"][..]),
                ("trace --netns all", &["trace", "--netns", "all", "-o", "json"]),
                ("trace --events", &["trace", "--events", "-o", "json"]),
                ("trace --by process", &["trace", "--by", "process", "-o", "json"]),
                ("hist", &["hist", "-o", "json"]),
            ] {
                measure(&mut rows, name, arguments);
            }
        }
        rows.print("trace");
    }
    by_map();
    let mut rows = Turns::new("binary", None);
    let bytes = fs::metadata(TCPSTATE).expect("it is built").len();
    rows.add("tcpstate", "MiB", bytes as f64 / f64::from(1 << 20));
    rows.print("");
}

/// Prints the memory of each BPF map. The commands enable all optional features, so that each BPF
/// map has the full size.
fn by_map() {
    let mut rows = Turns::new("maps", None);
    for (name, arguments) in [
        ("trace --netns all --events", &["trace", "--netns", "all", "--events", "-o", "json"][..]),
        ("hist", &["hist", "-o", "json"]),
    ] {
        let own = Own::start(TCPSTATE, arguments);
        let maps = maps(own.id());
        let mut by_name = BTreeMap::<String, f64>::new();
        for map in loaded_maps().filter_map(Result::ok) {
            if let Some(bytes) = maps.get(&map.id()) {
                *by_name.entry(map.name_as_str().unwrap_or_default().to_owned()).or_default() +=
                    bytes;
            }
        }
        for (map, bytes) in by_name {
            rows.add(&format!("{name}: {map}"), "KiB", bytes / 1024.0);
        }
    }
    rows.print("");
}

fn measure(rows: &mut Turns, name: &str, arguments: &[&str]) {
    let began = Instant::now();
    let own = Own::start(TCPSTATE, arguments);
    rows.add(name, "ms to the first number", 1e3 * began.elapsed().as_secs_f64());
    thread::sleep(Duration::from_secs(1));
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    rows.add(name, "VmRSS MiB", mebibytes(resident_bytes(own.id())));
    rows.add(name, "peak MiB", mebibytes(peak_resident_bytes(own.id())));
    let maps: f64 = maps(own.id()).values().sum();
    rows.add(name, "maps MiB", maps / f64::from(1 << 20));
}

/// Returns the kernel memory in bytes of each BPF map that the process has open, by map ID.
fn maps(process: u32) -> BTreeMap<u32, f64> {
    let folder = fs::read_dir(format!("/proc/{process}/fdinfo")).expect("it runs");
    let texts = folder.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    texts
        .filter_map(|text| {
            let number = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok())
            };
            Some((number("map_id:")?, f64::from(number("memlock:")?)))
        })
        .collect()
}

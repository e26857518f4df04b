//! `cargo xtask bench`, section `scans`: the cost of a scan, of an audit and of a snapshot. A scan
//! runs at the start, after missed events, and as an audit under traffic.

use tcpstate::tracer::Tracer;
use tcpstate_tests::{
    measure::Cost,
    netns::Namespace,
    peers::{SS, ss},
    rows::{Turns, is_full},
    traced::options,
    traffic::{Family, Idle},
};

/// The number of snapshots in a measurement, because one snapshot is too cheap to measure.
const SNAPSHOTS: u32 = 20;

fn main() {
    let (sizes, turns): (&[usize], _) =
        if is_full() { (&[1_000, 10_000, 100_000, 1_000_000], 5) } else { (&[10_000], 1) };
    let _namespace = Namespace::enter();
    for &sockets in sizes {
        let _idle = Idle::open(sockets, &Family::BOTH);
        let mut rows = Turns::new("scans", Some(sockets as u64));
        let mut tracer = Tracer::start(&options()).expect("the kernel takes our programs");
        for _ in 0..turns {
            match Cost::of_command(&mut ss(), &format!("ESTAB {sockets}")) {
                Ok(cost) => rows.add_cost(SS, cost),
                Err(why) => rows.absent(SS, why),
            }
            let scan = Cost::of_each(1, || tracer.reconcile().expect("a scan can be made"));
            rows.add_cost("a scan", scan);
            let live = tracer.live();
            let audit = Cost::of_each(1, || {
                let reading = live.read().expect("a cut can be made");
                let (listing, _) = live.list(&reading).expect("sockets can be listed");
                assert!(listing.is_some(), "no socket changes its state");
            });
            rows.add_cost("an audit", audit);
            let snapshot = Cost::of_each(SNAPSHOTS, || {
                tracer.snapshot().expect("a snapshot can be taken");
            });
            rows.add_cost("a snapshot", snapshot);
        }
        rows.print(SS);
    }
}

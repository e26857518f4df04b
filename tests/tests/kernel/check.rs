//! Tests `check --live` on this kernel. The test is most useful in virtual machines, whose kernels
//! allow fentry.

use tcpstate::check::{self, Facts, Status};
use tcpstate_tests::netns::Namespace;

#[test]
fn check_proves_every_hook_and_gauge_on_this_kernel() {
    let _namespace = Namespace::enter();
    let facts = Facts::gather(true).expect("the kernel has a release");
    let features = check::features(&facts);
    for feature in &features {
        println!("{} {}: {}", feature.id, feature.status.name(), feature.detail);
    }
    for feature in &features {
        // Some kernels withhold single events from BPF. If events were withheld, a scan was needed,
        // and `check` reports the scan.
        let may_need_a_scan = feature.id == "live_gauges" && feature.status == Status::Degraded;
        if feature.id.starts_with("live_") && !may_need_a_scan {
            assert_eq!(feature.status, Status::Ok, "{feature:?}");
        }
    }
    assert!(check::is_exact(&features), "{:?}", features.last());
}

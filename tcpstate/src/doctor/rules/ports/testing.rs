//! Creates facts for tests: a range of ten local ports, and the number of these ports that are in
//! use.

use crate::doctor::{
    facts::sockets::{AGES, Destination, PortUse},
    rules::testing::Scene,
};

pub(super) fn to(remote: &str) -> Destination {
    Destination {
        local: "10.0.0.1".parse().expect("an address"),
        remote: remote.parse().expect("an address with a port"),
    }
}

/// Returns the facts of a system that has ten local ports and connects to one destination.
pub(super) fn ten_ports(ports: PortUse) -> Scene {
    let mut scene = Scene::default().with("net.ipv4.ip_local_port_range", "40000 40009");
    *scene.sockets.destinations.of(to("10.0.0.9:443")) = ports;
    scene
}

pub(super) fn open(sockets: u64) -> PortUse {
    PortUse { sockets, ..PortUse::default() }
}

pub(super) fn closed(time_wait: [u64; AGES], young: u64) -> PortUse {
    PortUse { sockets: time_wait.iter().sum(), time_wait, young, holder: None }
}

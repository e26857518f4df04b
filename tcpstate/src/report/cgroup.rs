//! A cgroup, in the form that events show.

use super::container::{self, Container, container};

/// A cgroup. The container and the systemd unit are derived from the path of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cgroup {
    /// The path of the cgroup, from the root of the cgroup hierarchy.
    pub path: String,
    /// The container to which the cgroup belongs.
    pub container: Option<Container>,
    /// The systemd unit to which the cgroup belongs.
    pub unit: Option<String>,
}

impl From<String> for Cgroup {
    fn from(path: String) -> Self {
        let unit = container::unit(&path).map(str::to_owned);
        Self { container: container(&path), unit, path }
    }
}

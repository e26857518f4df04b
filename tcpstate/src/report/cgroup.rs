//! A cgroup, as events show it.

use super::container::{self, Container, container};

/// A cgroup, and what its path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// From the root.
    pub path: String,
    /// The container that it is of.
    pub container: Option<Container>,
    /// The unit of systemd that it is of.
    pub unit: Option<String>,
}

impl From<String> for Cgroup {
    fn from(path: String) -> Self {
        let unit = container::unit(&path).map(str::to_owned);
        Self { container: container(&path), unit, path }
    }
}

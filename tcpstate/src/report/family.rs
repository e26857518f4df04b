//! The address families IPv4 and IPv6.

/// The address family of a socket (`sk_family`). An IPv6 socket can have an IPv4 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`
    V4,
    /// `AF_INET6`
    V6,
}

impl Family {
    /// Both families.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Returns the kernel's number of the family.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

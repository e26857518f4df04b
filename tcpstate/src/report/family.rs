//! IPv4 and IPv6, as the kernel's sockets have it.

/// The kind of a socket, by its `sk_family`: an IPv6 socket may well carry an IPv4 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`
    V4,
    /// `AF_INET6`
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The kernel's number of the family.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

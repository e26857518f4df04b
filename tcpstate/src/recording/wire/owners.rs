//! Encodes counts by owner.

use std::net::IpAddr;

use minicbor::{Decode, Encode};

use super::{
    Malformed,
    limited::{Bytes, List, Text},
    table::{Number, Wire, wire},
};
use crate::{
    recording::budget::Budget,
    report::{self, key},
};

/// The maximum number of keys of a group.
pub(super) const MAX_KEYS: usize = 16;
/// The maximum number of groups: the largest value of `--max-owners`, and the groups that are no
/// owners.
const MAX_GROUPS: usize = (1 << 20) + 3;

wire! {
    Owners is report::Owners {
        0 by: List<KeyName, MAX_KEYS>,
        1 groups: List<OwnerGroup, MAX_GROUPS>,
        2 accepted: u64,
        3 not_accepted: u64,
        4 without_room: u64,
        5 missed: u64,
    }

    OwnerGroup is report::OwnerGroup {
        0 kind: OwnerKind,
        1 states: Option<[u64; 10]>,
        2 total: OwnerCounts,
        3 interval: OwnerCounts,
        4 likely_owner: Option<Process>,
    }

    OwnerCounts is report::OwnerCounts {
        0 opened: u64,
        1 connected: u64,
        2 accepted: u64,
        3 closed_first: u64,
        4 closed_second: u64,
        5 time_wait_entries: u64,
        6 failed: u64,
        7 reset: u64,
    }

    Process is report::Process {
        0 pid: u32,
        1 name: Text,
    }
}

/// A key, by its name in flags.
#[derive(Encode, Decode)]
#[cbor(transparent, context_bound = "AsMut<Budget>")]
pub(super) struct KeyName(#[n(0)] Text);

impl Wire<report::Key> for KeyName {
    fn of(key: &report::Key) -> Self {
        Self(Text(key.name().to_owned()))
    }

    fn read(self) -> Result<report::Key, Malformed> {
        let key = report::Key::ALL.into_iter().find(|key| key.name() == self.0.0);
        key.ok_or_else(|| Malformed::message("no such key"))
    }
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "AsMut<Budget>")]
enum OwnerKind {
    #[n(0)]
    Group(#[n(0)] List<Value, MAX_KEYS>),
    #[n(1)]
    Other,
    #[n(2)]
    Unknown,
    #[n(3)]
    Gone,
}

impl Wire<report::OwnerKind> for OwnerKind {
    fn of(kind: &report::OwnerKind) -> Self {
        match kind {
            report::OwnerKind::Group(values) => Self::Group(Wire::of(values)),
            report::OwnerKind::Other => Self::Other,
            report::OwnerKind::Unknown => Self::Unknown,
            report::OwnerKind::Gone => Self::Gone,
        }
    }

    fn read(self) -> Result<report::OwnerKind, Malformed> {
        Ok(match self {
            Self::Group(values) => report::OwnerKind::Group(values.read()?),
            Self::Other => report::OwnerKind::Other,
            Self::Unknown => report::OwnerKind::Unknown,
            Self::Gone => report::OwnerKind::Gone,
        })
    }
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "AsMut<Budget>")]
enum Value {
    #[n(0)]
    Process(#[n(0)] Process),
    #[n(1)]
    Comm(#[n(0)] Text),
    #[n(2)]
    User(#[n(0)] u32),
    /// The path of a cgroup.
    #[n(3)]
    Cgroup(#[n(0)] Text),
    #[n(4)]
    Unit(#[n(0)] Text),
    #[n(5)]
    Container(#[n(0)] Text),
    #[n(6)]
    Netns(#[n(0)] u64, #[n(1)] Option<Text>),
    #[n(7)]
    Port(#[n(0)] u16),
    #[n(8)]
    Client,
    /// An IP address of 4 or 16 bytes.
    #[n(9)]
    Address(#[n(0)] Bytes),
    #[n(10)]
    State(#[n(0)] Number),
    #[n(11)]
    None,
}

impl Wire<key::Value> for Value {
    fn of(value: &key::Value) -> Self {
        use key::Value;
        match value {
            Value::Process(process) => Self::Process(Wire::of(process)),
            Value::Comm(name) => Self::Comm(Wire::of(name)),
            Value::User(uid) => Self::User(*uid),
            Value::Cgroup(cgroup) => Self::Cgroup(Wire::of(&cgroup.path)),
            Value::Unit(name) => Self::Unit(Wire::of(name)),
            Value::Container(id) => Self::Container(Wire::of(id)),
            Value::Netns(inode, name) => Self::Netns(*inode, Wire::of(name)),
            Value::Port(port) => Self::Port(*port),
            Value::Client => Self::Client,
            Value::Address(address) => Self::Address(Wire::of(address)),
            Value::State(state) => Self::State(Wire::of(state)),
            Value::None => Self::None,
        }
    }

    fn read(self) -> Result<key::Value, Malformed> {
        use key::Value;
        Ok(match self {
            Self::Process(process) => Value::Process(process.read()?),
            Self::Comm(name) => Value::Comm(name.read()?),
            Self::User(uid) => Value::User(uid),
            Self::Cgroup(Text(path)) => Value::Cgroup(path.into()),
            Self::Unit(name) => Value::Unit(name.read()?),
            Self::Container(id) => Value::Container(id.read()?),
            Self::Netns(inode, name) => Value::Netns(inode, name.read()?),
            Self::Port(port) => Value::Port(port),
            Self::Client => Value::Client,
            Self::Address(address) => Value::Address(address.read()?),
            Self::State(state) => Value::State(state.read()?),
            Self::None => Value::None,
        })
    }
}

impl Wire<IpAddr> for Bytes {
    fn of(address: &IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        })
    }

    fn read(self) -> Result<IpAddr, Malformed> {
        let v4 = <[u8; 4]>::try_from(self.0.as_slice()).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(self.0.as_slice()).map(IpAddr::from);
        v4.or(v6).map_err(|_| Malformed::message("no such address"))
    }
}

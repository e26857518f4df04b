//! Converts the key of an owner to the values that output shows.

use std::{ffi::OsStr, net::Ipv6Addr, os::unix::ffi::OsStrExt as _};

use tcpstate_common::abi::{COMM_BYTES, OwnerKey};

use crate::{
    probe::namespaces::Names,
    report::{Key, Process, key::Value},
    source::cgroups::Resolver,
    text::readable,
};

/// Finds the names of cgroups and of network namespaces.
#[derive(Default)]
pub(super) struct Values {
    cgroups: Resolver,
    namespaces: Option<Names>,
}

impl Values {
    /// Begins a look for new owners. Names of namespaces are read again when they are needed.
    pub(super) fn begin(&mut self) {
        self.namespaces = None;
    }

    /// Returns the value of each key. `name` is the name of the owner's process.
    pub(super) fn of(&mut self, by: &[Key], key: &OwnerKey, name: &[u8; COMM_BYTES]) -> Vec<Value> {
        by.iter().map(|&property| self.value(property, key, name)).collect()
    }

    fn value(&mut self, property: Key, key: &OwnerKey, name: &[u8; COMM_BYTES]) -> Value {
        match property {
            Key::Process => Value::Process(Process { pid: key.pid, name: text(name) }),
            Key::Comm => Value::Comm(text(&key.comm)),
            Key::User => Value::User(key.uid),
            Key::Cgroup | Key::Unit | Key::Container => self.of_cgroup(property, key.cgroup),
            Key::Netns => {
                let names = self.namespaces.get_or_insert_with(Names::read);
                let inode = key.netns_inode.into();
                Value::Netns(inode, names.of(inode))
            }
            Key::LocalPort if key.local_port == 0 => Value::Client,
            Key::LocalPort => Value::Port(key.local_port),
            Key::Remote => address(key.remote),
            Key::RemotePort if key.remote_port == 0 => Value::Client,
            Key::RemotePort => Value::Port(key.remote_port),
            Key::State => Value::None,
        }
    }

    fn of_cgroup(&mut self, property: Key, id: u64) -> Value {
        let Some(cgroup) = self.cgroups.get(id) else { return Value::None };
        let found = match property {
            Key::Unit => cgroup.unit.clone().map(Value::Unit),
            Key::Container => {
                cgroup.container.as_ref().map(|container| Value::Container(container.id.clone()))
            }
            _ => Some(Value::Cgroup((*cgroup).clone())),
        };
        found.unwrap_or(Value::None)
    }
}

/// Returns the text before the terminating zero.
fn text(name: &[u8; COMM_BYTES]) -> String {
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    readable(OsStr::from_bytes(name)).into_owned()
}

fn address([first, second]: [u64; 2]) -> Value {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_ne_bytes());
    bytes[8..].copy_from_slice(&second.to_ne_bytes());
    match Ipv6Addr::from(bytes).to_canonical() {
        address if address.is_unspecified() => Value::None,
        address => Value::Address(address),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn keys_become_values() {
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().expect("an address");
        let octets = mapped.octets();
        let remote = [0, 8]
            .map(|at| u64::from_ne_bytes(octets[at..at + 8].try_into().expect("eight bytes")));
        let key = OwnerKey { pid: 7, remote, remote_port: 443, ..OwnerKey::default() };
        let by = [Key::Process, Key::Remote, Key::RemotePort, Key::LocalPort];
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!(
            Values::default().of(&by, &key, b"nginx\0old names\0"),
            [
                Value::Process(Process { pid: 7, name: "nginx".to_owned() }),
                Value::Address(address),
                Value::Port(443),
                Value::Client,
            ]
        );
    }

    #[test]
    fn a_listener_has_no_peer() {
        let key = OwnerKey { local_port: 80, ..OwnerKey::default() };
        let values = Values::default().of(
            &[Key::LocalPort, Key::Remote, Key::RemotePort],
            &key,
            &[0; COMM_BYTES],
        );
        assert_eq!(values, [Value::Port(80), Value::None, Value::Client]);
    }
}

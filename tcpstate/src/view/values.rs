//! The values of keys by which sockets are grouped, as text.

use crate::{
    report::{container::short_id, key::Value},
    text::escaped,
};

/// Returns the value of a key as text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Port(port) => port.to_string(),
        Value::Client => "client".to_owned(),
        Value::Address(address) => address.to_string(),
        Value::Process(process) => escaped(format!("{}[{}]", process.name, process.pid)),
        Value::User(uid) => uid.to_string(),
        Value::Cgroup(cgroup) => escaped(&cgroup.path),
        Value::Comm(text) | Value::Unit(text) | Value::Container(text) => escaped(text),
        Value::Netns(_, Some(name)) => escaped(name),
        Value::Netns(inode, None) => inode.to_string(),
        Value::State(state) => state.name().to_owned(),
        Value::None => "-".to_owned(),
    }
}

/// Returns the value of a key as a short text for a table.
pub(super) fn short_text(value: &Value) -> String {
    match value {
        Value::Container(id) => escaped(short_id(id)),
        value => text(value),
    }
}

#[cfg(test)]
mod tests {
    use tcpstate_common::State;

    use super::*;
    use crate::report::Cgroup;

    #[test]
    fn values_are_short_and_escaped() {
        let cgroup = |path: &str| text(&Value::Cgroup(Cgroup::from(path.to_owned())));
        assert_eq!(cgroup("/system.slice/a\u{1b}b"), "/system.slice/a\\u{1b}b");
        assert_eq!(text(&Value::Address([10, 0, 0, 1].into())), "10.0.0.1");
        assert_eq!(text(&Value::State(State::TimeWait)), "TIME_WAIT");
        assert_eq!(text(&Value::Netns(7, Some("a\tb".to_owned()))), "a\\tb");
        assert_eq!(text(&Value::Netns(7, None)), "7");
        assert_eq!(text(&Value::None), "-");
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";
        let container = Value::Container(id.to_owned());
        assert_eq!((text(&container).as_str(), &*short_text(&container)), (id, "4b825dc642cb"));
    }
}

//! Finds the container to which a cgroup belongs. The names that container runtimes give to cgroups
//! identify the container.

/// The id and the runtime of a container, as found in the name of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// The id of the container, normally 64 hexadecimal digits. A systemd-nspawn container has a
    /// name, and tcpstate uses the name as the id.
    pub id: String,
    /// The container runtime, if the name of the cgroup contains the runtime.
    pub runtime: Option<&'static str>,
}

/// The prefixes that runtimes put before container ids in names of cgroups, and the runtime of each
/// prefix. If a runtime has several prefixes, the longest prefix is first.
const PREFIXES: [(&str, &str); 7] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
    ("crio-", "cri-o"),
    ("buildkit-", "buildkit"),
];

/// Returns the part of a container id that tables show: the first 12 digits, as `docker ps` does.
#[must_use]
pub fn short_id(id: &str) -> &str {
    if is_id(id) { &id[..12] } else { id }
}

/// Returns the container to which a cgroup belongs. If the path names several containers, the
/// function returns the innermost container.
#[must_use]
pub fn container(path: &str) -> Option<Container> {
    let mut outer = "";
    let mut found = None;
    for name in path.split('/') {
        found = of_name(name, outer).or(found);
        outer = name;
    }
    found
}

/// Returns the innermost systemd unit in a path, such as `nginx.service` or `session-3.scope`. The
/// function does not return systemd slices, because a slice only groups units.
#[must_use]
pub fn unit(path: &str) -> Option<&str> {
    let is_unit = |name: &&str| {
        [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|end| name.ends_with(end))
    };
    path.split('/').rfind(is_unit)
}

/// Returns the container that the names of a folder and of its parent folder describe.
fn of_name(name: &str, outer: &str) -> Option<Container> {
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    for (prefix, runtime) in PREFIXES {
        // The cgroup `libpod-conmon-ID` belongs to the monitor of a container, not to a container.
        if let Some(id) = bare.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some(Container { id: id.into(), runtime: Some(runtime) });
        }
    }
    // A name such as `kubepods-burstable-podUID.slice:cri-containerd:ID` means that the runtime is
    // configured for systemd, but systemd is not in use.
    if let [_, prefix, id] = bare.split(':').collect::<Vec<_>>()[..]
        && is_id(id)
    {
        let by = PREFIXES.iter().find(|(known, _)| known.strip_suffix('-') == Some(prefix));
        return Some(Container { id: id.into(), runtime: by.map(|(_, runtime)| *runtime) });
    }
    if is_id(bare) {
        let runtime = match outer {
            "docker" => Some("docker"),
            "libpod_parent" => Some("podman"),
            // The names of cgroups that Kubernetes creates do not contain the runtime.
            _ => None,
        };
        return Some(Container { id: bare.into(), runtime });
    }
    let nspawn = name.strip_prefix("systemd-nspawn@")?.strip_suffix(".service")?;
    Some(Container { id: nspawn.into(), runtime: Some("systemd-nspawn") })
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";

    #[test]
    fn containers_are_found_by_the_names_of_their_cgroups() {
        for (path, runtime) in [
            ("/system.slice/docker-ID.scope", Some("docker")),
            ("/docker/ID", Some("docker")),
            ("/docker/ID/init.scope", Some("docker")),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7.slice/cri-containerd-ID.scope",
                Some("containerd"),
            ),
            (
                "/system.slice/containerd.service/kubepods-pod7.slice:cri-containerd:ID",
                Some("containerd"),
            ),
            ("/kubepods/besteffort/pod7/ID", None),
            ("/default/ID", None),
            ("/user.slice/user-1000.slice/nerdctl-ID.scope", Some("containerd")),
            ("/machine.slice/libpod-ID.scope/container", Some("podman")),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                Some("podman"),
            ),
            ("/libpod_parent/ID", Some("podman")),
            ("/kubepods.slice/kubepods-pod7.slice/crio-ID.scope", Some("cri-o")),
        ] {
            let path = path.replace("ID", ID);
            assert_eq!(container(&path), Some(Container { id: ID.into(), runtime }), "{path}");
        }
        let nspawn = container("/machine.slice/systemd-nspawn@web.service/payload/system.slice");
        assert_eq!(nspawn, Some(Container { id: "web".into(), runtime: Some("systemd-nspawn") }));
    }

    #[test]
    fn nested_containers_resolve_to_the_inner_container() {
        let inner = ID.replace('4', "5");
        let path = format!("/docker/{ID}/kubepods/pod7/{inner}");
        assert_eq!(container(&path).map(|container| container.id), Some(inner));
    }

    #[test]
    fn cgroups_around_a_container_are_no_container() {
        for path in [
            "/",
            "",
            "/system.slice/docker.service",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/kubepods-pod7.slice/crio-conmon-ID.scope",
            "/system.slice/docker-0123456789ab.scope",
            "/docker/buildx",
        ] {
            assert_eq!(container(&path.replace("ID", ID)), None, "{path}");
        }
    }

    #[test]
    fn tables_show_twelve_digits_of_an_id_and_the_whole_name() {
        assert_eq!(short_id(ID), "4b825dc642cb");
        assert_eq!(short_id("my-long-nspawn-container"), "my-long-nspawn-container");
    }

    #[test]
    fn the_innermost_unit_is_found() {
        for (path, expected) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/user.slice/user-0.slice/session-3.scope", Some("session-3.scope")),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service",
                Some("a.service"),
            ),
            ("/system.slice/nginx.service/worker", Some("nginx.service")),
            ("/system.slice", None),
            ("/", None),
        ] {
            assert_eq!(unit(path), expected, "{path}");
        }
    }
}

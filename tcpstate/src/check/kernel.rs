//! What the kernel is: its version, its types, its compiler for BPF, memory for maps.

use caps::Capability;

use super::{Facts, Feature, Status};
use crate::probe::{Error, confinement::Suspect, kernel::OLDEST};

pub(super) fn features(facts: &Facts) -> Vec<Feature> {
    vec![
        version(facts),
        Feature::of(
            "btf",
            &facts.types,
            "the kernel's types hold every field that the programs load",
        ),
        jit(facts),
        memory(facts),
    ]
}

fn version(facts: &Facts) -> Feature {
    let release = facts.kernel.release.clone();
    if facts.kernel.is_too_old() {
        return Feature::missing("kernel", &Error::Kernel { release }.into());
    }
    Feature::ok("kernel", format!("{release}; {}.{} or newer will do", OLDEST.0, OLDEST.1))
}

fn jit(facts: &Facts) -> Feature {
    let help = "sysctl net.core.bpf_jit_enable=1";
    match facts.jit {
        Some(0) => Feature::wanting(
            "jit",
            Status::Degraded,
            "off: programs run slower, and the kernel's functions can't be hooked",
            help,
        ),
        Some(_) => Feature::ok("jit", "programs are compiled"),
        None => Feature {
            id: "jit",
            status: Status::Untested,
            detail: "net.core.bpf_jit_enable is not shown in this network namespace".into(),
            help: None,
        },
    }
}

fn memory(facts: &Facts) -> Feature {
    if !facts.kernel.locks_memory_for_maps() {
        let mib = scan_bytes(facts.sockets) >> 20;
        let sockets = facts.sockets;
        let detail = format!(
            "a scan over the {sockets} sockets here takes some {mib} MiB, of the memory cgroup's"
        );
        return Feature::ok("memory", detail);
    }
    match facts.confinement.locked_memory {
        Some(bytes) if !facts.has(Capability::CAP_SYS_RESOURCE) => {
            let suspect = Suspect::LockedMemory(bytes);
            Feature::wanting("memory", Status::Missing, suspect.to_string(), suspect.help())
        }
        _ => Feature::ok("memory", "locked memory, without a limit or with one that can be lifted"),
    }
}

/// The map of a scan: some 80 bytes a socket, with room for a quarter more and 16,384 beyond.
fn scan_bytes(sockets: u64) -> u64 {
    (sockets + sockets / 4 + 16_384) * 80
}

#[cfg(test)]
mod tests {
    use super::{super::facts::tests::facts, *};

    #[test]
    fn an_old_kernel_is_missing_what_trace_says_it_is() {
        let feature = version(&facts("5.4.0-150-generic"));
        assert_eq!(feature.status, Status::Missing);
        assert!(feature.detail.contains("5.4.0-150-generic is too old"), "{}", feature.detail);
        assert_eq!(feature.help.as_deref(), Some("use kernel 5.10 or newer"));
        assert_eq!(version(&facts("5.10.0-46-cloud-amd64")).status, Status::Ok);
    }

    #[test]
    fn only_old_kernels_lock_memory() {
        let mut old = facts("5.10.0");
        old.confinement.locked_memory = Some(65_536);
        let feature = memory(&old);
        assert_eq!(feature.status, Status::Missing);
        assert!(feature.detail.contains("64 KiB"), "{}", feature.detail);
        old.capabilities = vec![Capability::CAP_SYS_RESOURCE];
        assert_eq!(memory(&old).status, Status::Ok);
        assert_eq!(memory(&facts("5.11.0")).status, Status::Ok);
    }

    #[test]
    fn a_disabled_jit_compiler_has_a_help_line() {
        let mut facts = facts("6.12.0");
        for (setting, status) in
            [(None, Status::Untested), (Some(0), Status::Degraded), (Some(1), Status::Ok)]
        {
            facts.jit = setting;
            assert_eq!(jit(&facts).status, status, "{setting:?}");
        }
    }
}

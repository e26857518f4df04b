//! The features of the kernel: version, type information (BTF), JIT compiler for BPF, and memory
//! for maps.

use caps::Capability;

use super::{Facts, Feature, Status};
use crate::probe::{Error, confinement::Suspect, kernel::OLDEST};

pub(super) fn features(facts: &Facts) -> Vec<Feature> {
    vec![
        version(facts),
        Feature::of(
            "btf",
            &facts.types,
            "the kernel's types contain every field that the programs read",
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
    Feature::ok("kernel", format!("{release}; tcpstate needs {}.{} or newer", OLDEST.0, OLDEST.1))
}

fn jit(facts: &Facts) -> Feature {
    let help = "sysctl net.core.bpf_jit_enable=1";
    match facts.jit {
        Some(0) => Feature::wanting(
            "jit",
            Status::Degraded,
            "off: BPF programs run slower, and programs cannot be attached to kernel functions",
            help,
        ),
        Some(_) => Feature::ok("jit", "on: the kernel compiles BPF programs"),
        None => Feature {
            id: "jit",
            status: Status::Untested,
            detail: "net.core.bpf_jit_enable is not visible in this network namespace".into(),
            help: None,
        },
    }
}

fn memory(facts: &Facts) -> Feature {
    if !facts.kernel.locks_memory_for_maps() {
        let mib = scan_bytes(facts.sockets) >> 20;
        let sockets = facts.sockets;
        let detail = format!(
            "a scan takes about {mib} MiB of the memory cgroup at the present number of sockets \
             ({sockets})"
        );
        return Feature::ok("memory", detail);
    }
    match facts.confinement.locked_memory {
        Some(bytes) if !facts.has(Capability::CAP_SYS_RESOURCE) => {
            let suspect = Suspect::LockedMemory(bytes);
            Feature::wanting("memory", Status::Missing, suspect.to_string(), suspect.help())
        }
        _ => {
            Feature::ok("memory", "locked memory: no limit, or a limit that this process can raise")
        }
    }
}

/// Returns the size in bytes of the map that a scan fills. An entry has about 80 bytes. For `n`
/// sockets the map has 1.25 `n` + 16,384 entries.
fn scan_bytes(sockets: u64) -> u64 {
    (sockets + sockets / 4 + 16_384) * 80
}

#[cfg(test)]
mod tests {
    use super::{super::facts::tests::facts, *};

    #[test]
    fn an_old_kernel_is_missing_with_the_cause_of_trace() {
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

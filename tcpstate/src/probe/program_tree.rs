//! Attaches the programs that follow the process tree of a program, for the filter on the tree.

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray},
};

use super::{
    Error,
    hooks::{self, hook},
    misses,
    programs::{map_error, open},
    types::Types,
};

/// The maximum number of processes of the tree that exist at one time. An entry uses about 80
/// bytes.
const MAX_PROCESSES: u32 = 65_536;

/// The program that adds the children of the tree, and its tracepoint.
const FORKS: &str = "sched_process_fork";
/// The program that removes processes from the tree, and its tracepoint.
const FREES: &str = "sched_process_free";

/// The attached programs that follow a process tree.
pub(crate) struct TreeHook {
    /// The number of processes that did not fit in the map, on each CPU.
    losses: PerCpuArray<MapData, u64>,
}

/// Sets the size of the map of processes.
pub(super) fn set_map_sizes(loader: &mut EbpfLoader<'_>) {
    loader.map_max_entries("PROGRAM_TREE", MAX_PROCESSES);
}

/// Attaches the programs.
pub(super) fn attach(ebpf: &mut Ebpf, types: &Types) -> Result<TreeHook, Error> {
    for program in [FREES, FORKS] {
        hooks::attach(ebpf, hook(program, program), &types.ids)?;
    }
    Ok(TreeHook { losses: open(ebpf, "TREE_LOSSES")? })
}

impl TreeHook {
    /// Returns the number of processes that are missing from the tree: the processes that did not
    /// fit in the map, and the forks for which the kernel skipped the program.
    pub(super) fn missed(&self, ebpf: &Ebpf) -> Result<u64, Error> {
        let of_cpus = self.losses.get(&0, 0).map_err(map_error("read", "TREE_LOSSES"))?;
        Ok(of_cpus.iter().sum::<u64>() + misses::of_program(ebpf, FORKS)?)
    }
}

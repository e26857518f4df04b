//! Traffic, and the truth about it: what the integration tests hold tcpstate's numbers against.
//!
//! ```text
//! netns -> traffic -> paths -> checkpoint: tcpstate's gauges == truth ?
//! ```
//!
//! - [`netns`]: a network namespace of the test's own, so that its sockets are the only ones;
//! - [`traffic`]: sockets, load, and idle connections, all over loopback;
//! - [`paths`]: scripted lives of sockets, which halt at checkpoints where nothing is in flight;
//! - [`truth`]: how many sockets there are, from `/proc` and from `ss`;
//! - [`traced`]: a tracer under test, held against the truth;
//! - [`actor`]: processes of other names, users and cgroups;
//! - [`audit`]: how many events there really were, counted without BPF;
//! - [`bpf`]: what BPF objects the kernel holds, of whomever;
//! - [`command`]: programs run as somebody, somewhere, to their end or until a signal;
//! - [`emulated`]: how much less is enough on a slow machine;
//! - [`errors`]: the rows of docs/ERRORS.md, which tests compare with what is said;
//! - [`measure`]: what programs in the kernel cost, for benchmarks;
//! - [`rows`]: what a benchmark measured;
//! - [`peers`]: what people use today, for benchmarks;
//! - [`own`]: tcpstate itself as a process at work, for benchmarks;
//! - [`recordings`]: of real kernels, and the forms of output that they are shown in;
//! - [`served`]: a running `tcpstate serve`, and what a tracer_handle gets from it;
//! - [`synthetic`]: events of a busy host, without the host;
//! - [`files`]: tables of files that are one thread's own;
//! - [`wait`]: conditions awaited with a deadline, never a blind sleep.
//!
//! Nothing in here knows how tcpstate counts. Everything in here needs root.

pub mod actor;
pub mod audit;
pub mod bpf;
pub mod command;
pub mod emulated;
pub mod errors;
pub mod files;
pub mod measure;
pub mod netns;
pub mod own;
pub mod paths;
pub mod peers;
pub mod recordings;
pub mod rows;
pub mod served;
pub mod synthetic;
pub mod traced;
pub mod traffic;
pub mod truth;
pub mod wait;

//! The endpoint that `serve` runs, for clients that poll.
//!
//! ```text
//! tracer_handle   a thread with the tracer: snapshots on request, scans when they are due
//!    ^
//! http      turns requests into calls of it; connections are limited in number, size and time
//! textfile  writes the metrics to a file, for collectors that read files
//! otlp      pushes the metrics to an OpenTelemetry receiver (feature `otlp`)
//! ```
//!
//! Without requests nothing is computed: between two scrapes the counts stay in the kernel.

pub mod http;
mod negotiation;
#[cfg(feature = "otlp")]
pub mod otlp;
mod textfile;
mod tracer_handle;

pub use self::{
    textfile::Textfile,
    tracer_handle::{Broken, DeliveryStats, Progress, Settings, TracerHandle},
};

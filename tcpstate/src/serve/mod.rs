//! An endpoint for those who ask from time to time: what `serve` runs.
//!
//! ```text
//! tracer_handle   a thread with the tracer: readings when somebody asks, scans when one is due
//!    ^
//! http      requests become questions to it; connections are bounded in number, size and time
//! textfile  the same text in a file, for those who would rather read that
//! otlp      the same numbers pushed to an OpenTelemetry receiver, where that is built in (feature `otlp`)
//! ```
//!
//! Nobody asks, nothing is computed: between two scrapes the counts lie in the kernel.

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

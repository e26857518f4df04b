//! Implements the command `serve`: an HTTP endpoint for scrapers, a text file and a push of
//! metrics.
//!
//! ```text
//! tracer_handle   a thread with the tracer: snapshots on request, scans when they are due
//!    ^
//! http      answers HTTP requests; limits the number, size and duration of connections
//! textfile  writes the metrics to a file, for collectors that read files
//! otlp      pushes the metrics to an OpenTelemetry receiver (feature `otlp`)
//! ```
//!
//! The server computes metrics only when a scraper, the text file or the push needs metrics. At all
//! other times, the BPF programs count events, and the server computes no metrics.

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

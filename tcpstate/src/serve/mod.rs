//! Implements the command `serve`: an HTTP endpoint for scrapers, a text file and a push of
//! metrics.
//!
//! ```text
//! worker          a thread with the tracer: readings on request, scans when they are due
//!    ^
//! tracer_handle   sends requests to the thread; returns the last reading during a scan
//!    ^
//! http      answers HTTP requests; limits the number, size and duration of connections
//! textfile  writes the metrics to a file, for collectors that read files
//! otlp      pushes the metrics to an OpenTelemetry receiver (feature `otlp`)
//! ```
//!
//! The server computes metrics only when a scraper, the text file or the push needs metrics. At all
//! other times, the BPF programs count events, and the server computes no metrics.

pub mod http;
mod last_reading;
mod negotiation;
#[cfg(feature = "otlp")]
pub mod otlp;
mod textfile;
mod tracer_handle;
mod worker;

pub use self::{
    last_reading::LastReading,
    textfile::Textfile,
    tracer_handle::{Broken, DeliveryStats, Progress, Settings, TracerHandle},
};

//! The flags of `serve` that push to an OpenTelemetry receiver.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::duration;
use crate::serve::{
    TracerHandle,
    otlp::{Protocol, Push, Receiver},
};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Also push the metrics to this OpenTelemetry receiver: http://127.0.0.1:4317, or :4318 with --otlp-protocol http
    #[arg(long, value_name = "URL", env = "TCPSTATE_OTLP", value_parser = parse_url)]
    otlp: Option<String>,

    /// What it speaks
    #[arg(long, value_name = "PROTOCOL", env = "TCPSTATE_OTLP_PROTOCOL", default_value = "grpc")]
    otlp_protocol: Speaks,

    /// Time between two pushes
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration::parse_interval)]
    otlp_interval: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speaks {
    /// gRPC
    Grpc,
    /// HTTP with protobuf; /v1/metrics is added to the URL
    Http,
}

fn parse_url(text: &str) -> Result<String, &'static str> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err(
            "expected a URL such as http://127.0.0.1:4317; for one with https put a collector of this host before it",
        ),
    }
}

impl Flags {
    /// Whether there is something to push to.
    pub(super) fn is_given(&self) -> bool {
        self.otlp.is_some()
    }

    /// Begins to push, where that is asked for.
    pub(super) fn begin(&self, tracer_handle: &TracerHandle) -> Result<()> {
        let Some(url) = self.otlp.clone() else { return Ok(()) };
        let protocol = match self.otlp_protocol {
            Speaks::Grpc => Protocol::Grpc,
            Speaks::Http => Protocol::Http,
        };
        let receiver = Receiver { url, protocol, interval: self.otlp_interval };
        let push =
            Push::new(receiver, tracer_handle).context("push to an OpenTelemetry receiver")?;
        tokio::spawn(push.run());
        Ok(())
    }
}

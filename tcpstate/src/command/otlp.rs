//! The flags of `serve` for pushing to an OpenTelemetry receiver.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::{duration, help::OUTPUT};
use crate::serve::{
    TracerHandle,
    otlp::{Protocol, Push, Receiver},
};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Also push metrics to an OpenTelemetry receiver
    ///
    /// URL of an OpenTelemetry receiver to push the metrics to, such as http://127.0.0.1:4317 for
    /// gRPC or http://127.0.0.1:4318 for HTTP. Environment variable: TCPSTATE_OTLP.
    #[arg(long, value_name = "URL", env = "TCPSTATE_OTLP", hide_env = true, value_parser = parse_url, help_heading = OUTPUT)]
    otlp: Option<String>,

    /// OTLP protocol: grpc or http
    ///
    /// Protocol of the OpenTelemetry receiver: grpc or http. Environment variable:
    /// TCPSTATE_OTLP_PROTOCOL.
    #[arg(long, value_name = "PROTOCOL", env = "TCPSTATE_OTLP_PROTOCOL", hide_env = true, default_value = "grpc", hide_possible_values = true, help_heading = OUTPUT)]
    otlp_protocol: ProtocolFlag,

    /// Time between two pushes
    #[arg(long, value_name = "TIME", default_value = "15s", allow_hyphen_values = true, value_parser = duration::parse_interval, help_heading = OUTPUT)]
    otlp_interval: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolFlag {
    /// gRPC
    Grpc,
    /// HTTP with protobuf; tcpstate adds /v1/metrics to the URL
    Http,
}

fn parse_url(text: &str) -> Result<String, &'static str> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err(
            "expected an http URL such as http://127.0.0.1:4317; for https, push to a local collector that forwards to the receiver",
        ),
    }
}

impl Flags {
    /// Returns whether a receiver was given.
    pub(super) fn is_given(&self) -> bool {
        self.otlp.is_some()
    }

    /// Starts to push, if a receiver was given.
    pub(super) fn begin(&self, tracer_handle: &TracerHandle) -> Result<()> {
        let Some(url) = self.otlp.clone() else { return Ok(()) };
        let protocol = match self.otlp_protocol {
            ProtocolFlag::Grpc => Protocol::Grpc,
            ProtocolFlag::Http => Protocol::Http,
        };
        let receiver = Receiver { url, protocol, interval: self.otlp_interval };
        let push = Push::new(receiver, tracer_handle)
            .context("cannot push to an OpenTelemetry receiver")?;
        tokio::spawn(push.run());
        Ok(())
    }
}

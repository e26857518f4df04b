//! `tcpstate serve`: counts for months, told to whoever asks.

mod answer;
mod error;

use std::{
    net::SocketAddr, num::NonZeroU32, path::PathBuf, process::ExitCode, str::FromStr, sync::Arc,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, ValueEnum, value_parser};
use sd_notify::NotifyState;
use tcpstate_common::histogram;
use tokio::signal::unix::SignalKind;

use self::answer::{answer, bind, notify_manager};
pub(super) use self::error::Error;
use super::{
    duration, runtime,
    signals::{Signals, listen},
    values, warnings,
};
use crate::{
    aggregate::Reconcile,
    probe::{HistogramOptions, MAX_NAMESPACES, MAX_TIMED, Netns, Options, relinquish},
    serve::{DeliveryStats, Settings, Textfile, TracerHandle},
};

/// Count TCP sockets for as long as it runs, for Prometheus to scrape
///
/// Answers GET /metrics in OpenMetrics or in Prometheus' text format, whichever the client prefers; /healthz says whether it
/// is alive, /readyz whether it counts. A scrape reads the counts from the kernel; in between nothing is computed.
///
/// Once everything is in place it gives up its privileges. SIGTERM ends it in order. There is no configuration file to read
/// again: SIGHUP makes a scan over all sockets, which puts the gauges right whatever was missed; counters go on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo tcpstate serve                                    on 127.0.0.1:9919, this network namespace
  sudo tcpstate serve --netns pid:1 --listen [::1]:9919  the host's namespace, from within a container
  sudo tcpstate serve --by netns                         the whole host, with series for each namespace
  sudo tcpstate serve --hist                             how long states and connecting take, too
  sudo tcpstate serve --hist --by local-port             the same for each port
  sudo tcpstate serve --listen off --textfile a.prom     a file for node_exporter, and no endpoint")]
pub(super) struct Arguments {
    /// Where to listen, or off. It has no passwords and no encryption: put a reverse proxy before it where others than
    /// this host shall ask
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "TCPSTATE_LISTEN",
        default_value = "127.0.0.1:9919"
    )]
    listen: Listen,

    /// Also write the metrics to this file, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE", env = "TCPSTATE_TEXTFILE")]
    textfile: Option<PathBuf>,

    /// Time between two writes of the file
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration::parse_interval)]
    textfile_interval: Duration,

    #[cfg(feature = "otlp")]
    #[command(flatten)]
    otlp: super::otlp::Flags,

    /// Which network namespace: self, all, NAME (as in `ip netns`), name:NAME, path:FILE or pid:NUMBER
    #[arg(long, value_name = "WHICH", default_value = "self", env = "TCPSTATE_NETNS")]
    netns: Netns,

    /// Series for each of these too: sockets by netns (needs CAP_SYS_ADMIN, and counts all network namespaces); with
    /// cgroup and local-port only what happened, for sockets are not counted by those
    #[arg(long, value_name = "WHAT")]
    by: Option<SeriesBy>,

    /// Time states, handshakes and connections, as tcpstate hist does: histograms, with --by for each of those
    #[arg(long)]
    hist: bool,

    /// With --hist, and with --by cgroup and local-port: remember so many sockets until their state ends, and so many
    /// time-wait sockets (324 bytes each)
    #[arg(long, value_name = "N", default_value_t = MAX_TIMED, value_parser = value_parser!(u32).range(1..=16_777_216))]
    max_sockets: u32,

    /// With --by: series for so many, and other for the rest; of transitions and durations for those that came first (210 KiB
    /// each)
    #[arg(long, alias = "most-series", value_name = "N", default_value = "100", value_parser = value_parser!(u32).range(1..=10_000))]
    max_series: u32,

    /// Connections at a time; of more the oldest idle ones are closed
    #[arg(long, alias = "most-connections", value_name = "N", default_value = "128", value_parser = value_parser!(u32).range(1..=65_536))]
    max_connections: u32,

    /// When to walk over all sockets again to make up for missed events: auto, off, or a pace such as 30s
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = values::reconcile)]
    reconcile: Reconcile,

    /// Room for this many sockets in the memory of scans, 80 bytes each [default: twice as many as there are at the start,
    /// and 65,536]
    #[arg(long, alias = "pass-entries", value_name = "N", value_parser = values::entries)]
    max_scan_sockets: Option<NonZeroU32>,

    /// Measure what the programs in the kernel cost; needs CAP_SYS_ADMIN
    #[arg(long)]
    cost: bool,

    /// Don't give up capabilities: then scans may take as much memory as there are sockets, and hooks that turn out to be
    /// silent can be replaced by others
    #[arg(long)]
    keep_privileges: bool,
}

/// What series there are beside those of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SeriesBy {
    /// Network namespaces
    Netns,
    /// Cgroups, which are containers and services: transitions, and durations with --hist
    Cgroup,
    /// The sockets' own ports: transitions, and durations with --hist
    LocalPort,
}

impl SeriesBy {
    /// As what states are timed for.
    const fn of_histograms(self) -> histogram::By {
        match self {
            Self::Netns => histogram::By::Netns,
            Self::Cgroup => histogram::By::Cgroup,
            Self::LocalPort => histogram::By::LocalPort,
        }
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug)]
enum Listen {
    At(SocketAddr),
    Off,
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(
                |_| "expected an address and a port, such as 127.0.0.1:9919 or [::1]:9919; or off",
            ),
        }
    }
}

impl Arguments {
    fn options(&self) -> Result<Options, Error> {
        let netns = match (self.by, &self.netns) {
            (None | Some(SeriesBy::Cgroup | SeriesBy::LocalPort), netns) => netns.clone(),
            (Some(SeriesBy::Netns), Netns::Own | Netns::All) => Netns::All,
            (Some(SeriesBy::Netns), _) => return Err(Error::OneNamespace),
        };
        Ok(Options {
            netns,
            by_family: true,
            max_namespaces: Some(MAX_NAMESPACES.max(self.max_series)),
            statistics: self.cost,
            max_scan_sockets: self.max_scan_sockets.map(NonZeroU32::get),
            keep_scan_map: !self.keep_privileges,
            histograms: self.histograms(),
            ..Options::default()
        })
    }

    /// What is to be timed: also where durations are not asked for, but who made which transitions.
    fn histograms(&self) -> Option<HistogramOptions> {
        let is_wanted =
            self.hist || matches!(self.by, Some(SeriesBy::Cgroup | SeriesBy::LocalPort));
        is_wanted.then(|| HistogramOptions {
            by: self.by.map(SeriesBy::of_histograms),
            max_groups: self.max_series,
            max_sockets: self.max_sockets,
        })
    }

    /// Whether somebody is told who does not ask.
    #[cfg(feature = "otlp")]
    fn pushes(&self) -> bool {
        self.otlp.is_given()
    }

    #[cfg(not(feature = "otlp"))]
    #[allow(clippy::unused_self, reason = "with the feature it looks")]
    fn pushes(&self) -> bool {
        false
    }

    fn textfile(&self) -> Result<Option<Textfile>, Error> {
        let open = |path: &PathBuf| {
            Textfile::new(path).map_err(|error| Error::Textfile(path.clone(), error))
        };
        self.textfile.as_ref().map(open).transpose()
    }
}

/// Runs it to its end.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(arguments));
    // Threads that ask a name server, for where to push to, are not waited for.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

async fn serve(arguments: &Arguments) -> Result<()> {
    // Before anything is attached, so that a signal at any time ends the run in order.
    let mut signals = Signals::new()?;
    let hang_up = listen(SignalKind::hangup())?;
    let options = arguments.options()?;
    let mut textfile = arguments.textfile()?;
    let listener = match arguments.listen {
        Listen::At(address) => Some(bind(address)?),
        Listen::Off if textfile.is_none() && !arguments.pushes() => {
            return Err(Error::NothingToDo.into());
        }
        Listen::Off => None,
    };
    let settings = Settings {
        options,
        reconcile: arguments.reconcile,
        drop_privileges: !arguments.keep_privileges,
        max_series: (arguments.by == Some(SeriesBy::Netns))
            .then_some(arguments.max_series as usize),
        durations: arguments.hist,
        delivery_stats: Arc::new(DeliveryStats {
            has_textfile: textfile.is_some(),
            has_push: arguments.pushes(),
            ..DeliveryStats::default()
        }),
    };
    let (tracer_handle, progress) = TracerHandle::start(settings, warnings::at_start);
    if !arguments.keep_privileges {
        // The tracer's thread gives up its own when it has used them.
        relinquish::keep_only(&[])?;
    }
    let ended = tokio::select! {
        error = answer(arguments, &tracer_handle, progress, hang_up, listener, &mut textfile) => error,
        () = signals.next() => Ok(()),
    };
    notify_manager(NotifyState::Stopping);
    if let Some(textfile) = textfile {
        textfile.remove();
    }
    ended
}

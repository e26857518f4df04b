//! `tcpstate serve`: counts until it is stopped, and serves metrics over HTTP.

mod answer;
mod error;
mod manager;

use std::{
    net::SocketAddr, num::NonZeroU32, path::PathBuf, process::ExitCode, str::FromStr, sync::Arc,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, value_parser};
use tcpstate_common::histogram;
use tokio::signal::unix::SignalKind;

pub(super) use self::error::Error;
use self::{
    answer::{answer, bind},
    manager::notify,
};
use super::{
    by, duration, environment,
    help::{ADVANCED, OUTPUT},
    owners, privileges, runtime,
    signals::{Signals, listen},
    user, values, warnings,
};
use crate::{
    aggregate::Reconcile,
    probe::{
        HistogramOptions, MAX_NAMESPACES, MAX_OWNERS, MAX_TIMED, Netns, Options, OwnerOptions,
        relinquish::{self, User},
    },
    report::Key,
    serve::{DeliveryStats, Settings, Textfile, TracerHandle, http::AllowedHost},
};

/// Serve metrics for Prometheus
///
/// Answers GET /metrics in OpenMetrics or in the text format of Prometheus, whichever the client
/// prefers. /healthz reports whether the process is alive, and /readyz whether it counts. A scrape
/// reads the counts from the kernel. While a scan of many namespaces runs, a scrape gets the last
/// reading and its age. Between scrapes, serve lists listeners and used ports, and with --by it
/// reads the counts by owner.
///
/// serve drops its privileges when all hooks are attached. SIGTERM ends serve. After SIGHUP, serve
/// scans all sockets, which corrects the gauges after missed events; counters keep their values.
/// There is no configuration file.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  sudo tcpstate serve                                    on 127.0.0.1:9919
  sudo tcpstate serve --by process --by remote           also each process and peer
  sudo tcpstate serve --by netns                         also each namespace
  sudo tcpstate serve --hist                             also durations
  sudo tcpstate serve --netns pid:1 --listen [::1]:9919  the host, from a container
  sudo tcpstate serve --hist --by local-port             durations of each port
  sudo tcpstate serve --listen off --textfile a.prom     a file for node_exporter")]
pub(super) struct Arguments {
    /// Listen address, or off
    ///
    /// Address and port to listen on, or off. There is no authentication and no TLS. To expose the
    /// metrics to other hosts, use a reverse proxy. Environment variable: TCPSTATE_LISTEN.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "TCPSTATE_LISTEN",
        hide_env = true,
        default_value = "127.0.0.1:9919"
    )]
    listen: Listen,

    /// Host name that clients may use
    ///
    /// Host name that clients may use in a URL: NAME, *.DOMAIN, or * for every name; repeatable. IP
    /// addresses, localhost and the names of the listening address are always allowed. A request
    /// for another host name gets status 421, against DNS rebinding. Environment variable:
    /// TCPSTATE_ALLOW_HOST.
    #[arg(
        long,
        value_name = "NAME",
        env = "TCPSTATE_ALLOW_HOST",
        hide_env = true,
        value_delimiter = ','
    )]
    allow_host: Vec<AllowedHost>,

    /// Network namespace, such as pid:1
    ///
    /// Network namespace: self, all, NAME (as in `ip netns`), name:NAME, path:FILE or pid:N. With
    /// all, tcpstate counts the whole host. Environment variable: TCPSTATE_NETNS.
    #[arg(
        long,
        value_name = "NETNS",
        default_value = "self",
        env = "TCPSTATE_NETNS",
        hide_env = true
    )]
    netns: Netns,

    /// Add series by process, remote or another key
    ///
    /// Key of additional series; repeatable: process, comm, user, cgroup, unit, container, netns,
    /// local-port, remote or remote-port. Each value of the key gets gauges and counters of its
    /// own. netns needs CAP_SYS_ADMIN, because all network namespaces are counted. cgroup,
    /// local-port and, with --hist, netns also add transitions and durations, for the first of
    /// these keys.
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    by: Vec<Key>,

    /// Also serve histograms of durations
    ///
    /// Also serve histograms of the durations of states, handshakes and connections, as `tcpstate
    /// hist` shows them.
    #[arg(long)]
    hist: bool,

    /// Also write the metrics to FILE
    ///
    /// Also write the metrics to FILE, for the textfile collector of node_exporter. Environment
    /// variable: TCPSTATE_TEXTFILE.
    #[arg(long, value_name = "FILE", env = "TCPSTATE_TEXTFILE", hide_env = true, help_heading = OUTPUT)]
    textfile: Option<PathBuf>,

    /// Time between textfile writes
    #[arg(long, value_name = "TIME", default_value = "15s", allow_hyphen_values = true, value_parser = duration::parse_interval, help_heading = OUTPUT)]
    textfile_interval: Duration,

    #[cfg(feature = "otlp")]
    #[command(flatten)]
    otlp: super::otlp::Flags,

    /// Serve the CPU time of the BPF programs
    ///
    /// Serve the CPU time of the BPF programs (BPF_ENABLE_STATS). This needs CAP_SYS_ADMIN.
    #[arg(long, help_heading = OUTPUT)]
    cost: bool,

    /// Scan again: auto, off or TIME
    ///
    /// When to scan all sockets again: auto, off, or an interval such as 30s. A scan corrects the
    /// gauges after missed events; auto scans only after missed events.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = values::reconcile, help_heading = ADVANCED)]
    reconcile: Reconcile,

    #[command(flatten)]
    audit: values::AuditFlag,

    /// Maximum number of connections
    ///
    /// Maximum number of open connections. Another 128 connections have no request in progress:
    /// they are for /healthz and /readyz. At the maximum, a new connection replaces the oldest idle
    /// connection, and a scrape gets the last reading.
    #[arg(long, alias = "most-connections", value_name = "N", default_value = "512", value_parser = value_parser!(u32).range(1..=65_536), help_heading = ADVANCED)]
    max_connections: u32,

    /// Maximum sockets per scan [default: automatic]
    ///
    /// Maximum number of sockets in a scan, 80 bytes each. The default is twice the number of
    /// sockets at the start, plus 65,536.
    #[arg(long, alias = "pass-entries", value_name = "N", value_parser = values::entries, help_heading = ADVANCED)]
    max_scan_sockets: Option<NonZeroU32>,

    /// Maximum number of groups
    ///
    /// Maximum number of groups of each --by. The other groups are summed as `other`. A group
    /// without sockets gives its place to another group after a minute. For transitions and
    /// durations, the first N groups are kept, 210 KiB each.
    #[arg(long, alias = "most-series", value_name = "N", default_value = "100", value_parser = value_parser!(u32).range(1..=10_000), help_heading = ADVANCED)]
    max_series: u32,

    /// Maximum number of owners
    ///
    /// Maximum number of owners to count: of the combinations of the values of all keys of --by.
    /// The sockets of other owners are counted as `other`. An owner that has ended gives its place
    /// back.
    #[arg(long, value_name = "N", requires = "by", default_value_t = MAX_OWNERS, value_parser = value_parser!(u32).range(1..=1_048_576), help_heading = ADVANCED)]
    max_owners: u32,

    /// Maximum sockets to track
    ///
    /// Maximum number of sockets to time or to count by owner at once, and of time-wait sockets.
    /// Each socket uses 324 bytes. The limit applies with --hist or --by.
    #[arg(long, value_name = "N", default_value_t = MAX_TIMED, value_parser = value_parser!(u32).range(1..=16_777_216), help_heading = ADVANCED)]
    max_sockets: u32,

    /// User to run as after the start
    ///
    /// User to run as after the hooks are attached: a name in /etc/passwd, or a number. The flag
    /// needs root. Environment variable: TCPSTATE_USER.
    #[arg(long, value_name = "USER", env = "TCPSTATE_USER", hide_env = true, value_parser = user::parse, help_heading = ADVANCED)]
    user: Option<User>,

    /// Keep the capabilities of the process
    ///
    /// Keep the capabilities of the process. With them, the memory of scans can grow with the
    /// number of sockets, and a hook that never fires can be replaced.
    #[arg(long, help_heading = ADVANCED)]
    keep_privileges: bool,
}

/// The number of open files in addition to `--max-connections`: programs, maps, links, and the
/// connections in reserve.
const FILES: u64 = 512;

/// Parses a key of the additional series.
fn parse_key(text: &str) -> Result<Key, String> {
    let keys = by::parse(text, &owners::KEYS)?.0;
    match keys[..] {
        [key] => Ok(key),
        _ => Err("expected one key; repeat --by for more".to_owned()),
    }
}

/// Returns the key of the histograms in the kernel, if the key has histograms.
const fn of_histograms(key: Key) -> Option<histogram::By> {
    match key {
        Key::Netns => Some(histogram::By::Netns),
        Key::Cgroup => Some(histogram::By::Cgroup),
        Key::LocalPort => Some(histogram::By::LocalPort),
        _ => None,
    }
}

/// The address to listen on.
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
        let netns = match &self.netns {
            netns if !self.by.contains(&Key::Netns) => netns.clone(),
            Netns::Own | Netns::All => Netns::All,
            _ => return Err(Error::OneNamespace),
        };
        Ok(Options {
            netns,
            by_family: true,
            max_namespaces: Some(MAX_NAMESPACES.max(self.max_series)),
            statistics: self.cost,
            max_scan_sockets: self.max_scan_sockets.map(NonZeroU32::get),
            keep_scan_map: !self.keep_privileges,
            histograms: self.histograms(),
            owners: self.owners(),
            failures: true,
            ..Options::default()
        })
    }

    /// Returns the keys of the additional series, without duplicates.
    fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for &key in &self.by {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Returns the options of counting by owner. The kernel half counts the combinations of the
    /// values of all keys.
    fn owners(&self) -> Option<OwnerOptions> {
        let by = self.keys();
        (!by.is_empty()).then_some(OwnerOptions {
            by,
            max_owners: self.max_owners,
            max_sockets: self.max_sockets,
        })
    }

    /// Returns the options of the histograms in the kernel. `--by cgroup` and `--by local-port`
    /// need histograms even without `--hist`, because the histograms count the transitions of each
    /// group.
    fn histograms(&self) -> Option<HistogramOptions> {
        let has_groups = |key: &Key| self.hist || *key != Key::Netns;
        let by = self.by.iter().filter(|key| has_groups(key)).find_map(|&key| of_histograms(key));
        (self.hist || by.is_some()).then_some(HistogramOptions {
            by,
            max_groups: self.max_series,
            max_sockets: self.max_sockets,
        })
    }

    /// Returns whether metrics are pushed to a receiver.
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

/// Runs `tcpstate serve`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    privileges::confine()?;
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(arguments));
    // Do not wait for threads that still resolve the name of the receiver.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

async fn serve(arguments: &Arguments) -> Result<()> {
    // Signals are caught before hooks are attached, so that a signal always ends the run cleanly.
    let mut signals = Signals::new()?;
    let hang_up = listen(SignalKind::hangup())?;
    environment::allow_files(FILES + u64::from(arguments.max_connections));
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
        max_audit_cpu: arguments.audit.max_audit_cpu,
        drop_privileges: !arguments.keep_privileges,
        user: arguments.user,
        by: arguments.keys(),
        max_series: arguments.max_series as usize,
        durations: arguments.hist,
        delivery_stats: Arc::new(DeliveryStats {
            has_textfile: textfile.is_some(),
            has_push: arguments.pushes(),
            ..DeliveryStats::default()
        }),
    };
    let says_kept = arguments.user.is_some() && !arguments.keep_privileges;
    let (tracer_handle, progress) = TracerHandle::start(settings, move |probe| {
        warnings::at_start(probe);
        if says_kept && probe.kernel.guards_each_bpf_call() {
            warnings::kept();
        }
    })?;
    // The tracer's thread changes its own user and capabilities when the hooks are attached.
    if let Some(user) = arguments.user {
        relinquish::change_user(user).map_err(Error::User)?;
    }
    if !arguments.keep_privileges {
        privileges::keep(&[])?;
    }
    let ended = tokio::select! {
        error = answer(arguments, &tracer_handle, progress, hang_up, listener, &mut textfile) => error,
        () = signals.next() => Ok(()),
    };
    notify("STOPPING=1");
    if let Some(textfile) = textfile {
        textfile.remove();
    }
    ended
}

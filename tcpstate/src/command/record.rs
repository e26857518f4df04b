//! `--record`: writes the shown reports and events to a file, too.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, value_parser};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use super::{FAILED, help::RECORDING, output::Output, program::Program, signals::Signals, values};
use crate::{
    error::Help as _,
    procfs::sysctl,
    recording::{Limits, MAX_FACTS, News, Part, Recorder},
    report::{Event, Key, Report},
    source::sock_diag,
    view::{EventLines, View},
};

/// The flags for writing a recording.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Also record the output to FILE, which must not exist
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Maximum size of a file, such as 100M
    ///
    /// Maximum size of a file, such as 500k, 100M or 2G. The recording continues in FILE.1, FILE.2
    /// and so on.
    #[arg(long, alias = "record-size", value_name = "SIZE", requires = "record", value_parser = values::size, help_heading = RECORDING)]
    max_record_size: Option<u64>,

    /// Number of newest files to keep
    #[arg(long, alias = "record-files", value_name = "N", requires = "max_record_size", value_parser = value_parser!(u32).range(1..), help_heading = RECORDING)]
    max_record_files: Option<u32>,

    /// Mode of the files, such as 640 [default: 600]
    ///
    /// Mode of the files in octal, whatever the umask is. Recordings contain addresses and names of
    /// programs, so by default other users cannot read them.
    #[arg(long, value_name = "MODE", requires = "record", default_value = "600", hide_default_value = true, value_parser = parse_mode, help_heading = RECORDING)]
    record_mode: u32,
}

/// Parses the mode of a file that at least its owner can read and write.
fn parse_mode(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "expected an octal mode from 600 to 666, such as 640";
    let mode = u32::from_str_radix(text, 8).map_err(|_| EXPECTED)?;
    if (0o600..=0o666).contains(&mode) && mode & 0o111 == 0 { Ok(mode) } else { Err(EXPECTED) }
}

impl Flags {
    /// Returns whether `--record` is given.
    pub(super) fn is_wanted(&self) -> bool {
        self.record.is_some()
    }

    /// Begins a recording, if `--record` is given. The caller must be in the recorded network
    /// namespace, because the sysctls of this namespace are recorded.
    pub(super) fn begin(&self, lines: EventLines, by: &[Key]) -> Result<Option<Arc<Recorder>>> {
        let Some(file) = &self.record else { return Ok(None) };
        let limits = Limits {
            file_bytes: self.max_record_size,
            files: self.max_record_files,
            mode: self.record_mode,
        };
        let part = Part {
            has_events: lines.transitions,
            has_connections: lines.connections,
            by: by.to_vec(),
            sysctls: sysctl::known(),
            addresses: interface_addresses(),
            listeners: listeners(),
            ..Part::new(concat!("tcpstate ", env!("CARGO_PKG_VERSION")))
        };
        Ok(Some(Arc::new(Recorder::create(file, limits, part)?)))
    }
}

/// Returns the addresses of the interfaces of the thread's namespace, for example `eth0 192.0.2.1`.
/// The list is empty if they cannot be read.
fn interface_addresses() -> Vec<String> {
    let interfaces = getifaddrs().into_iter().flatten();
    let address = |interface: InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let v6 = || address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip()));
        Some(format!("{} {}", interface.interface_name, v4.or_else(v6)?))
    };
    interfaces.filter_map(address).take(MAX_FACTS).collect()
}

/// Returns the local addresses of the listeners of the thread's namespace. The list is empty if
/// they cannot be listed.
fn listeners() -> Vec<String> {
    let mut all = sock_diag::listeners().unwrap_or_default();
    all.sort_unstable();
    all.iter().take(MAX_FACTS).map(SocketAddr::to_string).collect()
}

/// Ends and removes a recording of a run whose program did not start.
pub(super) fn discard(flags: &Flags, recorder: Option<Arc<Recorder>>) {
    if let (Some(file), Some(recorder)) = (&flags.record, recorder) {
        // The error of the program is more important than an error of the recording.
        let _ = recorder.close();
        let _ = fs::remove_file(file);
    }
}

/// Returns a view that passes all reports and events to the recorder first, if there is a recorder.
pub(super) fn recorded(
    view: Box<dyn View + Send>,
    recorder: Option<Arc<Recorder>>,
) -> Box<dyn View + Send> {
    match recorder {
        None => view,
        Some(recorder) => Box::new(Recorded { view, recorder }),
    }
}

/// Writes the last report. If the run is recorded, also ends the recording.
pub(super) async fn finish(
    output: Output,
    last: Report,
    recorder: Option<Arc<Recorder>>,
    signals: &mut Signals,
    program: &Program,
) -> Result<()> {
    // At this point, only a slow reader of stdout can delay the end of the process.
    tokio::select! {
        written = output.finish(last) => written.context("cannot write to stdout")?,
        () = give_up(signals) => {
            let closed = recorder.map(|recorder| recorder.close());
            let own = if closed.is_some_and(|closed| closed.is_err()) { FAILED } else { 0 };
            std::process::exit(program.status(own).into());
        }
    }
    Ok(recorder.map_or(Ok(()), |recorder| recorder.close())?)
}

/// Returns when the process must not wait for the reader of stdout any longer: at a second signal,
/// and some seconds after SIGTERM or SIGHUP.
async fn give_up(signals: &mut Signals) {
    const GRACE: Duration = Duration::from_secs(5);
    let has_terminated = signals.has_terminated();
    tokio::select! {
        () = signals.next() => {}
        () = tokio::time::sleep(GRACE), if has_terminated => {}
    }
}

struct Recorded {
    view: Box<dyn View + Send>,
    recorder: Arc<Recorder>,
}

impl View for Recorded {
    fn show(&mut self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        self.recorder.add_report(report);
        warn(&self.recorder);
        self.view.show(report, out)
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn io::Write) -> io::Result<()> {
        self.recorder.add_events(events);
        warn(&self.recorder);
        self.view.show_events(events, out)
    }

    fn redraw(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        self.view.redraw(out)
    }
}

/// Reports the state of the recording on stderr when the state changes. The output on stdout
/// continues even if the recording fails.
fn warn(recorder: &Recorder) {
    match recorder.news() {
        None => {}
        Some(News::Failing(error)) => {
            eprintln!("tcpstate: {error}; new data is kept in memory, up to 4 MiB");
            eprintln!("help: {}", error.help());
        }
        Some(News::Stopped(error)) => {
            eprintln!("tcpstate: {error}; the run goes on without recording");
            eprintln!("help: {}", error.help());
        }
        Some(News::Resumed) => {
            eprintln!("tcpstate: the recording is written again, and it is complete");
        }
        Some(News::Ended) => {
            eprintln!(
                "tcpstate: the recording has ended, because it could not be written for too long"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_is_octal_and_lets_the_owner_read_and_write() {
        for (text, mode) in [("600", 0o600), ("0640", 0o640), ("644", 0o644), ("666", 0o666)] {
            assert_eq!(parse_mode(text), Ok(mode), "{text}");
        }
        for text in ["", "rw", "400", "0", "700", "755", "611", "4600", "-600", "9"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }
}

//! `trace --verify`: compares the gauges with the kernel's list of sockets at each snapshot.

use std::borrow::Cow;

use anyhow::{Result, bail};

use crate::{
    error::Help,
    filter::Filter,
    probe::Netns,
    report::{Family, Verdict},
    source::sock_diag,
    tracer::Tracer,
};

/// `--verify` was given with all network namespaces, but sock_diag lists only one namespace.
#[derive(Debug, thiserror::Error)]
#[error("cannot use --verify with --netns all: sock_diag lists only one network namespace")]
pub(super) struct ManyLists;

impl Help for ManyLists {
    fn help(&self) -> Cow<'static, str> {
        "choose one namespace with --netns NAME or --netns pid:N".into()
    }
}

/// Compares the gauges, and counts the comparisons and the differences.
pub(super) struct Verifier {
    filter: Filter,
    differed: u64,
    compared: u64,
}

impl Verifier {
    /// Returns a verifier if `is_wanted`.
    pub(super) fn new(
        is_wanted: bool,
        netns: &Netns,
        family: Option<Family>,
    ) -> Result<Option<Self>> {
        if !is_wanted {
            return Ok(None);
        }
        if *netns == Netns::All {
            bail!(ManyLists);
        }
        let filter = Filter { family, ..Filter::default() };
        Ok(Some(Self { filter, differed: 0, compared: 0 }))
    }

    /// Compares the gauges one time with the kernel's list of sockets.
    pub(super) fn verify(&mut self, tracer: &mut Tracer) -> Result<Verdict> {
        let verdict = tracer
            .verify(|| sock_diag::count_by_state(&self.filter).map_err(anyhow::Error::from))?;
        self.compared += u64::from(matches!(verdict, Verdict::Equal | Verdict::Differs(_)));
        self.differed += u64::from(matches!(verdict, Verdict::Differs(_)));
        Ok(verdict)
    }

    /// Prints the result of all comparisons on stderr. Returns whether no gauge ever differed.
    pub(super) fn conclude(&self) -> bool {
        let Self { differed, compared, .. } = self;
        if *differed > 0 {
            eprintln!(
                "tcpstate: gauges differed from sock_diag in {differed} of {compared} comparisons"
            );
            eprintln!("help: run tcpstate check --live, and report the output of both commands");
        } else if *compared == 0 {
            eprintln!(
                "tcpstate: no comparison with sock_diag was made, because sockets moved all the time"
            );
        }
        *differed == 0
    }
}

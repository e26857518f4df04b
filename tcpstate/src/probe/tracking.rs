//! Attaches the program that tracks each full socket from event to event, if events or histograms
//! are enabled.

use aya::Ebpf;

use super::{
    Error,
    hooks::{self, Hook},
    programs::TRACEPOINT,
    types::Types,
};

/// The tracking programs, best first. The program `track` is for the typed tracepoint, and
/// `track_raw` is for the raw tracepoint. The classic tracepoint has no tracking program, because
/// the classic tracepoint loses most events when traffic is heavy.
const PROGRAMS: [&str; 2] = ["track", "track_raw"];

/// Attaches the best program that the kernel accepts, and returns the name of this program. Events
/// and histograms share the program, so the program may already be attached.
pub(super) fn attach(ebpf: &mut Ebpf, types: &Types) -> Result<&'static str, Error> {
    if let Some(program) = PROGRAMS.into_iter().find(|program| hooks::is_attached(ebpf, program)) {
        return Ok(program);
    }
    let mut first = None;
    for program in PROGRAMS {
        match hooks::attach(ebpf, Hook { program, target: TRACEPOINT }, &types.ids) {
            Ok(()) => return Ok(program),
            Err(error) => {
                hooks::detach(ebpf, program);
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or(Error::Absent("track")))
}

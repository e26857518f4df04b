//! Finds the BPF programs and maps by name.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::{
    Ebpf,
    maps::{Map, MapError},
    programs::{Iter, Program, ProgramFd, ProgramInfo},
};

use super::Error;

/// The tracepoint of transitions of full sockets.
pub(super) const TRACEPOINT: &str = "inet_sock_set_state";
/// The program that visits each socket during a scan.
pub(crate) const ITERATOR: &str = "tcp_iterator";
/// The program that writes the connection of each socket.
pub(crate) const PENDING: &str = "pending_iterator";
/// The program that visits time-wait sockets in FIN_WAIT2.
pub(super) const SWEEP: &str = "fin_wait2_iterator";
/// The program that visits network namespaces.
pub(super) const NAMESPACE_SWEEP: &str = "namespace_iterator";

/// Returns the descriptor of a loaded program.
pub(super) fn fd<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, Error> {
    let program = ebpf.program(name).ok_or(Error::Absent(name))?;
    program.fd().map(ProgramFd::as_fd).map_err(program_error("find", name))
}

/// Returns the kernel's description of a loaded program.
pub(super) fn info(ebpf: &Ebpf, name: &'static str) -> Result<ProgramInfo, Error> {
    let program = ebpf.program(name).ok_or(Error::Absent(name))?;
    program.info().map_err(program_error("describe", name))
}

pub(super) fn iterator_fd<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, Error> {
    let program: &Iter = program(ebpf, name)?;
    program.fd().map(ProgramFd::as_fd).map_err(program_error("find", name))
}

fn program<'a, P>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a P, Error>
where
    &'a P: TryFrom<&'a Program>,
{
    ebpf.program(name).and_then(|program| program.try_into().ok()).ok_or(Error::Absent(name))
}

pub(super) fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(Error::Absent(name))
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or(Error::Absent(name))
}

/// Opens a map. The map stays open as long as the returned value.
pub(super) fn open<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = MapError>,
{
    M::try_from(take_map(ebpf, name)?).map_err(map_error("open", name))
}

pub(super) fn program_error<E>(action: &'static str, program: &'static str) -> impl Fn(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| Error::Program { action, program, source: Box::new(source) }
}

pub(crate) fn map_error(
    action: &'static str,
    map: &'static str,
) -> impl Fn(aya::maps::MapError) -> Error {
    move |source| Error::Map { action, map, source: Box::new(source) }
}

//! `tcpstate trace`: shows live counts at each interval, or each transition as an event.

mod arguments;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::Result;

pub(super) use self::arguments::Arguments;
use super::{
    bpf_log, connections, events, foreground,
    keys::Keys,
    output::Output,
    pace::{Pace, Paced},
    privileges,
    program::Program,
    record, replay, runtime,
    scan_warner::ScanWarner,
    signals::Signals,
    stdout::Format,
    terminal,
    verify::Verifier,
    warnings,
};
use crate::{
    aggregate::Reconcile,
    filter::GroupFilter,
    report::{Key, Report, Snapshot, Verdict},
    tracer::Tracer,
    view::{
        ConnectionCsv, ConnectionTable, Csv, EventCsv, EventLines, EventTable, Heat, Json, Screen,
        Table, TerminalCaps, View,
    },
};

/// Runs `tcpstate trace`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(file) = &arguments.replay {
        let is_painted = has_screen(arguments);
        let filter = arguments.connection_filter();
        return replay::show_as(file, &arguments.replayed, is_painted, filter, |part| {
            arguments.owners.require_recorded(file, &part.by)?;
            if arguments.events.are_connections() {
                connections::require_recorded(file, part)?;
            }
            let has_lines = arguments.events.are_given();
            let lines = if has_lines { arguments.events.lines() } else { part.lines() };
            Ok(view(arguments, &part.by, lines))
        });
    }
    // The program must not inherit the confinement.
    let program = arguments.program.fork()?;
    privileges::confine()?;
    runtime()?.block_on(trace(arguments, program))
}

async fn trace(arguments: &Arguments, mut program: Program) -> Result<ExitCode> {
    arguments.look_for_conflicts()?;
    // Signals are caught before hooks are attached, so that a signal always ends the run cleanly.
    let mut signals = Signals::of_run()?;
    let groups = arguments.group_filter()?;
    let options = arguments.options(&program)?;
    let verifier = Verifier::new(arguments.verify, &options.netns, options.family)?;
    let mut tracer = Tracer::start(&options)?;
    tracer.limit_audits(arguments.audit.max_audit_cpu);
    if arguments.bpf_log {
        bpf_log::forward(tracer.probe_mut())?;
    }
    warnings::at_start(tracer.probe());
    let loss_warner = events::LossWarner::since(tracer.losses()?);
    let events = tracer.take_events();
    privileges::keep_for_run(tracer.probe(), arguments.record.is_wanted(), program.is_given())?;
    let recorder = arguments.record.begin(arguments.recorded_lines(), arguments.keys())?;
    program.start().inspect_err(|_| record::discard(&arguments.record, recorder.clone()))?;
    let mut keys = Keys::start(has_screen(arguments))?;
    let view = view(arguments, arguments.keys(), arguments.events.lines());
    let view = foreground::only(keys.with_help(view), has_screen(arguments));
    let view = record::recorded(view, recorder.clone());
    let output = Output::start(view, events, arguments.connection_filter())?;
    output.offer(|| anyhow::Ok(Report::Start(tracer.start_report())))?;
    let (interval, has_snapshots) = arguments.snapshots();
    let interval = has_snapshots.then_some(interval);
    let Arguments { duration, count, reconcile, .. } = *arguments;
    let scan_warner = ScanWarner::default();
    let mut run = Run { tracer, reconcile, verifier, loss_warner, scan_warner, groups };
    let pace = Pace { interval, duration, count };
    let ending = pace.run(&mut run, &output, &mut signals, &mut keys, &mut program).await?;
    program.end(ending, &mut signals).await;
    // Restores the modes of the terminal before the last lines.
    drop(keys);
    run.tracer.reconcile_at_end(reconcile)?;
    let verdict = run.verify()?;
    let Run { mut tracer, verifier, mut loss_warner, mut scan_warner, groups, .. } = run;
    tracer.end_events();
    let mut summary = Snapshot { verdict, ..tracer.summary()? };
    let totals = summary.clone();
    summary.owners.as_mut().into_iter().for_each(|owners| groups.apply(owners));
    scan_warner.warn(&mut tracer);
    loss_warner.warn(tracer.losses()?);
    warnings::of_tree(tracer.probe());
    let end = Report::End(summary);
    let pending = tracer.pending()?;
    drop(tracer);
    output.show_pending(pending).await;
    record::finish(output, end, recorder, &mut signals, &program).await?;
    program.wait(ending, &mut signals).await;
    warnings::at_end(&totals, options.max_scan_sockets);
    arguments.owners.warn(totals.owners.as_ref());
    let is_right = verifier.is_none_or(|verifier| verifier.conclude());
    Ok(program.exit_code(if is_right { 0 } else { super::FOUND }))
}

/// Returns the capabilities of a terminal that can be repainted. A program writes to the terminal
/// too, so the terminal is then not repainted.
fn caps(arguments: &Arguments) -> Option<TerminalCaps> {
    if arguments.program.is_given() { None } else { terminal::caps() }
}

/// Returns whether the terminal is repainted.
fn has_screen(arguments: &Arguments) -> bool {
    caps(arguments).is_some()
        && matches!(arguments.format.output, Format::Table)
        && !arguments.events.are_given()
}

/// Returns the view for the reports. `by` has the keys of the groups. `lines` are the lines of a
/// JSON view.
fn view(arguments: &Arguments, by: &[Key], lines: EventLines) -> Box<dyn View + Send> {
    let has_events = arguments.events.lines().transitions;
    let order = arguments.owners.order();
    match (arguments.format.output, caps(arguments)) {
        (Format::Table, caps) if arguments.matrix => Box::new(Heat::new(caps, terminal::size)),
        (Format::Table, _) if has_events => {
            let table = EventTable::new(arguments.events.clock()).with_order(order);
            let is_terminal = io::stdout().is_terminal();
            Box::new(if is_terminal { table.on_terminal(terminal::size) } else { table })
        }
        (Format::Table, _) if arguments.events.are_connections() => {
            let table = ConnectionTable::new(arguments.events.clock()).with_order(order);
            let is_terminal = io::stdout().is_terminal();
            Box::new(if is_terminal { table.on_terminal(terminal::size) } else { table })
        }
        (Format::Csv, _) if arguments.events.are_connections() => Box::new(ConnectionCsv),
        (Format::Csv, _) if has_events => Box::new(EventCsv),
        (Format::Table, Some(caps)) => {
            Box::new(Screen::new(caps, terminal::size).with_order(order))
        }
        (Format::Table, None) => Box::new(Table::new(order)),
        (Format::Json, _) => Box::new(Json::new(order, lines)),
        (Format::Csv, _) => Box::new(Csv::new(by.to_vec(), order)),
    }
}

/// A run of `trace` in progress.
struct Run {
    tracer: Tracer,
    reconcile: Reconcile,
    verifier: Option<Verifier>,
    loss_warner: events::LossWarner,
    scan_warner: ScanWarner,
    groups: GroupFilter,
}

impl Run {
    fn verify(&mut self) -> Result<Option<Verdict>> {
        self.verifier.as_mut().map(|verifier| verifier.verify(&mut self.tracer)).transpose()
    }
}

impl Paced for Run {
    fn report(&mut self, output: &Output) -> Result<()> {
        self.tracer.reconcile_if_due(self.reconcile)?;
        output.offer(|| {
            let verdict = self.verify()?;
            let mut snapshot = Snapshot { verdict, ..self.tracer.snapshot()? };
            snapshot.owners.as_mut().into_iter().for_each(|owners| self.groups.apply(owners));
            anyhow::Ok(Report::Snapshot(snapshot))
        })
    }

    fn look(&mut self) -> Result<()> {
        self.tracer.reconcile_if_due(self.reconcile)?;
        self.scan_warner.warn(&mut self.tracer);
        self.tracer.look_for_late_events()?;
        self.loss_warner.warn(self.tracer.losses()?);
        Ok(())
    }
}

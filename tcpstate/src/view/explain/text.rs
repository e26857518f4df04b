//! Text output of `tcpstate explain`: paragraphs under headings, at most 100 columns wide.

use std::io::{self, Write};

use tcpstate_common::{State, transitions::Seen};
use textwrap::{Options, WordSplitter};

use crate::{
    doctor::{RULES, Rule},
    explain::{self, Answer, KERNEL, StateText, SysctlText, TransitionText},
};

/// The maximum number of columns in a line. Longer lines are hard to read.
const MAX_WIDTH: usize = 100;
/// The minimum number of columns for which lines are wrapped. A terminal with fewer columns wraps
/// the lines itself.
const MIN_WIDTH: usize = 40;

/// The text format. Headings are bold if the terminal supports bold text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    width: usize,
    bold: bool,
}

impl Text {
    /// Creates the format for a terminal of this width.
    #[must_use]
    pub fn new(width: usize, bold: bool) -> Self {
        Self { width: width.clamp(MIN_WIDTH, MAX_WIDTH), bold }
    }

    /// Writes the answer.
    pub fn show(self, answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
        let mut page = Page { caps: self, out };
        match answer {
            Answer::Overview => overview(&mut page),
            Answer::State(text) => state(text, &mut page),
            Answer::Transition(text) => transition(text, &mut page),
            Answer::Never { from, to, reason } => never(*from, *to, reason, &mut page),
            Answer::Rule(about) => rule(about, &mut page),
            Answer::Sysctl(text) => sysctl(text, &mut page),
        }
    }
}

fn state(text: &StateText, page: &mut Page<'_>) -> io::Result<()> {
    page.title(text.state.name())?;
    page.paragraph(text.meaning)?;
    page.section("How a socket leaves this state", text.moved_on_by)?;
    page.section("How long this state lasts", text.lasts)?;
    page.heading("Settings")?;
    for setting in text.governed_by {
        page.paragraph(&format!("{} [default: {}]", setting.name, setting.default))?;
        page.indented(4, setting.does)?;
    }
    page.section("If there are many", text.many)?;
    page.section("What to do", text.what_to_do)?;
    page.heading("Transitions")?;
    for pair in text.entered_by().chain(text.goes_on_by()) {
        page.line(&format!("{:<11} -> {}", pair.from, name_after(pair)))?;
    }
    spelled(text, page)?;
    sources(text.kernel, text.rfc, page)
}

/// Writes one row for each tool: the tool, and the name that the tool uses for the state.
fn spelled(text: &StateText, page: &mut Page<'_>) -> io::Result<()> {
    let names = &text.names;
    let (metric, node_exporter) = (text.metric(), text.node_exporter_metric());
    let kernel = format!("TCP_{} ({})", text.state, text.state.number());
    page.heading("Names")?;
    for (place, name) in [
        ("kernel", Some(kernel.as_str())),
        ("ss", names.ss),
        ("netstat", names.netstat),
        ("/proc/net/tcp", names.proc),
        ("RFC 9293", names.rfc),
        ("JSON, CSV", Some(text.state.label())),
        ("tcpstate serve", metric.as_deref()),
        ("node_exporter", node_exporter.as_deref()),
    ] {
        page.line(&format!("{place:<15} {}", name.unwrap_or("never shown")))?;
    }
    Ok(())
}

fn transition(text: &TransitionText, page: &mut Page<'_>) -> io::Result<()> {
    page.title(&format!("{} -> {}", text.from, text.to))?;
    page.paragraph(text.meaning)?;
    page.section("Caused by", text.caused_by)?;
    page.section("Gauges", &text.gauges())?;
    let seen = match text.seen() {
        Seen::Reported => "The tracepoint sock:inet_sock_set_state.",
        Seen::Unreported => {
            "The hook for time-wait sockets sees this transition. tcpstate trace names the hook in \
             its header. The kernel does not report this transition."
        }
    };
    page.section("Seen by", seen)?;
    sources(text.kernel, text.rfc, page)
}

fn never(from: State, to: State, reason: &str, page: &mut Page<'_>) -> io::Result<()> {
    page.title(&format!("{from} -> {to} never occurs"))?;
    page.paragraph(reason)?;
    page.heading(&format!("Transitions from {from}"))?;
    let mut pairs = explain::transitions().filter(|pair| pair.from == from).peekable();
    if pairs.peek().is_none() {
        page.paragraph("No transition begins in this state.")?;
    }
    pairs.try_for_each(|pair| page.line(&format!("{from} -> {}", name_after(pair))))
}

fn rule(rule: &Rule, page: &mut Page<'_>) -> io::Result<()> {
    page.title(&format!("{}: {}", rule.id, rule.title))?;
    page.paragraph(rule.means)?;
    page.section("How tcpstate doctor detects it", rule.knows)?;
    if !rule.thresholds.is_empty() {
        page.heading("Thresholds")?;
    }
    for (name, value) in explain::thresholds(rule) {
        page.line(&format!("{name} = {value}"))?;
    }
    page.section("What to do", rule.help)?;
    page.heading("Source")?;
    rule.reference.split("; ").try_for_each(|place| page.line(place))
}

fn sysctl(text: &SysctlText, page: &mut Page<'_>) -> io::Result<()> {
    page.title(text.name)?;
    page.paragraph(text.does)?;
    page.section("Default", text.default)?;
    page.section("Unit", text.unit)?;
    page.section("Kernels", text.kernels)?;
    let states: Vec<&str> = text.states.iter().map(|state| state.name()).collect();
    let states = if states.is_empty() { "none".to_owned() } else { states.join(" ") };
    page.section("Changes states", &states)?;
    page.section("When to change it", text.change)?;
    page.heading(&format!("In the kernel ({KERNEL})"))?;
    text.kernel.iter().try_for_each(|place| page.line(place))
}

fn overview(page: &mut Page<'_>) -> io::Result<()> {
    let (diagram, legend) = explain::diagram();
    page.title("TCP on Linux")?;
    writeln!(page.out)?;
    for line in diagram.lines() {
        writeln!(page.out, "{line}")?;
    }
    writeln!(page.out)?;
    page.paragraph(legend)?;
    page.heading("States: tcpstate explain STATE")?;
    let names: Vec<&str> = explain::states().map(|text| text.state.name()).collect();
    page.paragraph(&names.join(" "))?;
    page.paragraph(
        "Other spellings work too: time_wait, TIME-WAIT, 06 (as in /proc/net/tcp), ESTAB, \
         FIN-WAIT-1, ...",
    )?;
    page.heading("Transitions: tcpstate explain FROM TO")?;
    for text in explain::states() {
        let from = text.state;
        let after = explain::transitions().filter(|pair| pair.from == from).map(name_after);
        let after: Vec<String> = after.collect();
        if !after.is_empty() {
            page.line(&format!("{from:<11} -> {}", after.join(" ")))?;
        }
    }
    page.heading("Sysctls: tcpstate explain SYSCTL")?;
    let names: Vec<&str> = explain::sysctls().map(SysctlText::short_name).collect();
    page.paragraph(&names.join(" "))?;
    page.heading("Rules of tcpstate doctor: tcpstate explain ID")?;
    RULES.iter().try_for_each(|rule| page.line(&format!("{:<3}  {}", rule.id, rule.title)))
}

/// Returns the name of the state after the transition. The name is in brackets if a mini socket is
/// in this state.
fn name_after(pair: &TransitionText) -> String {
    match pair.seen() {
        Seen::Unreported if pair.to == State::TimeWait => format!("[{}]", pair.to),
        _ => pair.to.to_string(),
    }
}

fn sources(kernel: &[&str], rfc: &str, page: &mut Page<'_>) -> io::Result<()> {
    page.heading(&format!("In the kernel ({KERNEL})"))?;
    for place in kernel {
        page.line(place)?;
    }
    page.section("Sections of RFC 9293", rfc)
}

/// Writes a page of text, and wraps and indents its lines.
struct Page<'a> {
    caps: Text,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn title(&mut self, text: &str) -> io::Result<()> {
        if self.caps.bold {
            writeln!(self.out, "\x1b[1m{text}\x1b[0m")
        } else {
            writeln!(self.out, "{text}")
        }
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out)?;
        self.title(text)
    }

    fn section(&mut self, heading: &str, text: &str) -> io::Result<()> {
        self.heading(heading)?;
        self.paragraph(text)
    }

    fn paragraph(&mut self, text: &str) -> io::Result<()> {
        self.indented(2, text)
    }

    /// Writes one line. If the line is too long, the rest of the line continues on the next line
    /// with a deeper indent.
    fn line(&mut self, text: &str) -> io::Result<()> {
        self.wrapped(2, 6, text)
    }

    fn indented(&mut self, indent: usize, text: &str) -> io::Result<()> {
        self.wrapped(indent, indent, text)
    }

    fn wrapped(&mut self, first: usize, rest: usize, text: &str) -> io::Result<()> {
        let (first, rest) = (" ".repeat(first), " ".repeat(rest));
        let options = Options::new(self.caps.width)
            .initial_indent(&first)
            .subsequent_indent(&rest)
            .word_splitter(WordSplitter::NoHyphenation);
        textwrap::wrap(text, options).iter().try_for_each(|line| writeln!(self.out, "{line}"))
    }
}

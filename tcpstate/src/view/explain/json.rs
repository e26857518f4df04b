//! JSON output of `tcpstate explain`: one object per answer.

use std::io::{self, Write};

use serde_json::{Value, json};
use tcpstate_common::State;

use crate::{
    doctor::RULES,
    explain::{self, Answer, KERNEL, StateText, TransitionText},
};

/// The version of the JSON format. The version is increased when the meaning of a key changes.
const VERSION: u32 = 1;

/// The JSON format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Json {
    /// Writes the answer as one JSON object on one line.
    pub fn show(self, answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
        let of = match answer {
            Answer::Overview => "overview",
            Answer::State(_) => "state",
            Answer::Transition(_) | Answer::Never { .. } => "transition",
            Answer::Rule(_) => "rule",
            Answer::Sysctl(_) => "sysctl",
        };
        let mut line =
            json!({ "type": "explain", "version": VERSION, "of": of, "kernel_source": KERNEL });
        let keys = match answer {
            Answer::Overview => overview(),
            Answer::State(text) => state(text),
            Answer::Transition(text) => transition(text),
            Answer::Never { from, to, reason } => json!({
                "from": from.label(),
                "to": to.label(),
                "occurs": false,
                "meaning": reason,
                "from_there": pairs(explain::transitions().filter(|pair| pair.from == *from)),
            }),
            Answer::Rule(rule) => json!({
                "id": rule.id,
                "title": rule.title,
                "meaning": rule.means,
                "knows": rule.knows,
                "thresholds": explain::thresholds(rule)
                    .into_iter()
                    .map(|(name, value)| json!({ "name": name, "default": value }))
                    .collect::<Vec<_>>(),
                "what_to_do": rule.help,
                "reference": rule.reference,
            }),
            Answer::Sysctl(text) => json!({
                "name": text.name,
                "does": text.does,
                "default": text.default,
                "unit": text.unit,
                "kernels": text.kernels,
                "states": text.states.iter().map(|state| state.label()).collect::<Vec<_>>(),
                "when_to_change": text.change,
                "kernel": text.kernel,
            }),
        };
        if let (Value::Object(line), Value::Object(keys)) = (&mut line, keys) {
            line.extend(keys);
        }
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }
}

fn overview() -> Value {
    let (diagram, legend) = explain::diagram();
    json!({
        "diagram": diagram.lines().collect::<Vec<_>>(),
        "legend": legend,
        "states": explain::states().map(|text| text.state.label()).collect::<Vec<_>>(),
        "transitions": pairs(explain::transitions()),
        "sysctls": explain::sysctls().map(|text| text.name).collect::<Vec<_>>(),
        "rules": RULES.iter().map(|rule| rule.id).collect::<Vec<_>>(),
    })
}

fn state(text: &StateText) -> Value {
    let names = &text.names;
    let governed_by: Vec<Value> = text
        .governed_by
        .iter()
        .map(|set| json!({ "setting": set.name, "default": set.default, "does": set.does }))
        .collect();
    json!({
        "state": text.state.label(),
        "meaning": text.meaning,
        "moved_on_by": text.moved_on_by,
        "lasts": text.lasts,
        "governed_by": governed_by,
        "many": text.many,
        "what_to_do": text.what_to_do,
        "entered_by": pairs(text.entered_by()),
        "goes_on_by": pairs(text.goes_on_by()),
        "names": {
            "kernel": text.state.name(),
            "number": text.state.number(),
            "label": text.state.label(),
            "ss": names.ss,
            "netstat": names.netstat,
            "proc_net_tcp": names.proc,
            "rfc9293": names.rfc,
            "metric": text.metric(),
            "node_exporter": text.node_exporter_metric(),
        },
        "kernel": text.kernel,
        "rfc9293": text.rfc,
    })
}

fn transition(text: &TransitionText) -> Value {
    json!({
        "from": text.from.label(),
        "to": text.to.label(),
        "occurs": true,
        "hook": text.seen().hook(),
        "meaning": text.meaning,
        "caused_by": text.caused_by,
        "gauges": text.gauges(),
        "kernel": text.kernel,
        "rfc9293": text.rfc,
    })
}

fn pairs(pairs: impl Iterator<Item = &'static TransitionText>) -> Vec<Value> {
    let label = |state: State| state.label();
    pairs
        .map(|pair| json!({ "from": label(pair.from), "to": label(pair.to), "hook": pair.seen().hook() }))
        .collect()
}

//! The results of a benchmark: one JSON object per line of stdout. The command `cargo xtask bench`
//! makes tables of the JSON objects.
//!
//! ```text
//! {"section":"transitions","at":100000,"what":"counters","figures":[FIGURE]}
//! {"section":"transitions","at":100000,"what":"bpftrace","absent":"not installed"}
//!
//! FIGURE: {"name":"ns","median":71.2,"spread":3.1,"ratio":1.16}
//! ```

use std::env;

use serde_json::{Map, Value, json};

use crate::measure::{Cost, median, spread};

/// Returns whether the user asked for the full measurement with `--full`. The full measurement
/// takes minutes. Without `--full`, the benchmark only checks that measuring works.
#[must_use]
pub fn is_full() -> bool {
    env::args().any(|argument| argument == "--full")
}

/// The measured values of several programs. A benchmark measures one program after the other, in
/// each of several turns.
#[derive(Debug)]
pub struct Turns {
    section: &'static str,
    at: Option<u64>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    figures: Vec<(&'static str, Vec<f64>)>,
    absent: Option<String>,
}

impl Turns {
    /// Creates an empty list. `at` is the value that differs between the lists of one section, for
    /// example the number of sockets.
    #[must_use]
    pub fn new(section: &'static str, at: Option<u64>) -> Self {
        Self { section, at, rows: Vec::new() }
    }

    /// Adds a figure of one turn to the row of a program.
    pub fn add(&mut self, what: &str, figure: &'static str, value: f64) {
        let figures = &mut self.row(what).figures;
        match figures.iter_mut().find(|(name, _)| *name == figure) {
            Some((_, values)) => values.push(value),
            None => figures.push((figure, vec![value])),
        }
    }

    /// Adds the CPU time and the elapsed time of one turn to the row of a program.
    pub fn add_cost(&mut self, what: &str, cost: Cost) {
        self.add(what, "CPU ms", 1e3 * cost.processor.as_secs_f64());
        self.add(what, "wall ms", 1e3 * cost.wall.as_secs_f64());
    }

    /// Stores the reason why a row cannot be measured on this machine.
    pub fn absent(&mut self, what: &str, why: String) {
        self.row(what).absent = Some(why);
    }

    /// Returns whether a row cannot be measured on this machine.
    #[must_use]
    pub fn is_absent(&self, what: &str) -> bool {
        self.rows.iter().any(|row| row.what == what && row.absent.is_some())
    }

    /// Prints the rows of all programs. Each figure is printed with its median and its spread. If
    /// there is a row `base`, each figure is also printed as a ratio to the figure of the row
    /// `base`.
    pub fn print(mut self, base: &str) {
        let base_row = self.rows.iter_mut().find(|row| row.what == base);
        let bases: Vec<_> = base_row
            .into_iter()
            .flat_map(|row| &mut row.figures)
            .map(|(name, values)| (*name, median(values)))
            .collect();
        for row in &mut self.rows {
            let mut line = Map::new();
            line.insert("section".into(), self.section.into());
            if let Some(at) = self.at {
                line.insert("at".into(), at.into());
            }
            line.insert("what".into(), row.what.clone().into());
            match &row.absent {
                Some(why) => line.insert("absent".into(), why.clone().into()),
                None => line.insert("figures".into(), row.figures(base, &bases)),
            };
            println!("{}", Value::Object(line));
        }
    }

    fn row(&mut self, what: &str) -> &mut Row {
        let number = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.rows.push(Row { what: what.to_owned(), figures: Vec::new(), absent: None });
            self.rows.len() - 1
        });
        &mut self.rows[number]
    }
}

impl Row {
    fn figures(&mut self, base: &str, bases: &[(&'static str, f64)]) -> Value {
        let mut figures = Vec::new();
        for (name, values) in &mut self.figures {
            let median = median(values);
            let mut figure = json!({ "name": name, "median": median, "spread": spread(values) });
            let of_base = bases.iter().find(|(of_base, value)| of_base == name && *value > 0.0);
            if let Some((_, value)) = of_base.filter(|_| self.what != base) {
                figure["ratio"] = (median / value).into();
            }
            figures.push(figure);
        }
        figures.into()
    }
}

//! Tables of rows, for people and for Markdown.

use std::fmt::Write as _;

use super::{
    rows::{Figure, Row, Rows},
    sections::Section,
};

/// How a cell begins that says why there are no figures.
const ABSENT: &str = "absent: ";

/// Aligned by blanks.
pub(super) fn plain(section: &Section, rows: &Rows) -> String {
    aligned(&lines(section, rows))
}

/// Lines of cells, the first to the left and the others to the right.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        // Why a row is absent is its last cell, and may take the room of all that it has no figures for.
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.filter(|cell| !cell.starts_with(ABSENT)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(number, (cell, &width))| {
            if number == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// As Markdown has them.
pub(super) fn markdown(section: &Section, rows: &Rows) -> String {
    let lines = lines(section, rows);
    let Some((header, lines)) = lines.split_first() else { return String::new() };
    let mut text = markdown_line(header);
    text += "|---";
    text += &"|---:".repeat(header.len() - 1);
    text += "|\n";
    for line in lines {
        text += &markdown_line(line);
    }
    text
}

/// One line of a table.
pub(super) fn markdown_line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The header, and a line a row; a row that is absent says why in its last cell.
fn lines(section: &Section, rows: &Rows) -> Vec<Vec<String>> {
    let mut figures: Vec<&str> = Vec::new();
    for figure in rows.of(section.id).flat_map(|row| &row.figures) {
        if !figures.contains(&figure.name.as_str()) {
            figures.push(&figure.name);
        }
    }
    let varies = !section.at.is_empty();
    let mut header = vec![String::new()];
    header.extend(varies.then(|| section.at.to_owned()));
    header.extend(figures.iter().map(|&name| name.to_owned()));
    let line = |row: &Row| {
        let mut line = vec![row.what.clone()];
        line.extend(varies.then(|| row.at.map(|at| number(at as f64)).unwrap_or_default()));
        line.extend(row.absent.iter().map(|why| format!("{ABSENT}{why}")));
        if row.absent.is_none() {
            line.extend(figures.iter().map(|name| row.figure(name).map(cell).unwrap_or_default()));
        }
        line.resize(header.len(), String::new());
        line
    };
    let lines: Vec<Vec<String>> = rows.of(section.id).map(line).collect();
    [vec![header.clone()], lines].concat()
}

/// `71.2 ± 3.1 (1.16 ×)`
fn cell(figure: &Figure) -> String {
    let mut text = number(figure.median);
    if figure.spread > 0.0 {
        _ = write!(text, " ± {}", number(figure.spread));
    }
    if let Some(ratio) = figure.ratio {
        _ = write!(text, " ({} ×)", number(ratio));
    }
    text
}

/// Two or three digits at least where there are any, with separators: `0.0105`, `71.2`, `46,807`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 100.0 || value.fract() == 0.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 0.1 => 2,
        _ if size >= 0.01 => 4,
        _ => 5,
    };
    let text = format!("{size:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (number, digit) in whole.chars().enumerate() {
        if number > 0 && (whole.len() - number).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: Section =
        Section { id: "s", title: "", at: "sockets", base: "", text: "", plot: None };

    fn rows() -> Rows {
        Rows::parse(concat!(
            r#"{"section":"s","at":100000,"what":"a | b","figures":[{"name":"ns","median":61.25,"spread":2.0}]}"#,
            "\n",
            r#"{"section":"other","what":"c","figures":[]}"#,
            "\n",
            r#"{"section":"s","at":100000,"what":"ours","figures":[{"name":"ns","median":71.5,"spread":0.5,"ratio":1.167},{"name":"net ns","median":10.25,"spread":0}]}"#,
            "\n",
            r#"{"section":"s","at":100000,"what":"bcc","absent":"not installed"}"#,
        ))
        .expect("they are rows")
    }

    #[test]
    fn a_table_is_aligned() {
        let expected = concat!(
            "       sockets                    ns  net ns\n",
            "a | b  100,000              61.2 ± 2\n",
            "ours   100,000  71.5 ± 0.50 (1.17 ×)    10.2\n",
            "bcc    100,000  absent: not installed\n",
        );
        assert_eq!(plain(&SECTION, &rows()), expected);
    }

    #[test]
    fn markdown_has_a_header_and_no_stray_bar() {
        let expected = "\
|  | sockets | ns | net ns |
|---|---:|---:|---:|
| a \\| b | 100,000 | 61.2 ± 2 |  |
| ours | 100,000 | 71.5 ± 0.50 (1.17 ×) | 10.2 |
| bcc | 100,000 | absent: not installed |  |
";
        assert_eq!(markdown(&SECTION, &rows()), expected);
    }

    #[test]
    fn numbers_have_digits_where_it_matters() {
        for (value, text) in [
            (0.0, "0"),
            (0.00012, "0.00012"),
            (0.0105, "0.0105"),
            (1.166, "1.17"),
            (71.23, "71.2"),
            (46_807.4, "46,807"),
            (-1_234_567.0, "-1,234,567"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}

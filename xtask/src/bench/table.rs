//! Tables of rows, as text and as Markdown.

use std::{fmt::Write as _, ops::Range};

use super::{
    rows::{Figure, Row, Rows},
    sections::Section,
};

/// The maximum width of a line of Markdown, in columns.
const WIDTH: usize = 100;

/// The prefix of a cell with the reason why a row has no figures.
const ABSENT: &str = "absent: ";

/// The table as text, aligned with spaces.
pub(super) fn plain(section: &Section, rows: &Rows) -> String {
    aligned(&lines(section, rows))
}

/// Wraps each line of the text at [`WIDTH`]. Indents all lines of a list item except the first
/// line.
pub(super) fn wrapped(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(wrapped_line).collect();
    lines.join("\n")
}

fn wrapped_line(line: &str) -> String {
    let indent = if line.starts_with("* ") { "  " } else { "" };
    let mut text = String::new();
    let mut width = 0;
    for word in line.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            text += indent;
            width = indent.len();
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text += word;
        width += length;
    }
    text
}

/// Aligns lines of cells: the first cell to the left, all others to the right.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        // In a row without figures, the last cell contains the reason. The reason does not affect
        // the width of the columns, because the reason may cover the empty cells of the row.
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

/// The table as Markdown. Returns several tables if the columns do not fit into [`WIDTH`]. After
/// the tables, the text lists the reasons of rows without figures.
pub(super) fn markdown(section: &Section, rows: &Rows) -> String {
    let keys = if section.at.is_empty() { 1 } else { 2 };
    let mut lines = lines(section, rows);
    for line in &mut lines {
        if line.get(keys).is_some_and(|cell| cell.starts_with(ABSENT)) {
            line[keys..].fill("-".to_owned());
        }
    }
    let tables = fitting(&lines, keys).into_iter().map(|columns| {
        let cells = |line: &Vec<String>| [&line[..keys], &line[columns.clone()]].concat();
        markdown_table(&lines.iter().map(cells).collect::<Vec<_>>())
    });
    let mut text = tables.collect::<Vec<_>>().join("\n");
    let mut reasons: Vec<String> = Vec::new();
    for row in rows.of(section.id) {
        let reason =
            row.absent.as_ref().map(|why| format!("* **{}** was not measured: {why}", row.what));
        reasons.extend(reason.filter(|reason| !reasons.contains(reason)));
    }
    for (number, reason) in reasons.iter().enumerate() {
        let newline = if number == 0 { "\n" } else { "" };
        _ = writeln!(text, "{newline}{}", wrapped(reason));
    }
    text
}

/// Distributes the columns over several tables. Each table has the key columns, and as many other
/// columns as fit into [`WIDTH`], but at least one other column.
fn fitting(lines: &[Vec<String>], keys: usize) -> Vec<Range<usize>> {
    let columns = lines.first().map_or(0, Vec::len);
    let is_wide = |figures: Range<usize>| {
        let cells = |line: &Vec<String>| [&line[..keys], &line[figures.clone()]].concat();
        lines.iter().any(|line| markdown_line(&cells(line)).trim_end().chars().count() > WIDTH)
    };
    let mut tables = Vec::new();
    let mut start = keys;
    for end in keys + 2..=columns {
        if end - start > 1 && is_wide(start..end) {
            tables.push(start..end - 1);
            start = end - 1;
        }
    }
    tables.push(start..columns);
    tables
}

fn markdown_table(lines: &[Vec<String>]) -> String {
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

/// Returns the cells of the header, and the cells of each row. If a row has no figures, the last
/// cell of the row gives the reason.
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

/// Formats a figure: median, spread and ratio, for example `71.2 ± 3.1 (1.16 ×)`.
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

/// Formats a number with thousands separators. Smaller numbers have more decimals: `0.0105`,
/// `71.2`, `46,807`.
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
| bcc | 100,000 | - | - |

* **bcc** was not measured: not installed
";
        assert_eq!(markdown(&SECTION, &rows()), expected);
    }

    #[test]
    fn a_wide_table_is_split_by_columns() {
        let line = |cell: &str| ["what", "at", cell, cell, cell].map(str::to_owned).to_vec();
        assert_eq!(fitting(&[line("short")], 2).len(), 1);
        assert_eq!(fitting(&[line("short"), line(&"x".repeat(40))], 2), [2..4, 4..5]);
        assert_eq!(fitting(&[line(&"x".repeat(99))], 2), [2..3, 3..4, 4..5]);
        assert_eq!(fitting(&[vec!["what".to_owned()]], 1).len(), 1);
    }

    #[test]
    fn a_text_is_wrapped_line_by_line() {
        let words = |number| vec!["word"; number].join(" ");
        let text = format!("{}\n\n* {}", words(21), words(21));
        let expected = format!("{}\nword\n\n* {}\n  {}", words(20), words(19), words(2));
        assert_eq!(wrapped(&text), expected);
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

//! Compares the shapes of two outputs. A shape contains the words and the columns of an output, but
//! not the values that differ from run to run.

use std::net::{IpAddr, SocketAddr};

/// A line `...` in a document stands for any number of omitted output lines.
const OMITTED: &str = "...";
/// In a shape, this text replaces each number, time and address, and the dash of an unknown value.
const VALUE: &str = "N";
/// Units of durations. The output chooses the unit by the size of the duration.
const UNITS: [&str; 6] = ["ns", "us", "ms", "s", "min", "h"];
/// Names of hooks. The output contains different hooks on each kernel.
const HOOKS: [&str; 7] = ["tp_btf", "raw_tp", "tracepoint", "fentry", "timer", "polled", "none"];

/// Checks that the output contains the lines that the document shows, in the order of the document.
/// If `is_whole`, the output may have other lines only where the document has a line `...`. The
/// output may break lines at other words than the document, because the values in the two texts
/// have different lengths.
///
/// # Errors
/// Returns an error that names the first shown lines that the output lacks.
pub(super) fn compare(shown: &str, output: &str, is_whole: bool) -> Result<(), String> {
    let output: Vec<String> = shapes(output);
    let output = words(&output);
    let shown: Vec<String> = shapes(shown);
    let mut position = 0;
    let mut may_skip = !is_whole;
    let mut groups = shown.split(|line| line == OMITTED).peekable();
    while let Some(group) = groups.next() {
        let is_last = groups.peek().is_none();
        let wanted = words(group);
        if wanted.is_empty() {
            // An empty group of lines means that the output in the document begins or ends with
            // `...`.
            may_skip = true;
            continue;
        }
        let rest = &output[position..];
        let found = if is_last && is_whole {
            let start = rest.len().checked_sub(wanted.len());
            start.filter(|start| rest[*start..] == wanted)
        } else {
            find(rest, &wanted)
        };
        match found {
            Some(skipped) if skipped == 0 || may_skip => position += skipped + wanted.len(),
            _ => return Err(missing(group, rest)),
        }
        may_skip = true;
    }
    Ok(())
}

/// Returns an error text. The text is the first line of the group that is missing in the rest of
/// the output. If no single line is missing, the text is the whole group.
fn missing(group: &[String], rest: &[&str]) -> String {
    let is_missing = |line: &&String| find(rest, &words(std::slice::from_ref(*line))).is_none();
    group.iter().find(is_missing).map_or_else(
        || format!("these lines do not follow each other:\n{}", group.join("\n")),
        |line| format!("no such line: {line}"),
    )
}

/// Returns the index of the first occurrence of `wanted` in `words`.
fn find(words: &[&str], wanted: &[&str]) -> Option<usize> {
    words.windows(wanted.len()).position(|words| words == wanted)
}

fn words(lines: &[String]) -> Vec<&str> {
    lines.iter().flat_map(|line| line.split(' ')).collect()
}

/// Returns the shape of each line that is not blank.
fn shapes(text: &str) -> Vec<String> {
    text.lines().map(shape).filter(|shape| !shape.is_empty()).collect()
}

fn shape(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in without_bars(line).split_whitespace() {
        let last = words.last().map(String::as_str);
        let is_unit = last == Some(VALUE) && UNITS.contains(&word);
        if is_unit || word.chars().all(|c| c == '@') {
            continue;
        }
        words.push(if last == Some("kernel") { VALUE.to_owned() } else { shape_of_word(word) });
    }
    // The pauses of the traffic decide whether a short run has an audit.
    words.join(" ").replace(" audited N ago", "")
}

/// Removes bars: a bar between two `|` varies in length, and a row of block characters varies in
/// height.
fn without_bars(line: &str) -> String {
    let is_block = |c| ('\u{2580}'..='\u{259f}').contains(&c);
    let parts: Vec<&str> = line.split('|').collect();
    let bar = |part: &&str| part.len() > 8 && part.chars().all(|c| matches!(c, '@' | '#' | ' '));
    let parts: Vec<&str> = parts.iter().map(|part| if bar(part) { "" } else { part }).collect();
    parts.join("|").split(is_block).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn shape_of_word(word: &str) -> String {
    let bare = word.trim_end_matches([',', ';', ':']);
    let is_address = bare.parse::<IpAddr>().is_ok() || bare.parse::<SocketAddr>().is_ok();
    if is_address || word == "-" {
        return VALUE.to_owned() + &word[bare.len().min(word.len())..];
    }
    if !bare.is_empty() && bare.split('/').all(|part| HOOKS.contains(&part)) {
        return format!("HOOK{}", &word[bare.len()..]);
    }
    if is_version(bare) {
        return VALUE.to_owned() + &word[bare.len()..];
    }
    without_numbers(word)
}

/// Whether a word is the version of a kernel, such as `6.12.118+deb13-cloud-amd64`.
fn is_version(word: &str) -> bool {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    word.starts_with(|c: char| c.is_ascii_digit())
        && word[..end].matches('.').count() == 2
        && word[end..].starts_with(['-', '+'])
}

/// Replaces each number in a word by [`VALUE`]. A number is a run of digits, and may contain dots,
/// commas, colons and hyphens. A name that begins with a letter, such as FIN_WAIT1, keeps its
/// digits.
fn without_numbers(word: &str) -> String {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut shape = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let has_sign = shape.is_empty() && matches!(first, '+' | '-');
        let number = length_of_number(&rest[usize::from(has_sign)..]);
        let length = if number > 0 {
            shape += VALUE;
            usize::from(has_sign) + number
        } else {
            // A letter directly after a number, such as the T of a time, does not begin a name.
            let begins_name = is_name(first) && !shape.ends_with(VALUE);
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let length = if begins_name { end } else { first.len_utf8() };
            shape += &rest[..length];
            length
        };
        rest = &rest[length..];
    }
    // The output shows `-` as the port of a client until the kernel has chosen the port.
    shape.replace(":-", ":N").replace("N:N", VALUE)
}

/// Returns how many bytes the number at the beginning of a text has, or 0 if the text does not
/// begin with a digit.
fn length_of_number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    while let Some(byte) = bytes.get(length) {
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        let joins = length > 0 && b".,:-".contains(byte) && is_digit(bytes.get(length + 1));
        if !byte.is_ascii_digit() && !joins {
            break;
        }
        length += 1;
    }
    length
}

#[test]
fn guide_shapes_keep_words_and_drop_values() {
    for (line, shape_of_line) in [
        ("TIME_WAIT        46,807     458.4      81.1  ▃▄▅▆▆▇██", "TIME_WAIT N N N"),
        ("FIN_WAIT2    -> CLOSE     3,273    +381", "FIN_WAIT2 -> CLOSE N N"),
        ("lifetime    40  0 35.3 ms 20.2 us", "lifetime N N N N"),
        ("LISTEN  SYN_RECV  20  10.0 %  @@@@@", "LISTEN SYN_RECV N N %"),
        ("(16.4 us, 32.8 us]   19 |@@@@@@@@@@@   |", "(N us, N us] N ||"),
        ("18:01:37.507 127.0.0.1:- [::1]:443", "N N N"),
        ("kernel 6.18.44-fc-v657, hooks tp_btf/timer/timer", "kernel N hooks HOOK"),
        ("does not work on 6.12.118+deb13-cloud-amd64: it", "does not work on N: it"),
        ("08:06:30Z  exact  missed 0  scans 0  audited 3 s ago", "NZ exact missed N scans N"),
        ("api[15910] holds 165 connections", "api[N] holds N connections"),
        ("2026-11-24T14:09:23.808Z,1.02,4026", "NTNZ,N"),
    ] {
        assert_eq!(shape(line), shape_of_line, "{line}");
    }
}

#[test]
fn guide_output_is_compared_line_by_line() {
    let output = "STATE NOW\nLISTEN 1\nCLOSE_WAIT 165\nTIME_WAIT 7\n";
    for (shown, is_whole, is_good) in [
        ("STATE NOW\nLISTEN 2\nCLOSE_WAIT 1\nTIME_WAIT 9", true, true),
        ("STATE NOW\n...\nTIME_WAIT 9", true, true),
        ("STATE NOW\nLISTEN 1\n...", true, true),
        ("...\nTIME_WAIT 9", true, true),
        ("LISTEN 1", false, true),
        // This case must succeed: the document and the output break the lines of a paragraph at
        // different words.
        ("STATE\nNOW LISTEN 1\n...", true, true),
        // These cases must fail: lines that the output lacks, lines in another order, and lines
        // left out of the document without `...`.
        ("STATE NOW\n...\nTIME-WAIT 9", true, false),
        ("...\nTIME_WAIT 9\n...\nLISTEN 1\n...", true, false),
        ("STATE NOW\nTIME_WAIT 9", true, false),
        ("STATE NOW\nTIME_WAIT 9", false, false),
        ("STATE NOW\nLISTEN 1", true, false),
        ("LISTEN 1\n...", true, false),
    ] {
        assert_eq!(compare(shown, output, is_whole).is_ok(), is_good, "{shown}, {is_whole}");
    }
}

//! Reads the `format` file of a classic tracepoint. The file contains the offsets of the
//! tracepoint's fields.

use std::{fs, io, path::Path};

use tcpstate_common::abi::RecordOffsets;

/// The two folders in which tracefs is mounted. The second folder is inside debugfs.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Reads the format of `sock:inet_sock_set_state`.
pub(super) fn inet_sock_set_state() -> io::Result<RecordOffsets> {
    let mut hidden = io::Error::new(io::ErrorKind::NotFound, "tracefs is not mounted");
    for mount in TRACEFS {
        match fs::read_to_string(Path::new(mount).join("events/sock/inet_sock_set_state/format")) {
            Ok(format) => return parse(&format),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The file exists, but this process may not read it.
            Err(error) => hidden = error,
        }
    }
    Err(hidden)
}

pub(super) fn parse(format: &str) -> io::Result<RecordOffsets> {
    Ok(RecordOffsets {
        skaddr: field(format, "skaddr", 8)?,
        oldstate: field(format, "oldstate", 4)?,
        newstate: field(format, "newstate", 4)?,
    })
}

/// Finds the line of a field, such as `\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;`
fn field(format: &str, name: &str, size: u32) -> io::Result<u32> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, format!("{what} {name}"));
    let line = format
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("field:"))
        .find(|line| {
            line.split(';').next().is_some_and(|field| field.ends_with(&format!(" {name}")))
        })
        .ok_or_else(|| wrong("the tracepoint's format has no field"))?;
    let number = |key: &str| -> Option<u32> {
        line.split(';').find_map(|part| part.trim().strip_prefix(key))?.parse().ok()
    };
    match (number("offset:"), number("size:")) {
        (Some(offset), Some(found)) if found == size => Ok(offset),
        _ => Err(wrong("the tracepoint's format is not understood at field")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: inet_sock_set_state\nID: 1424\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;\n\
        \tfield:int newstate;\toffset:20;\tsize:4;\tsigned:1;\n";

    #[test]
    fn fields_are_found_by_name() {
        let record = RecordOffsets { skaddr: 8, oldstate: 16, newstate: 20 };
        assert_eq!(parse(FORMAT).expect("a format file"), record);
    }

    #[test]
    fn a_missing_field_and_one_of_another_size_are_errors() {
        let error = parse(&FORMAT.replace("newstate", "state")).expect_err("newstate is missing");
        assert_eq!(error.to_string(), "the tracepoint's format has no field newstate");
        let error = parse(&FORMAT.replace("size:8", "size:4")).expect_err("skaddr is a pointer");
        assert!(error.to_string().ends_with("at field skaddr"), "{error}");
    }
}

//! Contains one test for each row of docs/ERRORS.md. The test causes the error and compares the
//! message with the row. The file is long because docs/ERRORS.md has many rows.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::Value;
use tcpstate_tests::{
    bpf::KernelObjects,
    command::{ALL_PROCESSES, as_nobody, run, signal, with_mounts},
    errors::{Row, matches},
    netns::Namespace,
    traffic::{Family, Idle},
    wait,
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");
/// The arguments for a run of `trace` that takes one snapshot after the shortest interval.
const TRACE: [&str; 5] = ["trace", "-n", "1", "-i", "50ms"];
/// The commands that mount a new tracefs over an existing mount. The commands mount a tmpfs first,
/// because the kernel refuses to mount tracefs twice at one place.
const TRACEFS: &str = "mount -t tmpfs tmpfs /sys/kernel/tracing
    mount -t tracefs tracefs /sys/kernel/tracing";

fn tcpstate(arguments: &[&str]) -> Command {
    let mut command = Command::new(TCPSTATE);
    command.args(arguments);
    command
}

/// Runs `trace` and `check` in an environment that causes an error. Asserts that `trace` prints the
/// error of the row of docs/ERRORS.md, and that the last line of `check` predicts this error.
fn assert_predicted(test: &str, arguments: &[&str], way: impl Fn(&[&str]) -> Command) {
    let row = Row::of(test);
    row.assert(&run(&mut way(&[&TRACE[..], arguments].concat())));
    let trace = features(&mut way(&["check", "-o", "json"])).pop().expect("the output has lines");
    assert_eq!(trace["id"], "trace");
    assert_ne!(trace["status"], "ok");
    if row.status == 2 {
        let detail = trace["detail"].as_str().expect("it is text");
        assert!(matches(&row.cause, detail), "{row:#?}: {detail}");
    }
    let help = trace["remedy"].as_str().expect("the feature has a help text");
    assert!(matches(&row.help, help), "{row:#?}: {help}");
}

/// Returns the features that `check` reports. Asserts that `check` exits with status 1, which means
/// that the counts of `trace` would not be exact.
fn features(check: &mut Command) -> Vec<Value> {
    let checked = run(check);
    assert_eq!(checked.status, Some(1), "{checked:?}");
    checked
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
        .collect()
}

fn nobody(capabilities: &'static [&'static str]) -> impl Fn(&[&str]) -> Command {
    move |arguments| {
        let mut command = as_nobody(capabilities, TCPSTATE);
        command.args(arguments);
        command
    }
}

/// Whether BPF programs can attach to functions of this kernel.
fn functions_can_be_hooked() -> bool {
    let checked = run(&mut tcpstate(&["check", "-o", "json"]));
    checked.stdout.lines().any(|line| {
        line.contains(r#""id":"time_wait_fentry""#) && line.contains(r#""status":"ok""#)
    })
}

#[test]
fn errors_have_a_row_and_a_test_each() {
    let sources = [
        include_str!("doctor.rs"),
        include_str!("errors.rs"),
        include_str!("events.rs"),
        include_str!("groups.rs"),
        include_str!("hist.rs"),
        include_str!("limits.rs"),
        include_str!("recordings.rs"),
        include_str!("privileges.rs"),
        include_str!("program.rs"),
        include_str!("serve.rs"),
        include_str!("surroundings.rs"),
        include_str!("../../../tests/tests/kernel/errors.rs"),
    ];
    let functions = sources.into_iter().flat_map(|source| source.split("fn ").skip(1));
    let functions: BTreeSet<String> =
        functions.filter_map(|text| Some(text.split_once('(')?.0.to_owned())).collect();
    let rows: BTreeSet<String> = Row::all().into_iter().map(|row| row.test).collect();
    assert_eq!(rows.difference(&functions).next(), None, "a row whose test is not there");
    let mut tests = functions.iter().filter(|name| name.starts_with("error_"));
    assert_eq!(tests.find(|name| !rows.contains(*name)), None, "a test without a row");
}

/// Whether an error message has the form `cannot <verb> <object>: <cause>`. The character `…`
/// directly after `cannot` may replace the rest of the form.
fn has_form(cause: &str) -> bool {
    let Some(rest) = cause.strip_prefix("cannot ") else { return false };
    let verb = rest.split(' ').next().unwrap_or_default();
    let is_verb = verb.chars().all(|letter| letter.is_ascii_lowercase());
    (is_verb || verb.starts_with('…')) && (rest.contains(": ") || rest.starts_with('…'))
}

#[test]
fn errors_have_one_form() {
    for row in Row::all() {
        // Rows with exit status 0 describe limits and losses that do not end the run. The messages
        // of these rows are sentences, not errors of the form `cannot …`.
        let is_right = has_form(&row.cause) || row.status == 0;
        assert!(is_right && !row.cause.ends_with('.'), "{row:#?}");
        let begins = row.help.chars().next().is_some_and(|first| first.is_ascii_lowercase());
        assert!(begins && !row.help.ends_with('.'), "{row:#?}");
    }
}

/// Returns the text of each error in the source code, and the source file that contains the error.
fn source_texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            texts.extend(source_texts(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("the sources are text");
            let attributes = source.split("#[error(").skip(1);
            let literals = attributes.filter_map(|rest| rest.trim_start().strip_prefix('"'));
            texts.extend(
                literals.map(|text| {
                    (path.clone(), text.split('"').next().unwrap_or_default().to_owned())
                }),
            );
        }
    }
    texts
}

#[test]
fn errors_in_the_source_have_one_form() {
    // These texts are not complete error messages. Some texts follow the colon of an error message,
    // and some texts contain another error message.
    const PARTS: [(&str, &str); 4] = [
        ("recording/error.rs", ""),
        ("doctor/thresholds.rs", "line {line}, column {column}: "),
        ("probe/error.rs", "{source}; {suspect}"),
        ("", "{}"),
    ];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let texts = source_texts(&source);
    assert!(texts.len() >= 40, "{}", texts.len());
    for (path, text) in texts {
        let is_part = PARTS
            .iter()
            .any(|(file, start)| path.ends_with(file) && text.starts_with(start) || text == "{0}");
        assert!(text.starts_with("cannot ") || is_part, "{}: {text}", path.display());
    }
}

#[test]
fn errors_leave_nothing_in_the_kernel() {
    let before = KernelObjects::at_rest();
    let arguments = [&TRACE[..], &["--max-scan-sockets", "4294967295"]].concat();
    assert_eq!(run(&mut tcpstate(&arguments)).status, Some(2));
    wait::until_equal("the kernel to be as before", &before, KernelObjects::now);
}

#[test]
fn errors_include_help_for_a_call_without_arguments() {
    let asked = run(&mut tcpstate(&[]));
    assert_eq!((asked.status, asked.stdout.as_str()), (Some(2), ""));
    assert!(asked.stderr.contains("Usage: tcpstate <COMMAND>"), "{asked:?}");
}

/// Runs the command of each row of docs/ERRORS.md that names this test, and compares the error
/// message with the row.
fn assert_typed(test: &str) {
    for row in Row::all().into_iter().filter(|row| row.test == test) {
        let typed: Vec<&str> = row.trigger.split(' ').collect();
        assert_eq!(typed[0], "tcpstate");
        row.assert(&run(&mut tcpstate(&typed[1..])));
    }
}

#[test]
fn error_bad_usage() {
    assert_typed("error_bad_usage");
}

#[test]
fn error_no_recording() {
    assert_typed("error_no_recording");
}

#[test]
fn error_no_such_namespace() {
    assert_typed("error_no_such_namespace");
}

#[test]
fn error_process_not_ours() {
    let row = Row::of("error_process_not_ours");
    let trace = [&TRACE[..], &["--netns", "pid:1"]].concat();
    let trace = nobody(&["bpf", "perfmon", "syslog"])(&trace);
    row.assert(&run(&mut with_mounts(ALL_PROCESSES, &trace)));
}

#[test]
fn error_namespaces_not_permitted() {
    let row = Row::of("error_namespaces_not_permitted");
    let trace = [&TRACE[..], &["--netns", "all"]].concat();
    row.assert(&run(&mut nobody(&["bpf", "perfmon", "syslog"])(&trace)));
}

#[test]
fn error_no_capabilities() {
    assert_predicted("error_no_capabilities", &[], nobody(&[]));
}

#[test]
fn error_no_cap_bpf() {
    assert_predicted("error_no_cap_bpf", &[], nobody(&["perfmon", "syslog"]));
}

#[test]
fn error_no_cap_perfmon() {
    assert_predicted("error_no_cap_perfmon", &[], nobody(&["bpf", "syslog"]));
}

#[test]
fn error_no_cap_syslog() {
    if functions_can_be_hooked() {
        println!("skipped: this kernel's functions can be hooked, so CAP_SYSLOG is not needed");
        return;
    }
    let _namespace = Namespace::enter();
    assert_predicted("error_no_cap_syslog", &[], nobody(&["bpf", "perfmon"]));
}

#[test]
fn error_no_cap_syslog_for_timers() {
    let row = Row::of("error_no_cap_syslog_for_timers");
    let trace = [&TRACE[..], &["--time-wait-provider", "timer"]].concat();
    row.assert(&run(&mut nobody(&["bpf", "perfmon"])(&trace)));
}

#[test]
fn error_no_kallsyms() {
    let row = Row::of("error_no_kallsyms");
    let trace = tcpstate(&[&TRACE[..], &["--time-wait-provider", "timer"]].concat());
    row.assert(&run(&mut with_mounts("mount --bind /dev/null /proc/kallsyms", &trace)));
}

#[test]
fn error_addresses_hidden_from_all() {
    let row = Row::of("error_addresses_hidden_from_all");
    let trace = tcpstate(&[&TRACE[..], &["--time-wait-provider", "timer"]].concat());
    // Replace the setting's file in a separate mount namespace, because the real setting would
    // affect the whole machine.
    let hidden = "mount -t tmpfs tmpfs /mnt && cd /mnt && echo 2 >restrict
        echo 0000000000000000 t tw_timer_handler >kallsyms
        mount --bind restrict /proc/sys/kernel/kptr_restrict && mount --bind kallsyms /proc/kallsyms";
    row.assert(&run(&mut with_mounts(hidden, &trace)));
}

#[test]
fn error_tracefs_unreadable() {
    let row = Row::of("error_tracefs_unreadable");
    let trace = [&TRACE[..], &["--transitions-provider", "tracepoint"]].concat();
    let trace = nobody(&["bpf", "perfmon"])(&trace);
    row.assert(&run(&mut with_mounts(TRACEFS, &trace)));
}

#[test]
fn error_no_statistics() {
    let row = Row::of("error_no_statistics");
    let trace = [&TRACE[..], &["--cost"]].concat();
    row.assert(&run(&mut nobody(&["bpf", "perfmon"])(&trace)));
}

#[test]
fn error_user_namespace() {
    assert_predicted("error_user_namespace", &[], |arguments| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", TCPSTATE]).args(arguments);
        command
    });
}

/// Returns a command with a seccomp filter that refuses bpf(2). The filters of container runtimes
/// refuse bpf(2) too.
fn without_bpf(arguments: &[&str]) -> Command {
    let rules = [(libc::SYS_bpf, Vec::new())].into();
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let machine = std::env::consts::ARCH.try_into().expect("seccompiler supports this machine");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, machine);
    let filter: BpfProgram =
        filter.and_then(TryInto::try_into).expect("a list of one system call is a filter");
    let mut command = tcpstate(arguments);
    // SAFETY: between fork and exec, the closure makes two system calls and allocates no memory, so
    // it is async-signal-safe.
    unsafe {
        command.pre_exec(move || apply_filter(&filter).map_err(std::io::Error::other));
    }
    command
}

#[test]
fn error_seccomp() {
    assert_predicted("error_seccomp", &[], without_bpf);
    let feature = features(&mut without_bpf(&["check", "-o", "json"]));
    let seccomp = feature.iter().find(|feature| feature["id"] == "seccomp");
    assert_eq!(seccomp.map(|feature| &feature["status"]), Some(&"missing".into()));
}

#[test]
fn error_no_btf() {
    let hidden = "mount -t tmpfs tmpfs /sys/kernel/btf";
    assert_predicted("error_no_btf", &[], |arguments| with_mounts(hidden, &tcpstate(arguments)));
}

#[test]
fn error_broken_btf() {
    let hidden = "mount --bind /dev/null /sys/kernel/btf/vmlinux";
    assert_predicted("error_broken_btf", &[], |arguments| {
        with_mounts(hidden, &tcpstate(arguments))
    });
}

#[test]
fn error_unknown_structs() {
    // Write valid BTF that lacks the structs which tcpstate needs: a header and one empty string.
    let empty = r"mount -t tmpfs tmpfs /sys/kernel/btf && cd /sys/kernel/btf
        printf '\237\353\1\0\30\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0' >vmlinux";
    assert_predicted("error_unknown_structs", &[], |arguments| {
        with_mounts(empty, &tcpstate(arguments))
    });
}

#[test]
fn error_no_tracefs() {
    let row = Row::of("error_no_tracefs");
    let trace = tcpstate(&[&TRACE[..], &["--transitions-provider", "tracepoint"]].concat());
    let hidden =
        "mount -t tmpfs tmpfs /sys/kernel/tracing && mount -t tmpfs tmpfs /sys/kernel/debug";
    row.assert(&run(&mut with_mounts(hidden, &trace)));
}

#[test]
fn error_functions_refused() {
    if functions_can_be_hooked() {
        println!("skipped: this kernel's functions can be hooked");
        return;
    }
    let row = Row::of("error_functions_refused");
    row.assert(&run(&mut tcpstate(&[&TRACE[..], &["--time-wait-provider", "fentry"]].concat())));
}

/// The commands that add a variant of the kernel function `__inet_twsk_schedule` to the functions
/// in `/proc/kallsyms`.
const SPLIT: &str = "mount -t tmpfs tmpfs /mnt && cp /proc/kallsyms /mnt/kallsyms
    echo 0000000000000000 t __inet_twsk_schedule.part.0 >>/mnt/kallsyms
    mount --bind /mnt/kallsyms /proc/kallsyms";

#[test]
fn error_split_function() {
    let row = Row::of("error_split_function");
    let trace = tcpstate(&[&TRACE[..], &["--time-wait-provider", "fentry"]].concat());
    row.assert(&run(&mut with_mounts(SPLIT, &trace)));
    let checked = run(&mut with_mounts(SPLIT, &tcpstate(&["check", "-o", "json"])));
    let features = checked
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is a JSON object"));
    let features: Vec<Value> = features.collect();
    let feature = |id| features.iter().find(|feature| feature["id"] == id).expect("it is tested");
    let fentry = feature("time_wait_fentry");
    assert_eq!(fentry["status"], "missing");
    assert!(matches(&row.cause, fentry["detail"].as_str().expect("it is text")), "{fentry}");
    let detail = feature("trace")["detail"].as_str().expect("it is text");
    assert!(detail.contains("TIME_WAIT by timer"), "{detail}");
}

#[test]
fn error_map_too_large() {
    let row = Row::of("error_map_too_large");
    let mut trace: Vec<&str> = TRACE.to_vec();
    trace.extend(row.trigger.split(' '));
    row.assert(&run(&mut tcpstate(&trace)));
}

/// A memory cgroup whose limit is only a little higher than the memory that the program needs.
pub(crate) struct Cgroup(pub(crate) PathBuf);

impl Cgroup {
    /// Creates a cgroup with this memory limit. Returns `None` if this process may not create
    /// cgroups.
    pub(crate) fn with_limit(mib: u64) -> Option<Self> {
        let name = format!("tcpstate-test-{}", std::process::id());
        let hierarchies =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        hierarchies.into_iter().find_map(|(hierarchy, limit)| {
            let cgroup = Self(PathBuf::from(hierarchy).join(&name));
            fs::create_dir(&cgroup.0).ok()?;
            fs::write(cgroup.0.join(limit), (mib << 20).to_string()).ok()?;
            Some(cgroup)
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Remove the cgroup, which has no process any more. Ignore the error if the cgroup was
        // never created.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn error_memory_refused() {
    let row = Row::of("error_memory_refused");
    let Some(cgroup) = Cgroup::with_limit(64) else {
        println!("skipped: no memory cgroup can be made here");
        return;
    };
    let limited = |entries: &str| {
        let mut command = Command::new("sh");
        let join = r#"echo $$ >"$0"/cgroup.procs && exec "$@""#;
        command.args(["-c", join]).arg(&cgroup.0).arg(TCPSTATE).args(TRACE);
        command.args(["--max-scan-sockets", entries]);
        run(&mut command)
    };
    row.assert(&limited("2000000"));
    let less = limited("20000");
    assert_eq!(less.status, Some(0), "{less:?}");
}

#[test]
fn error_map_full() {
    let row = Row::of("error_map_full");
    let _namespace = Namespace::enter();
    let idle = Idle::open(5002, &Family::BOTH);
    // An audit would find that the gauges are right nevertheless.
    let mut trace = tcpstate(&["trace", "-o", "json", "-i", "100ms", "--max-audit-cpu", "0"]);
    trace.args(["--max-scan-sockets", "1009"]);
    let mut child = trace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut snapshots = stdout.lines().map(|line| -> Value {
        serde_json::from_str(&line.expect("the pipe is open")).expect("a line is a JSON object")
    });
    assert_eq!(snapshots.next().expect("it starts")["type"], "start");
    let first = snapshots.next().expect("an interval is over");
    assert!(first["map_full"].as_u64() > Some(0), "{first}");
    assert_eq!(first["exact"], false, "{first}");
    drop(idle);
    let exact = snapshots.find(|snapshot| snapshot["exact"] == true).expect("a scan is made");
    assert!(exact["reconciles"].as_u64() > Some(0), "{exact}");
    assert_eq!(exact["states"]["established"]["current"], 0, "{exact}");
    signal(&child, Signal::SIGTERM);
    let end = snapshots.last().expect("it ends without an error");
    assert_eq!(end["exact"], true, "{end}");
    let output = child.wait_with_output().expect("it ends");
    row.assert(&output.into());
}

#[test]
fn error_stdout_full() {
    let row = Row::of("error_stdout_full");
    // The error ends the command long before the duration of `-d 1h` is over.
    let trace = |output| ["trace", "-d", "1h", "-i", "50ms", "-o", output];
    let others: [&[&str]; 4] = [&["check"], &["count"], &["--help"], &["--version"]];
    let traces = ["table", "json", "csv"].map(trace);
    for arguments in traces.iter().map(|it| &it[..]).chain(others) {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full exists");
        let child = tcpstate(arguments).stdout(full).stderr(Stdio::piped()).spawn();
        let output = child.and_then(std::process::Child::wait_with_output).expect("it runs");
        row.assert(&output.into());
    }
}

//! Tests `--record` and `--replay`. The output of a replay must be identical to the output of the
//! run, also if the run was killed or failed. A replay must need no privileges.
//!
//! The expected output of the checked-in recordings is in `tests/golden/`. `cargo xtask golden`
//! writes the expected output again, and a reviewer must check the changes.
//!
//! The file is long because tests of checked-in recordings and tests of new recordings share helper
//! functions.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use flate2::{Compression, write::DeflateEncoder};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::{Uid, mkfifo},
};
use serde_json::Value;
use tcpstate::{
    recording::{Record, VERSION},
    report::Report,
};
use tcpstate_tests::{
    command::{Finished, as_nobody, piped, run, signal, with_mounts},
    netns::Namespace,
    recordings::{FORMS, folder, in_tree, read, written},
    synthetic,
    traffic::{Family, Listener, reset},
};
use tempfile::TempDir;

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

fn tcpstate(arguments: &[&str]) -> Command {
    piped(TCPSTATE, arguments)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Runs `tcpstate`, asserts that it succeeds, and returns its stdout.
fn shown(arguments: &[&str]) -> String {
    let finished = run(&mut tcpstate(arguments));
    assert_eq!((finished.status, finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    finished.stdout
}

/// A temporary folder for new recordings.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder can be made"))
    }

    fn path(&self, name: &str) -> String {
        text(&self.0.path().join(name)).to_owned()
    }
}

/// A folder that every user can read, with copies of the program and of the checked-in recordings.
struct Bare(Folder);

impl Bare {
    fn new() -> Self {
        let folder = Folder::new();
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test owns it");
        };
        open(folder.0.path(), 0o755);
        let files = in_tree().into_iter().map(|file| (file, 0o644));
        for (file, mode) in files.chain([(PathBuf::from(TCPSTATE), 0o755)]) {
            let name = file.file_name().expect("files have names");
            let copy = folder.0.path().join(name);
            fs::copy(&file, &copy).expect("the disk has space for a copy");
            open(&copy, mode);
        }
        Self(folder)
    }

    /// Runs a subcommand on a recording. If the test runs as root, the subcommand runs as the user
    /// `nobody` and without `/proc`.
    fn replay(&self, subcommand: &str, recording: &str, arguments: &[&str]) -> Finished {
        let recording = self.0.path(recording);
        let program = self.0.path("tcpstate");
        let mut command = if Uid::effective().is_root() {
            as_nobody(&[], &program)
        } else {
            Command::new(&program)
        };
        command.args([subcommand, "--replay", &recording]).args(arguments);
        if Uid::effective().is_root() {
            command = with_mounts("mount -t tmpfs tmpfs /proc", &command);
        }
        run(&mut command)
    }
}

#[test]
fn recordings_in_the_tree_replay_as_expected_without_privilege() {
    let writes = env::var_os("TCPSTATE_WRITE_GOLDEN").is_some();
    let bare = Bare::new();
    for path in in_tree() {
        let recording = path.file_name().and_then(|name| name.to_str()).expect("it is text");
        let records = read(&fs::read(&path).expect("it can be read"));
        let expected = |name: &str, found: &str| {
            let golden = folder().with_file_name("golden").join(recording).join(name);
            if writes {
                fs::create_dir_all(golden.parent().expect("it has one"))
                    .expect("root can create it");
                fs::write(&golden, found).expect("the tree can be written to");
            }
            let expected = fs::read_to_string(&golden).unwrap_or_else(|error| {
                panic!("{}: {error}: cargo xtask golden", golden.display())
            });
            assert!(found == expected, "{recording} as {name}: see cargo xtask golden");
            expected
        };
        for form in &FORMS {
            let expected = expected(form.name, &form.show(&records));
            if let Some(arguments) = form.arguments {
                let finished = bare.replay("trace", recording, arguments);
                assert_eq!((finished.status, finished.stderr.as_str()), (Some(0), ""));
                assert!(finished.stdout == expected, "{recording}, {arguments:?}");
            }
        }
        let Finished { status, stdout, stderr } = bare.replay("doctor", recording, &["-o", "json"]);
        if recording.contains("-namespaces") {
            assert_eq!((status, stdout.as_str()), (Some(2), ""), "{stderr}");
            assert!(stderr.contains("all network namespaces together"), "{stderr}");
        } else {
            assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
            expected("doctor.json", &stdout);
        }
    }
}

#[test]
fn recordings_in_the_tree_cover_every_version_and_are_documented() {
    let reported = fs::read_to_string(folder().join("README.md")).expect("it is there");
    let names: Vec<String> =
        in_tree().iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    for name in &names {
        assert!(reported.contains(&format!("| `{name}` | ")), "{name} has no row");
    }
    for version in 1..=VERSION {
        assert!(names.iter().any(|name| name.starts_with(&format!("v{version}-"))), "{version}");
    }
    let bytes: u64 =
        in_tree().iter().map(|path| fs::metadata(path).expect("it is there").len()).sum();
    assert!(bytes < 200_000, "{bytes}");
}

/// Makes about one connection per millisecond while a function runs. At this rate, each frame of a
/// recording has some events, and the traffic uses little CPU time.
fn trickle<T>(while_running: impl FnOnce() -> T) -> T {
    let listener = Listener::open(Family::V4);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                reset(listener.connect());
                drop(listener.accept());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let outcome = catch_unwind(AssertUnwindSafe(while_running));
        is_over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn recording_replays_identically_to_the_run() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    for (name, form) in [
        ("json", &["-o", "json", "--events"][..]),
        ("table", &["--events", "--utc"]),
        ("counts", &[]),
    ] {
        let file = folder.path(name);
        let mut recording = vec!["trace", "-i", "200ms", "-n", "3", "--record", &file];
        recording.extend(form);
        let output = trickle(|| tcpstate(&recording).output().expect("it starts"));
        assert!(output.status.success(), "{output:?}");
        let live = String::from_utf8(output.stdout).expect("it is text");
        assert!(live.len() > 1000, "{live}");
        let replayed = shown(&[&["trace", "--replay", &file], form].concat());
        assert!(replayed == live, "{name}");
    }
    // `--record` must refuse a file that exists, and must not change the file.
    let file = folder.path("json");
    let before = fs::read(&file).expect("it is there");
    let refused = run(&mut tcpstate(&["trace", "-n", "1", "--record", &file]));
    assert_eq!((refused.status, refused.stdout.as_str()), (Some(2), ""));
    assert!(refused.stderr.contains("help: choose another name"), "{}", refused.stderr);
    assert_eq!(fs::read(&file).expect("it is there"), before);

    // The export starts with one line about the recording. All further lines are the lines of the
    // run.
    let exported = shown(&["replay", &file, "-o", "json"]);
    let (first, lines) = exported.split_once('\n').expect("there are lines");
    assert!(lines == shown(&["trace", "--replay", &file, "--events", "-o", "json"]));
    let first: Value = serde_json::from_str(first).expect("it is an object");
    assert_eq!((&first["type"], &first["has_events"]), (&"recording".into(), &true.into()));
    assert!(first["sysctls"]["net.ipv4.tcp_max_tw_buckets"].is_string(), "{first}");
    assert_eq!(
        shown(&["replay", &file, "-o", "csv", "--events"]),
        shown(&["trace", "--replay", &file, "-o", "csv", "--events"])
    );
    assert_cut(&file, lines);
}

/// Asserts that the export of a part of a recording contains the start line and all lines whose
/// times are in this part.
fn assert_cut(file: &str, lines: &str) {
    let time = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("each line is an object");
        line["time"].as_str().expect("each line has a time").to_owned()
    };
    // The limits of the exported part are the times of two lines. Lines have times in milliseconds,
    // so the limits are whole milliseconds.
    let times: Vec<String> = lines.lines().map(time).collect();
    let (from, until) = (&times[times.len() / 3], &times[times.len() * 2 / 3]);
    let cut = shown(&["replay", file, "-o", "json", "--from", from, "--until", until]);
    let expected = lines
        .lines()
        .zip(&times)
        .enumerate()
        .filter(|(number, (_, time))| *number == 0 || (*time >= from && *time < until));
    let expected: Vec<&str> = expected.map(|(_, (line, _))| line).collect();
    assert!(expected.len() > 10);
    assert!(cut.lines().skip(1).eq(expected));
}

/// A running process that records, and a thread that reads its output lines.
struct Recording {
    child: Child,
    lines: std::thread::JoinHandle<Vec<(Instant, String)>>,
}

impl Recording {
    /// Starts a recording. Returns after the process has printed its first line.
    fn start(file: &str) -> Self {
        let arguments = ["trace", "--events", "-i", "100ms", "-o", "json", "--record", file];
        let mut child = tcpstate(&arguments).spawn().expect("it starts");
        let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("the pipe is open");
        let first = (Instant::now(), line.trim_end().to_owned());
        let lines = std::thread::spawn(move || {
            let lines = reader.lines().map_while(Result::ok).map(|line| (Instant::now(), line));
            [first].into_iter().chain(lines).collect()
        });
        Self { child, lines }
    }

    /// Kills the process. Returns each output line of the process, and the time when the test read
    /// the line. The last line may be incomplete.
    fn kill(mut self) -> Vec<(Instant, String)> {
        self.child.kill().expect("the test owns it");
        self.child.wait().expect("it ends");
        self.lines.join().expect("the reader does not panic")
    }
}

#[test]
fn recording_killed_at_any_moment_has_all_but_the_last_second() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    let mut random = std::process::id();
    let mut moment = || {
        // Generate a random time with xorshift. The process is killed in its first 1.5 s, in which
        // it writes the first frames.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        Duration::from_millis(u64::from(random % 1500))
    };
    trickle(|| {
        for round in 0..5 {
            let files = [0, 1, 2, 3].map(|number| folder.path(&format!("{round}.{number}.tcps")));
            let moments = [(); 4].map(|()| moment());
            std::thread::scope(|scope| {
                for (file, after) in files.iter().zip(moments) {
                    scope.spawn(move || assert_all_but_the_last_second(file, after));
                }
            });
        }
    });
}

/// Starts a process that records, and kills the process after the duration `after`. Asserts that
/// the recording contains all lines that the process printed at least one second before the kill.
fn assert_all_but_the_last_second(file: &str, after: Duration) {
    let recording = Recording::start(file);
    std::thread::sleep(after);
    let killed = Instant::now();
    let lines = recording.kill();
    let replayed = run(&mut tcpstate(&["trace", "--replay", file, "--events", "-o", "json"]));
    // If the process was writing a frame when it was killed, the frame is incomplete, and the
    // replay reports the incomplete frame.
    let is_cut = replayed.stderr.contains("it ends within the frame at byte");
    assert_eq!(replayed.status, Some(if is_cut { 2 } else { 0 }), "{}", replayed.stderr);
    assert!(is_cut || replayed.stderr.contains("has no end"), "{}", replayed.stderr);
    let found: Vec<&str> = replayed.stdout.lines().collect();
    let is_old = |read: &Instant| killed.duration_since(*read) >= Duration::from_secs(1);
    let old = lines.iter().take_while(|(read, _)| is_old(read)).count();
    // The recording always contains the start line.
    assert!(found.len() >= old.max(1), "{after:?}: {} lines of {old}", found.len());
    // Do not compare the last line that was read, because it may be incomplete.
    let whole = lines.len().min(found.len()) - 1;
    let same = lines.iter().zip(&found).take_while(|((_, line), found)| line == *found).count();
    assert!(same >= whole, "{after:?}: {same} lines of {whole}");
}

#[test]
fn recording_of_a_run_without_a_reader_has_its_end() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    let trace = ["trace", "--events", "-o", "json", "-i", "100ms"];
    // Close the pipe, which must end the run without an error.
    let file = folder.path("pipe.tcps");
    let mut child =
        tcpstate(&[&trace[..], &["--record", &file]].concat()).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("the pipe is open");
    drop(reader);
    assert!(child.wait().expect("it ends").success());
    assert!(shown(&["trace", "--replay", &file, "-o", "json"]).contains("\n{\"type\":\"end\""));
    // Stdout is `/dev/full`, so each write to stdout fails and the run fails. The recording must
    // still be complete.
    let file = folder.path("full.tcps");
    let mut command = tcpstate(&[&trace[..], &["--record", &file]].concat());
    let full = fs::File::options().write(true).open("/dev/full").expect("it is there");
    let output = command.stdout(full).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).expect("it is text");
    assert!(stderr.contains("write to stdout: No space left on device"), "{stderr}");
    assert!(shown(&["trace", "--replay", &file, "-o", "json"]).contains("\n{\"type\":\"end\""));
}

#[test]
fn recording_on_a_full_disk_continues_when_there_is_room() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    let disk = folder.path("disk");
    fs::create_dir(&disk).expect("the test owns the folder");
    // The tmpfs has three pages. A file occupies two of these pages. The test removes the file
    // after the recording has failed because the disk is full.
    let mut trace = tcpstate(&["trace", "-i", "50ms", "-o", "json", "--record"]);
    trace.arg(format!("{disk}/run.tcps"));
    let mounts =
        format!("mount -t tmpfs -o size=12k tmpfs {disk}; head -c 8000 /dev/zero >{disk}/fill");
    let mut command = with_mounts(&mounts, &trace);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
    let lines = child.stdout.take().expect("it is piped");
    let lines = std::thread::spawn(move || {
        BufReader::new(lines).lines().map_while(Result::ok).collect::<Vec<String>>()
    });
    let mut said = String::new();
    while !said.contains("No space left on device") {
        assert!(errors.read_line(&mut said).expect("the pipe is open") > 0, "{said}");
    }
    let seen = PathBuf::from(format!("/proc/{}/root{disk}", child.id()));
    fs::remove_file(seen.join("fill")).expect("root can read other mount namespaces");
    while !said.contains("the recording is written again, and it is complete") {
        assert!(errors.read_line(&mut said).expect("the pipe is open") > 0, "{said}");
    }
    // Open the recording now, because the mount is reachable only while the process runs. Read the
    // recording later, because it is complete only after the process has ended.
    let file = fs::File::open(seen.join("run.tcps")).expect("it is there");
    signal(&child, Signal::SIGINT);
    let status = child.wait().expect("it ends");
    errors.read_to_string(&mut said).expect("it is text");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("help: free space on the disk of the recording"), "{said}");
    let live = lines.join().expect("the reader does not panic");
    let copy = folder.path("copy.tcps");
    std::io::copy(&mut &file, &mut fs::File::create(&copy).expect("the test owns the folder"))
        .expect("there is room");
    let replayed = shown(&["trace", "--replay", &copy, "-o", "json"]);
    assert!(replayed.lines().eq(live.iter().map(String::as_str)));
}

#[test]
fn recording_that_is_damaged_is_shown_up_to_the_damage() {
    let recording = in_tree().into_iter().next().expect("there are recordings");
    let bytes = fs::read(&recording).expect("it can be read");
    let folder = Folder::new();
    let path = folder.path("damaged.tcps");
    let whole = shown(&["trace", "--replay", text(&recording), "-o", "json"]);
    let replay = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("the test owns the folder");
        run(&mut tcpstate(&["trace", "--replay", &path, "-o", "json"]))
    };
    let cut = replay(&bytes[..bytes.len() - 1]);
    assert_eq!(cut.status, Some(2), "{cut:?}");
    assert!(whole.starts_with(&cut.stdout), "{cut:?}");
    assert!(cut.stderr.contains("it ends within the frame at byte "), "{cut:?}");
    let mut wrong = bytes.clone();
    *wrong.last_mut().expect("it is not empty") ^= 1;
    let wrong = replay(&wrong);
    assert_eq!((wrong.status, &wrong.stdout), (Some(2), &cut.stdout), "{wrong:?}");
    assert!(wrong.stderr.contains("the frame at byte "), "{wrong:?}");
    assert!(wrong.stderr.contains("is damaged: a checksum that is wrong\nhelp: "), "{wrong:?}");
    let newer = replay(b"tcpstate recording 999\n");
    assert!(newer.stderr.contains("has version 999"), "{newer:?}");
    let none = replay(b"hello\n");
    assert!(
        none.stderr.contains("it is not a recording\nhelp: choose a file that --record wrote"),
        "{none:?}"
    );
}

/// A recording in which frames with this content follow the start report.
fn with_frames(contents: &[&[u8]]) -> Vec<u8> {
    let recording = in_tree().into_iter().next().expect("there are recordings");
    let records = read(&fs::read(recording).expect("it can be read"));
    let mut file = written(&records[..1]);
    for content in contents {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        let data = encoder.write_all(content).and_then(|()| encoder.finish());
        let data = data.expect("memory takes all");
        let length = u32::try_from(data.len()).expect("it is small").to_le_bytes();
        let checksum = crc32fast::hash(&[&length[..], &data].concat());
        file.extend_from_slice(&[&length[..], &checksum.to_le_bytes(), &data].concat());
    }
    file
}

#[test]
fn recording_that_expands_is_refused_in_little_memory() {
    let nested = [b"\x83\x09\x00", vec![0x9f; 1 << 20].as_slice()].concat();
    let columns =
        [b"\x83\x04\x00\x93\x9a\x00\x10\x00\x00", vec![0xf6; 1 << 20].as_slice()].concat();
    let folder = Folder::new();
    let path = folder.path("expands.tcps");
    let frame = vec![0; 15 << 20];
    for contents in [&[&frame[..], &frame][..], &[&nested], &[&columns]] {
        let file = with_frames(contents);
        assert!(file.len() < 64 << 10, "{}", file.len());
        fs::write(&path, file).expect("the test owns the folder");
        for command in [
            &["replay", "-o", "json"][..],
            &["trace", "-o", "json", "--replay"],
            &["doctor", "--replay"],
        ] {
            // The shell limits the address space to 200 MiB, most of which is code and stacks.
            let words =
                [&["-c", "ulimit -v 200000; exec \"$@\"", "sh", TCPSTATE], command, &[&path]];
            let finished = run(&mut piped("sh", &words.concat()));
            assert_eq!(finished.status, Some(2), "{finished:?}");
            let expected = format!("cannot read the recording {path}: the frame at byte ");
            assert!(finished.stderr.contains(&expected), "{finished:?}");
            assert!(
                finished.stderr.contains("bytes\nhelp: use the output before this frame;"),
                "{finished:?}"
            );
        }
    }
}

/// Returns a recording without an end report, as a killed process leaves it.
fn without_end() -> Vec<u8> {
    let recording = in_tree().into_iter().next().expect("there are recordings");
    let mut records = read(&fs::read(recording).expect("it can be read"));
    let end = records.pop().expect("the last record is the end report");
    assert!(matches!(end, Record::Report(report) if matches!(*report, Report::End(_))));
    written(&records)
}

#[test]
fn recording_skips_further_files_of_others() {
    let folder = Folder::new();
    let (file, next) = (folder.path("run.tcps"), folder.path("run.tcps.1"));
    fs::write(&file, without_end()).expect("the test owns the folder");
    let replay = || {
        let replayed = run(&mut tcpstate(&["replay", &file, "-o", "json"]));
        assert_eq!(replayed.status, Some(0), "{replayed:?}");
        assert!(replayed.stdout.contains("\"type\":\"snapshot\""), "{replayed:?}");
        replayed.stderr
    };
    assert!(!replay().contains("skipped"));
    mkfifo(next.as_str(), Mode::S_IRWXU).expect("the test owns the folder");
    assert!(replay().contains(&format!("skipped {next}: it is a pipe, not a file")));
    fs::remove_file(&next).expect("the test owns the folder");
    fs::copy(in_tree().last().expect("there are recordings"), &next).expect("the disk has space");
    assert!(replay().contains(&format!("skipped {next}: it belongs to another recording")));
}

#[test]
fn recording_in_a_pipe_ends_on_sigterm() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    mkfifo(pipe.as_str(), Mode::S_IRWXU).expect("the test owns the folder");
    // This descriptor is a reader and a writer, so the pipe has no end.
    let mut both = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    both.write_all(&without_end()).expect("the pipe has space");
    let mut child = tcpstate(&["replay", &pipe, "-o", "json"]).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()), "the first frames are shown");
    assert!(lines.next().is_some_and(|line| line.is_ok()), "the first frames are shown");
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    drop(both);
    // A complete recording in a pipe is replayed like a file.
    let recording = in_tree().into_iter().next().expect("there are recordings");
    let script = format!("cat '{}' | {TCPSTATE} replay /dev/stdin -o json", text(&recording));
    let piped = run(&mut self::piped("sh", &["-c", &script]));
    assert_eq!(piped.stdout, shown(&["replay", text(&recording), "-o", "json"]));
}

#[test]
fn recording_is_readable_only_for_its_owner_unless_told_otherwise() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    for (umask, flags, expected) in [
        ("022", &[][..], 0o600),
        ("000", &[], 0o600),
        ("077", &["--record-mode", "644"], 0o644),
        ("022", &["--record-mode", "660"], 0o660),
    ] {
        let file = folder.path(&format!("{umask}-{expected:o}"));
        let script = format!("umask {umask}; exec \"$@\"");
        let trace =
            ["-c", &script, "sh", TCPSTATE, "trace", "-n", "1", "-i", "50ms", "--record", &file];
        let finished = run(&mut piped("sh", &[&trace[..], flags].concat()));
        assert_eq!(finished.status, Some(0), "{finished:?}");
        let mode = fs::metadata(&file).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!(mode, expected, "{umask} {flags:?}");
    }
}

#[test]
fn recording_beside_files_of_an_older_recording_is_refused() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    let (file, older) = (folder.path("run.tcps"), folder.path("run.tcps.3"));
    fs::write(&older, "").expect("the test owns the folder");
    fs::write(folder.path("run.tcps.03"), "").expect("the test owns the folder");
    let trace = ["trace", "-n", "1", "-i", "50ms", "--record", &file];
    let refused = run(&mut tcpstate(&[&trace[..], &["--max-record-size", "1M"]].concat()));
    assert_eq!((refused.status, refused.stdout.as_str()), (Some(2), ""));
    let expected = format!("cannot create the recording {file}: {older} exists already\nhelp: ");
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    // Without further files, the recording does not need the names.
    assert_eq!(run(&mut tcpstate(&trace)).status, Some(0));
}

/// Starts a run that is recorded and waits for its start line. Returns the lines of stdout too.
fn recorded(file: &str, flags: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let trace = ["trace", "--events", "-i", "50ms", "-o", "json", "--record", file];
    let mut child = tcpstate(&[&trace[..], flags].concat()).spawn().expect("it starts");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = stdout.lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.contains("\"type\":\"start\"")));
    (child, lines)
}

/// Waits until stderr has a line with this text. Returns everything that stderr said so far.
fn await_error(child: &mut Child, text: &str) -> String {
    let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut said = String::new();
    while !said.contains(text) {
        assert!(errors.read_line(&mut said).expect("the pipe is open") > 0, "{said}");
    }
    child.stderr = Some(errors.into_inner());
    said
}

/// Asserts that tracing still goes on, ends the run, and returns the rest of stderr.
fn end_after_failure(mut child: Child, mut lines: impl Iterator<Item = String>) -> String {
    let snapshot = |line: &String| line.contains("\"type\":\"snapshot\"");
    assert!((0..2).all(|_| lines.any(|line| snapshot(&line))), "tracing goes on");
    signal(&child, Signal::SIGTERM);
    assert!(lines.last().is_some_and(|line| line.contains("\"type\":\"end\"")));
    let mut said = String::new();
    let mut errors = child.stderr.take().expect("it is piped");
    errors.read_to_string(&mut said).expect("it is text");
    assert_eq!(child.wait().expect("it ends").code(), Some(2), "{said}");
    assert!(said.contains("it ended before the run\nhelp: "), "{said}");
    said
}

#[test]
fn recording_ends_if_it_cannot_continue_and_tracing_goes_on() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    let (file, next) = (folder.path("run.tcps"), folder.path("run.tcps.1"));
    let (mut child, lines) = recorded(&file, &["--max-record-size", "64k"]);
    fs::create_dir(&next).expect("the test owns the folder");
    let (sender, receiver) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        for line in lines {
            let _ = sender.send(line);
        }
    });
    let said = trickle(|| await_error(&mut child, "help: "));
    let expected = format!("tcpstate: cannot continue the recording in {next}: File exists");
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("the run goes on without recording\nhelp: "), "{said}");
    end_after_failure(child, receiver.into_iter());
    reading.join().expect("the reader does not panic");
    let replayed = run(&mut tcpstate(&["replay", &file, "-o", "json"]));
    assert_eq!(replayed.status, Some(0), "{replayed:?}");
    assert!(replayed.stdout.lines().count() > 100);
}

#[test]
fn recording_that_is_deleted_or_truncated_is_reported() {
    let _namespace = Namespace::enter();
    let folder = Folder::new();
    for change in ["deleted", "truncated"] {
        let file = folder.path(change);
        let (mut child, lines) = recorded(&file, &[]);
        let (sender, receiver) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            for line in lines {
                let _ = sender.send(line);
            }
        });
        if change == "deleted" {
            fs::remove_file(&file).expect("the test owns the folder");
        } else {
            let file = fs::OpenOptions::new().write(true).open(&file).expect("it is there");
            file.set_len(30).expect("the test owns the file");
        }
        let said = await_error(&mut child, "help: ");
        let expected = format!(
            "tcpstate: cannot continue the recording {file}: another program {change} it; \
             the run goes on without recording\nhelp: keep other programs away"
        );
        assert!(said.contains(&expected), "{said}");
        end_after_failure(child, receiver.into_iter());
        reading.join().expect("the reader does not panic");
    }
}

#[test]
fn recording_of_a_million_events_takes_at_most_20_megabytes() {
    const EVENTS: usize = 100_000;
    let events = synthetic::events(EVENTS);
    let records: Vec<Record> =
        events.chunks(1024).map(|events| Record::Events(events.to_vec())).collect();
    let bytes = written(&records).len();
    assert!(bytes <= 20 * EVENTS, "{bytes}");
}

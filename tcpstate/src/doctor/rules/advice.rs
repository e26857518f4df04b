//! Rules that say which effect the lines in sysctl files have on this kernel. Many lines in sysctl
//! files follow outdated advice.
//!
//! The file is long because it has the text of each rule, and tests of both sides of each decision.

use tcpstate_common::State;

use super::{Finding, Level, MAX_FINDINGS, Rule, ok, or_ok, quoted, time_wait};
use crate::{
    doctor::{
        Thresholds,
        facts::{Facts, Known, sysctl_files::Line, sysctls},
    },
    text::readable,
};

const FILES: &str = "/etc/sysctl.conf; sysctl.d/*.conf in /etc, /run, /usr/local/lib and /usr/lib";

pub(super) const T4: Rule = Rule {
    id: "T4",
    family: "advice",
    title: "tcp_tw_recycle in a sysctl file",
    means: "tcp_tw_recycle was removed in 4.12, so the line only makes sysctl print an error. \
            Before 4.12 tcp_tw_recycle made the kernel drop connections of clients behind NAT.",
    knows: "The rule reads the line that takes effect among all sysctl files. The rule also checks \
            whether /proc/sys has the setting.",
    thresholds: &[],
    reference: "commit 4396e46187ca (\"tcp: remove tcp_tw_recycle\", 4.12); sysctl.d(5)",
    help: "Delete the line.",
    check: t4,
};

pub(super) const A1: Rule = Rule {
    id: "A1",
    family: "advice",
    title: "tcp_syncookies in a sysctl file",
    means: "The default of tcp_syncookies is 1, so a line with 1 changes nothing. With \
            tcp_syncookies=0, a full SYN queue drops SYNs. tcp_syncookies=2 is for tests.",
    knows: "The rule reads the line that takes effect among all sysctl files, and the value in \
            force.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_sk_init (sysctl_tcp_syncookies = 1); \
                Documentation/networking/ip-sysctl.rst: tcp_syncookies",
    help: "Delete the line: the default of tcp_syncookies is 1. SYN cookies have nothing to do \
           with TIME_WAIT.",
    check: a1,
};

pub(super) const A2: Rule = Rule {
    id: "A2",
    family: "advice",
    title: "tcp_tw_reuse in a sysctl file",
    means: "tcp_tw_reuse only lets connect() reuse ports in TIME_WAIT. tcp_tw_reuse does not \
            affect incoming connections of a server. tcp_tw_reuse does not reduce the number of \
            sockets in TIME_WAIT.",
    knows: "The rule reads the line that takes effect among all sysctl files, and the value in \
            force. The finding states the effect on this kernel (T5).",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; Documentation/networking/ip-sysctl.rst: \
                tcp_tw_reuse",
    help: "Keep the line for tcp_tw_reuse only on a host that opens many connections to few \
           destinations (P1, P2).",
    check: a2,
};

pub(super) const A3: Rule = Rule {
    id: "A3",
    family: "advice",
    title: "tcp_fin_timeout in a sysctl file",
    means: "tcp_fin_timeout does not apply to TIME_WAIT, which always takes 60 s. tcp_fin_timeout \
            ends orphans in FIN_WAIT2: sockets that a program has closed and whose peer does not \
            close.",
    knows: "The rule reads the line that takes effect among all sysctl files, and the value in \
            force.",
    thresholds: &[],
    reference: "include/net/tcp.h: TCP_TIMEWAIT_LEN; net/ipv4/tcp.c: __tcp_close; \
                Documentation/networking/ip-sysctl.rst: tcp_fin_timeout",
    help: "Delete the line, unless you need tcp_fin_timeout for orphans in FIN_WAIT2.",
    check: a3,
};

pub(super) const A4: Rule = Rule {
    id: "A4",
    family: "advice",
    title: "tcp_max_tw_buckets in a sysctl file",
    means: "If tcp_max_tw_buckets is below the kernel's default, connections close without \
            TIME_WAIT at a lower number of sockets (T1). The limit protects against simple \
            attacks, and the kernel's documentation says that tcp_max_tw_buckets must not be \
            lowered.",
    knows: "The rule compares the line that takes effect among all sysctl files with the kernel's \
            default, which is half of tcp_ehash_entries.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_sk_init, tcp_set_hashinfo (sysctl_max_tw_buckets); \
                Documentation/networking/ip-sysctl.rst: tcp_max_tw_buckets",
    help: "Delete the line, or raise tcp_max_tw_buckets.",
    check: a4,
};

pub(super) const A5: Rule = Rule {
    id: "A5",
    family: "advice",
    title: "tcp_max_syn_backlog in a sysctl file",
    means: "The kernel does not read tcp_max_syn_backlog while SYN cookies are on. The length of a \
            SYN queue is the backlog of its listener, which net.core.somaxconn limits.",
    knows: "The rule reads the line that takes effect among all sysctl files, and the value of \
            tcp_syncookies.",
    thresholds: &[],
    reference: "net/ipv4/tcp_input.c: tcp_conn_request (its only user); \
                include/net/inet_connection_sock.h: inet_csk_reqsk_queue_is_full",
    help: "Instead of tcp_max_syn_backlog, raise net.core.somaxconn and the backlog that the \
           program passes to listen().",
    check: a5,
};

pub(super) const A6: Rule = Rule {
    id: "A6",
    family: "advice",
    title: "lines without effect in sysctl files",
    means: "The sysctl files contain lines that set nothing, or settings that the kernel keeps \
            only for old scripts, or doctor cannot read a file.",
    knows: "The rule looks for lines that are not assignments, for files that cannot be read, and \
            for settings without effect. The kernel's documentation calls tcp_fack and \
            tcp_low_latency legacy settings without effect.",
    thresholds: &[],
    reference: "sysctl.d(5); Documentation/networking/ip-sysctl.rst: tcp_fack, tcp_low_latency",
    help: "Delete or fix the lines. If doctor cannot read a file, let this user read the file.",
    check: a6,
};

pub(super) const A7: Rule = Rule {
    id: "A7",
    family: "advice",
    title: "tcp_timestamps in a sysctl file",
    means: "tcp_timestamps=0 turns off the protection against late segments (PAWS) and the \
            measurement of round trips by timestamps. Without timestamps tcp_tw_reuse has no \
            effect, and connections by SYN cookie lose window scaling.",
    knows: "The rule reads the line that takes effect among all sysctl files.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; net/ipv4/syncookies.c: \
                cookie_timestamp_decode; Documentation/networking/ip-sysctl.rst: tcp_timestamps",
    help: "Delete the line. The default of tcp_timestamps is 1, with a random offset for each \
           connection since 4.10.",
    check: a7,
};

/// Returns the command that deletes all lines of the setting from the file of `line`.
fn deletion(line: &Line) -> String {
    let name = line.key.rsplit('.').next().unwrap_or_default();
    format!(
        "sed -i.bak {} {}",
        quoted(&format!("/{name} *=/d")),
        quoted(&readable(line.file.as_os_str()))
    )
}

/// Returns the finding about the line that takes effect for this key, if a file sets the key.
fn about_line(
    facts: &Facts,
    key: &'static str,
    say: impl FnOnce(&Line) -> Known<Finding>,
) -> Known<Vec<Finding>> {
    let name = key.rsplit('.').next().unwrap_or_default();
    let files = facts.files()?;
    let Some(line) = files.effective(key) else {
        return Ok(vec![ok(format!("no sysctl file sets {name}")).source(FILES)]);
    };
    let others = files.lines.iter().filter(|other| other.key == key).count() - 1;
    let in_force = facts.sysctls.text(key)?;
    let finding = say(line)?
        .number("file", readable(line.file.as_os_str()))
        .number("line", line.number)
        .number("value", line.value.as_str())
        .number("in_force", in_force)
        .number("lines_overridden", others)
        .source(format!("{line}; {}", sysctls::path(key)));
    Ok(vec![finding])
}

/// Returns the line as `FILE:7: tcp_tw_reuse = 1`. If the sysctl now has another value, this value
/// follows.
fn quote(line: &Line, facts: &Facts) -> String {
    let name = line.key.rsplit('.').next().unwrap_or_default();
    let in_force = facts.sysctls.text(&line.key).ok().flatten();
    let differs = in_force.filter(|value| !same(value, &line.value));
    let differs = differs.map(|value| format!(" (value in force: {value})")).unwrap_or_default();
    format!("{line}: {name} = {}{differs}", line.value)
}

/// Returns whether two values are equal, apart from white space. The kernel writes a tab between
/// two numbers, and a file may have spaces.
fn same(one: &str, other: &str) -> bool {
    one.split_ascii_whitespace().eq(other.split_ascii_whitespace())
}

fn t4(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let key = "net.ipv4.tcp_tw_recycle";
    let exists = facts.sysctls.text(key)?.is_some();
    about_line(facts, key, |line| {
        let text = quote(line, facts);
        let release = &facts.kernel.release;
        Ok(if exists && line.value != "0" {
            Finding::new(
                Level::Warn,
                format!("{text}: drops clients behind NAT at random; removed in 4.12"),
            )
            .advice("Delete the line and turn the setting off.")
            .command(format!("{} && sysctl -w net.ipv4.tcp_tw_recycle=0", deletion(line)))
        } else if exists {
            ok(format!("{text}: off"))
        } else {
            Finding::new(
                Level::Info,
                format!(
                    "{text}: removed in 4.12, so on {release} it only makes sysctl print an error"
                ),
            )
            .advice("Delete the line. No other setting replaces tcp_tw_recycle.")
            .command(deletion(line))
        })
    })
}

fn a1(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    about_line(facts, "net.ipv4.tcp_syncookies", |line| {
        let text = quote(line, facts);
        Ok(match line.value.as_str() {
            "0" => Finding::new(Level::Warn, format!("{text}: a full SYN queue drops SYNs"))
                .advice("Delete the line. The default is 1.")
                .command(format!("{} && sysctl -w net.ipv4.tcp_syncookies=1", deletion(line))),
            "1" => Finding::new(
                Level::Info,
                format!(
                    "{text}: 1 is the default, so the line changes nothing; SYN cookies have \
                     nothing to do with TIME_WAIT"
                ),
            )
            .advice("Delete the line. The kernel sends cookies only when a SYN queue is full.")
            .command(deletion(line)),
            "2" => Finding::new(
                Level::Warn,
                format!("{text}: every connection uses a SYN cookie, a setting for tests"),
            )
            .advice("Delete the line. The default is 1.")
            .command(format!("{} && sysctl -w net.ipv4.tcp_syncookies=1", deletion(line))),
            _ => Finding::new(Level::Info, format!("{text}: the kernel knows only 0, 1 and 2"))
                .advice("Delete the line. The default is 1.")
                .command(deletion(line)),
        })
    })
}

fn a2(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let in_force = facts.sysctls.find("net.ipv4.tcp_tw_reuse")?;
    let default = if time_wait::has_loopback_reuse(facts, in_force) { 2 } else { 0 };
    about_line(facts, "net.ipv4.tcp_tw_reuse", |line| {
        let text = quote(line, facts);
        let Ok(value) = line.value.parse::<u64>() else {
            return Ok(Finding::new(Level::Info, format!("{text}: not a number"))
                .advice(format!("Delete the line. The default is {default}."))
                .command(deletion(line)));
        };
        let does = time_wait::reuse(facts, value)?;
        let text = format!("{text}: on {} {does}", facts.kernel.release);
        Ok(if value == default {
            Finding::new(
                Level::Info,
                format!("{text}; this is the default, so the line changes nothing"),
            )
            .advice("Delete the line.")
            .command(deletion(line))
        } else {
            Finding::new(
                Level::Info,
                format!(
                    "{text}; it does not affect incoming connections, and it does not reduce the \
                     sockets in TIME_WAIT"
                ),
            )
            .advice(format!(
                "Delete the line, unless this host opens many connections to few destinations (P1, \
                 P2). The default of this kernel is {default}."
            ))
            .command(deletion(line))
        })
    })
}

fn a3(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    // The finding shows the numbers of sockets, but does not depend on these numbers.
    let sockets = facts
        .sockets()
        .ok()
        .map(|sockets| (sockets.in_state(State::FinWait2), sockets.in_state(State::TimeWait)));
    about_line(facts, "net.ipv4.tcp_fin_timeout", |line| {
        let now = sockets.map(|(fin_wait2, time_wait)| {
            format!(" (now {fin_wait2} in FIN_WAIT2, {time_wait} in TIME_WAIT)")
        });
        let text = format!(
            "{}: applies only to orphans in FIN_WAIT2; it does not shorten TIME_WAIT, which takes \
             60 s{}",
            quote(line, facts),
            now.unwrap_or_default()
        );
        let finding = Finding::new(Level::Info, text)
            .number("fin_wait2", sockets.map(|(fin_wait2, _)| fin_wait2))
            .number("time_wait", sockets.map(|(_, time_wait)| time_wait));
        Ok(finding
            .advice(
                "Delete the line, unless you need tcp_fin_timeout for orphans in FIN_WAIT2. The \
                 default is 60.",
            )
            .command(deletion(line)))
    })
}

fn a4(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    // A network namespace that has no hash table of its own uses the host's table. The sysctl then
    // shows the size of the host's table as a negative number.
    let own: Option<i64> = facts.sysctls.find("net.ipv4.tcp_ehash_entries")?;
    let own = own.map(|entries| entries.unsigned_abs() / 2);
    about_line(facts, "net.ipv4.tcp_max_tw_buckets", |line| {
        let text = quote(line, facts);
        let finding = match (line.value.parse::<u64>(), own) {
            (Err(_), _) => {
                Finding::new(Level::Info, format!("{text}: not a number")).command(deletion(line))
            }
            (Ok(limit), Some(own)) if limit < own => Finding::new(
                Level::Info,
                format!(
                    "{text}: below the kernel's default of {own}, so connections close without \
                     TIME_WAIT sooner (T1)"
                ),
            )
            .advice(
                "Delete the line. The kernel's documentation says that this limit must not be \
                 lowered.",
            )
            .command(deletion(line)),
            (Ok(_), Some(own)) => ok(format!("{text}: not below the kernel's default of {own}")),
            (Ok(_), None) => {
                // Kernels before 6.1 do not have the sysctl that shows the size of the hash table.
                Finding::new(
                    Level::Info,
                    format!(
                        "{text}: must not be below the kernel's default, which this kernel does \
                         not show"
                    ),
                )
                .advice("Delete the line if T1 or T2 reports a problem.")
                .command(deletion(line))
            }
        };
        Ok(finding.number("own_limit", own))
    })
}

fn a5(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let cookies: u64 = facts.sysctls.find("net.ipv4.tcp_syncookies")?.unwrap_or(0);
    about_line(facts, "net.ipv4.tcp_max_syn_backlog", |line| {
        let text = quote(line, facts);
        Ok(if cookies == 0 {
            ok(format!("{text}: limits half-open connections, because SYN cookies are off"))
        } else {
            Finding::new(
                Level::Info,
                format!(
                    "{text}: no effect while SYN cookies are on; the length of a SYN queue is the \
                     backlog of its listener"
                ),
            )
            .advice(
                "Delete the line. If S1 or S3 reports a problem, raise net.core.somaxconn and the \
                 backlog that the program passes to listen().",
            )
            .command(deletion(line))
        }
        .number("tcp_syncookies", cookies))
    })
}

/// Settings that the kernel accepts and ignores.
const LEGACY: &[&str] = &["net.ipv4.tcp_fack", "net.ipv4.tcp_low_latency"];

fn a6(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let files = facts.files()?;
    let legacy = LEGACY.iter().filter_map(|key| files.effective(key)).map(|line| {
        Finding::new(
            Level::Info,
            format!(
                "{}: the kernel keeps this setting for old scripts and ignores it",
                quote(line, facts)
            ),
        )
        .advice("Delete the line.")
        .command(deletion(line))
        .source(line.to_string())
    });
    let unread = files.problems.iter().take(MAX_FINDINGS).map(|problem| {
        Finding::new(Level::Unknown, format!("sysctl file problem: {problem}"))
            .number("problems", files.problems.len())
            .advice("Fix the line, let this user read the file, or run doctor as root.")
            .source(FILES)
    });
    Ok(or_ok(legacy.chain(unread).collect(), || {
        ok(format!("{} sysctl files with {} settings were read", files.files, files.lines.len()))
            .number("files", files.files)
            .number("settings", files.lines.len())
            .source(FILES)
    }))
}

fn a7(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    about_line(facts, "net.ipv4.tcp_timestamps", |line| {
        let text = quote(line, facts);
        Ok(match line.value.as_str() {
            "0" => Finding::new(
                Level::Info,
                format!(
                    "{text}: no protection against late segments, and tcp_tw_reuse has no effect"
                ),
            )
            .advice("Delete the line. The default is 1.")
            .command(format!("{} && sysctl -w net.ipv4.tcp_timestamps=1", deletion(line))),
            _ => ok(format!("{text}: timestamps are on")),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels, nothing, only};

    /// Sysctl lines against TIME_WAIT that many guides still recommend, although the advice is
    /// wrong.
    const NOTE: &str = "net.ipv4.tcp_syncookies = 1\nnet.ipv4.tcp_tw_reuse = 1\n\
                        net.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_fin_timeout = 30\n";

    #[test]
    fn the_four_lines_of_the_note_get_four_answers() {
        let scene = Scene::default().file(NOTE);
        for (rule, level, says) in [
            (&A1, Level::Info, "/etc/sysctl.conf:1: tcp_syncookies = 1: 1 is the default"),
            (
                &A2,
                Level::Info,
                "on 6.18.0 connect() reuses ports in TIME_WAIT to any destination, after 1000 ms",
            ),
            (&T4, Level::Info, "removed in 4.12, so on 6.18.0"),
            (&A3, Level::Info, "it does not shorten TIME_WAIT, which takes 60 s"),
        ] {
            let finding = only(rule, &scene);
            assert_eq!(finding.level, level, "{}", rule.id);
            assert!(finding.summary.contains(says), "{}: {}", rule.id, finding.summary);
        }
        let command = only(&T4, &scene).command;
        assert_eq!(command.as_deref(), Some("sed -i.bak '/tcp_tw_recycle *=/d' /etc/sysctl.conf"));
    }

    /// The test uses stored input, because the kernel in the test is older than all kernels that
    /// the project tests.
    #[test]
    fn answers_differ_on_an_old_kernel() {
        let scene = Scene::default().file(NOTE).kernel("3.10.0");
        let scene = scene
            .with("net.ipv4.tcp_tw_recycle", "1")
            .with("net.ipv4.tcp_tw_reuse", "1")
            .without("net.ipv4.tcp_tw_reuse_delay");
        assert_eq!(levels(&T4, &scene), [Level::Warn]);
        assert!(only(&A2, &scene).advice.ends_with("The default of this kernel is 0."));
    }

    #[test]
    fn rules_are_ok_without_lines() {
        for rule in [&T4, &A1, &A2, &A3, &A4, &A5, &A6, &A7] {
            assert_eq!(levels(rule, &Scene::default()), [Level::Ok], "{}", rule.id);
        }
    }

    #[test]
    fn each_value_gets_its_own_answer() {
        for (rule, line, level) in [
            (&A1, "net.ipv4.tcp_syncookies = 0", Level::Warn),
            (&A1, "net.ipv4.tcp_syncookies = 2", Level::Warn),
            (&A1, "net.ipv4.tcp_syncookies = yes", Level::Info),
            (&A2, "net.ipv4.tcp_tw_reuse = 2", Level::Info),
            (&A2, "net.ipv4.tcp_tw_reuse = yes", Level::Info),
            (&A4, "net.ipv4.tcp_max_tw_buckets = 262143", Level::Info),
            (&A4, "net.ipv4.tcp_max_tw_buckets = 262144", Level::Ok),
            (&A4, "net.ipv4.tcp_max_tw_buckets = many", Level::Info),
            (&A5, "net.ipv4.tcp_max_syn_backlog = 65536", Level::Info),
            (&A6, "net.ipv4.tcp_fack = 1", Level::Info),
            (&A6, "net.ipv4.tcp_fack", Level::Unknown),
            (&A7, "net.ipv4.tcp_timestamps = 0", Level::Info),
            (&A7, "net.ipv4.tcp_timestamps = 1", Level::Ok),
        ] {
            assert_eq!(levels(rule, &Scene::default().file(line)), [level], "{line}");
        }
        let no_cookies = Scene::default()
            .with("net.ipv4.tcp_syncookies", "0")
            .file("net.ipv4.tcp_max_syn_backlog = 65536");
        assert_eq!(levels(&A5, &no_cookies), [Level::Ok]);
        let child = Scene::default()
            .with("net.ipv4.tcp_ehash_entries", "-524288")
            .file("net.ipv4.tcp_max_tw_buckets = 5000");
        assert_eq!(only(&A4, &child).numbers["own_limit"], 262_144);
    }

    #[test]
    fn the_effective_line_is_checked_and_compared_with_the_value_in_force() {
        let scene = Scene::default().file("net.ipv4.tcp_tw_reuse = 0\nnet.ipv4.tcp_tw_reuse = 1\n");
        let finding = only(&A2, &scene);
        assert!(
            finding.summary.starts_with(
                "/etc/sysctl.conf:2: tcp_tw_reuse = 1 (value in force: 2): on 6.18.0 connect()"
            ),
            "{}",
            finding.summary
        );
        assert_eq!(finding.numbers["lines_overridden"], 1);
    }

    #[test]
    fn every_rule_works_without_facts() {
        for finding in crate::doctor::diagnose(&nothing(), &Thresholds::default()) {
            let may_be_ok = finding.id.starts_with('A') && !finding.summary.is_empty();
            assert!(finding.level == Level::Unknown || may_be_ok, "{finding:?}");
            assert!(finding.level == Level::Ok || !finding.advice.is_empty(), "{finding:?}");
        }
    }
}

//! T3, T5, T6 and T7 check the settings that let connect() reuse ports in TIME_WAIT, and the
//! setting tcp_tw_recycle.

use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
    rules::{Finding, Level, Rule, ok},
};

pub(in crate::doctor::rules) const T3: Rule = Rule {
    id: "T3",
    family: "time_wait",
    title: "value of tcp_tw_recycle",
    means: "tcp_tw_recycle is on. The kernel drops connections from clients behind one NAT address \
            at random, because it compares the timestamps of different clients.",
    knows: "The sysctl tcp_tw_recycle exists, which is possible only before 4.12, and its value is \
            not 0.",
    thresholds: &[],
    reference: "commit 4396e46187ca (\"tcp: remove tcp_tw_recycle\", 4.12); net/ipv4/tcp_ipv4.c \
                before that commit: tcp_v4_conn_request",
    help: "Turn tcp_tw_recycle off. For outgoing connections tcp_tw_reuse has the intended \
           effect.",
    check: t3,
};

pub(in crate::doctor::rules) const T5: Rule = Rule {
    id: "T5",
    family: "time_wait",
    title: "effect of tcp_tw_reuse",
    means: "connect() may reuse the port of a socket in TIME_WAIT if the old connection had \
            timestamps. With tcp_tw_reuse=0 connect() never reuses a port. With tcp_tw_reuse=1 \
            connect() reuses ports to any destination. With tcp_tw_reuse=2, the default since \
            4.19, connect() reuses ports only over loopback. tcp_tw_reuse does not affect incoming \
            connections. tcp_tw_reuse does not apply to sockets in FIN_WAIT2.",
    knows: "The rule reads tcp_tw_reuse and tcp_tw_reuse_delay.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; commit 79e9fed46038 (2: loopback only, 4.19)",
    help: "Leave tcp_tw_reuse at 2. If P1 or P2 reports connections to other hosts, tcp_tw_reuse=1 \
           is safe if both ends use timestamps.",
    check: t5,
};

pub(in crate::doctor::rules) const T6: Rule = Rule {
    id: "T6",
    family: "time_wait",
    title: "tcp_tw_reuse without timestamps",
    means: "connect() reuses a port only if the old connection had timestamps, because timestamps \
            distinguish late segments from new segments. Without timestamps tcp_tw_reuse has no \
            effect.",
    knows: "tcp_tw_reuse is not 0 while tcp_timestamps is 0.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique (tw_ts_recent_stamp)",
    help: "Turn timestamps on, which is the default.",
    check: t6,
};

pub(in crate::doctor::rules) const T7: Rule = Rule {
    id: "T7",
    family: "time_wait",
    title: "value of tcp_tw_reuse_delay",
    means: "tcp_tw_reuse_delay is how long a socket must be in TIME_WAIT before connect() may \
            reuse its port. The delay must not be shorter than one tick of the peer's timestamp \
            clock. If the delay is shorter, the protection against late segments (PAWS) does not \
            work for the new connection.",
    knows: "The rule reads tcp_tw_reuse_delay, which exists since 6.14. Before 6.14 the delay was \
            always one second. The default of tcp_tw_reuse_delay is one second too.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; commit ca6a6f93867a (6.14); \
                Documentation/networking/ip-sysctl.rst: tcp_tw_reuse_delay",
    help: "Leave tcp_tw_reuse_delay at 1000 ms unless you know the timestamp clocks of the peers. \
           tcp_tw_reuse_delay does not shorten TIME_WAIT.",
    check: t7,
};

fn t3(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let value: Option<u64> = facts.sysctls.find("net.ipv4.tcp_tw_recycle")?;
    let finding = match value {
        None => ok(format!("kernel {} has no tcp_tw_recycle", facts.kernel.release)),
        Some(0) => ok("tcp_tw_recycle is off"),
        Some(_) => Finding::new(
            Level::Crit,
            "tcp_tw_recycle is on: the kernel drops clients behind one NAT address at random",
        )
        .advice("Turn tcp_tw_recycle off. For outgoing connections tcp_tw_reuse is safe.")
        .command("sysctl -w net.ipv4.tcp_tw_recycle=0".to_owned()),
    };
    Ok(vec![finding.number("tcp_tw_recycle", value).source("/proc/sys/net/ipv4/tcp_tw_recycle")])
}

/// Returns the effect that this value of tcp_tw_reuse has, and the delay before this kernel reuses
/// a port.
pub(in crate::doctor::rules) fn reuse(facts: &Facts, value: u64) -> Known<String> {
    let delay: u64 = facts.sysctls.find("net.ipv4.tcp_tw_reuse_delay")?.unwrap_or(1000);
    let what = match value {
        0 => return Ok("connect() never reuses a port in TIME_WAIT".into()),
        1 => "connect() reuses ports in TIME_WAIT to any destination",
        2 => "connect() reuses ports in TIME_WAIT over loopback only",
        _ => return Ok("the kernel knows only 0, 1 and 2".into()),
    };
    Ok(format!("{what}, after {delay} ms and if the old connection had timestamps"))
}

/// Returns whether this kernel supports the value 2 of tcp_tw_reuse. In each kernel that supports
/// the value 2, the default is 2.
pub(in crate::doctor::rules) fn has_loopback_reuse(facts: &Facts, value: Option<u64>) -> bool {
    // A vendor's kernel older than 4.19 may support the value 2.
    value == Some(2) || facts.kernel.is_at_least((4, 19))
}

fn t5(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let value: u64 = facts.sysctls.get("net.ipv4.tcp_tw_reuse")?;
    let what = reuse(facts, value)?;
    let default = if has_loopback_reuse(facts, Some(value)) { 2 } else { 0 };
    let finding = if value == default {
        ok(format!("tcp_tw_reuse is {value}, the default: {what}"))
    } else {
        Finding::new(
            Level::Info,
            format!("tcp_tw_reuse is {value}: {what}; it does not affect incoming connections"),
        )
        .advice(format!("The default of this kernel is {default}."))
    };
    Ok(vec![finding.number("tcp_tw_reuse", value).source("/proc/sys/net/ipv4/tcp_tw_reuse")])
}

fn t6(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let reuse: u64 = facts.sysctls.get("net.ipv4.tcp_tw_reuse")?;
    let timestamps: u64 = facts.sysctls.get("net.ipv4.tcp_timestamps")?;
    let finding = match (reuse, timestamps) {
        (0, _) | (_, 1..) => ok("tcp_tw_reuse is off, or timestamps are on"),
        (reuse, 0) => {
            let level = if reuse == 1 { Level::Warn } else { Level::Info };
            Finding::new(
                level,
                format!("tcp_tw_reuse is {reuse} but has no effect, because tcp_timestamps is 0"),
            )
            .advice("Turn timestamps on, which is the default.")
            .command("sysctl -w net.ipv4.tcp_timestamps=1".to_owned())
        }
    };
    Ok(vec![
        finding
            .number("tcp_tw_reuse", reuse)
            .number("tcp_timestamps", timestamps)
            .source("/proc/sys/net/ipv4/tcp_tw_reuse, tcp_timestamps"),
    ])
}

fn t7(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let delay: Option<u64> = facts.sysctls.find("net.ipv4.tcp_tw_reuse_delay")?;
    let finding = match delay {
        None => {
            ok("connect() may reuse a port in TIME_WAIT after 1 s; this kernel has no setting for \
                the delay")
        }
        Some(1000) => ok("connect() may reuse a port in TIME_WAIT after 1 s, the default"),
        Some(delay) => Finding::new(
            Level::Info,
            format!("connect() may reuse a port in TIME_WAIT after {delay} ms instead of 1000 ms"),
        )
        .advice(if delay < 1000 {
            "The delay must not be shorter than one tick of the peer's timestamp clock."
        } else {
            "P1 and P2 count a port as in use until the delay is over."
        })
        .command("sysctl -w net.ipv4.tcp_tw_reuse_delay=1000".to_owned()),
    };
    Ok(vec![
        finding.number("tcp_tw_reuse_delay", delay).source("/proc/sys/net/ipv4/tcp_tw_reuse_delay"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels, only};

    /// The test uses stored input, because no tested kernel has tcp_tw_recycle.
    #[test]
    fn t3_is_critical_if_the_setting_exists_and_is_on() {
        let key = "net.ipv4.tcp_tw_recycle";
        assert_eq!(levels(&T3, &Scene::default()), [Level::Ok]);
        assert_eq!(levels(&T3, &Scene::default().with(key, "0")), [Level::Ok]);
        assert_eq!(levels(&T3, &Scene::default().with(key, "1")), [Level::Crit]);
    }

    #[test]
    fn t5_states_the_effect_of_each_value_on_each_kernel() {
        let key = "net.ipv4.tcp_tw_reuse";
        for (kernel, value, level, says) in [
            ("6.18.0", "2", Level::Ok, "over loopback only"),
            ("6.18.0", "1", Level::Info, "to any destination"),
            ("6.18.0", "0", Level::Info, "never reuses"),
            ("4.14.0", "0", Level::Ok, "never reuses"),
            ("4.14.0", "1", Level::Info, "to any destination"),
            ("6.18.0", "7", Level::Info, "the kernel knows only 0, 1 and 2"),
        ] {
            let finding = only(&T5, &Scene::default().with(key, value).kernel(kernel));
            assert_eq!(finding.level, level, "{kernel} {value}");
            assert!(finding.summary.contains(says), "{kernel} {value}: {}", finding.summary);
        }
        let delayed = Scene::default().with("net.ipv4.tcp_tw_reuse_delay", "50");
        assert!(only(&T5, &delayed).summary.contains("after 50 ms"));
    }

    #[test]
    fn t6_reports_reuse_without_timestamps() {
        for (reuse, timestamps, level) in [
            ("1", "1", Level::Ok),
            ("1", "2", Level::Ok),
            ("1", "0", Level::Warn),
            ("2", "0", Level::Info),
            ("0", "0", Level::Ok),
        ] {
            let scene = Scene::default()
                .with("net.ipv4.tcp_tw_reuse", reuse)
                .with("net.ipv4.tcp_timestamps", timestamps);
            assert_eq!(levels(&T6, &scene), [level], "{reuse} {timestamps}");
        }
    }

    #[test]
    fn t7_reports_a_delay_other_than_the_default() {
        let key = "net.ipv4.tcp_tw_reuse_delay";
        assert_eq!(levels(&T7, &Scene::default().without(key)), [Level::Ok]);
        for (delay, level) in [("1000", Level::Ok), ("999", Level::Info), ("60000", Level::Info)] {
            assert_eq!(levels(&T7, &Scene::default().with(key, delay)), [level], "{delay}");
        }
    }
}

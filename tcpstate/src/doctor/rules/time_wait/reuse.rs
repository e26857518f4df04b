//! T3, T5, T6 and T7: what connect() may do with ports in TIME_WAIT, and the setting that broke servers.

use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
    rules::{Finding, Level, Rule, ok},
};

pub(in crate::doctor::rules) const T3: Rule = Rule {
    id: "T3",
    family: "time_wait",
    title: "tcp_tw_recycle in force",
    means: "Connections from clients behind one NAT address are dropped at random, because their timestamps do not belong together.",
    knows: "The sysctl exists, which it does before 4.12 only, and is not 0.",
    thresholds: &[],
    reference: "commit 4396e46187ca (\"tcp: remove tcp_tw_recycle\", 4.12); net/ipv4/tcp_ipv4.c before it: tcp_v4_conn_request",
    help: "Turn it off. For outgoing connections tcp_tw_reuse does what it was meant for.",
    check: t3,
};

pub(in crate::doctor::rules) const T5: Rule = Rule {
    id: "T5",
    family: "time_wait",
    title: "what tcp_tw_reuse does here",
    means: "connect() may take the port of a socket in TIME_WAIT, if its connection had timestamps: 0 never, 1 to anywhere, 2 (the default since 4.19) only where one address is a loopback address. It never helps connections that come in, and never one in FIN_WAIT2.",
    knows: "The value of the sysctl, and whether timestamps are on.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; commit 79e9fed46038 (2: loopback only, 4.19)",
    help: "Leave it at 2. Where P1 or P2 speak up for connections to other machines, 1 is safe with timestamps at both ends.",
    check: t5,
};

pub(in crate::doctor::rules) const T6: Rule = Rule {
    id: "T6",
    family: "time_wait",
    title: "tcp_tw_reuse without timestamps",
    means: "Reuse needs the timestamps of the old connection to tell late segments from new ones; without them tcp_tw_reuse has no effect.",
    knows: "tcp_tw_reuse is not 0 while tcp_timestamps is 0.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique (tw_ts_recent_stamp)",
    help: "Turn timestamps on, which is the default.",
    check: t6,
};

pub(in crate::doctor::rules) const T7: Rule = Rule {
    id: "T7",
    family: "time_wait",
    title: "how long before reuse",
    means: "A socket in TIME_WAIT has to be so old before connect() may take its port. The peer's timestamps must have moved on by then, or it refuses the new connection.",
    knows: "tcp_tw_reuse_delay, which kernels have since 6.14; before, and by default, it is one second.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; commit ca6a6f93867a (6.14); Documentation/networking/ip-sysctl.rst: tcp_tw_reuse_delay",
    help: "Leave it at 1000 ms unless you know the peers' clocks. It does not shorten TIME_WAIT.",
    check: t7,
};

fn t3(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let value: Option<u64> = facts.sysctls.find("net.ipv4.tcp_tw_recycle")?;
    let finding = match value {
        None => ok(format!("kernel {} has no tcp_tw_recycle", facts.kernel.release)),
        Some(0) => ok("tcp_tw_recycle is off"),
        Some(_) => Finding::new(
            Level::Crit,
            "tcp_tw_recycle is on: clients behind one NAT address are dropped at random",
        )
        .advice("turn it off; tcp_tw_reuse is for outgoing connections, and safe")
        .command("sysctl -w net.ipv4.tcp_tw_recycle=0".to_owned()),
    };
    Ok(vec![finding.number("tcp_tw_recycle", value).source("/proc/sys/net/ipv4/tcp_tw_recycle")])
}

/// What the values of tcp_tw_reuse mean, with the delay, on a kernel that has this one.
pub(in crate::doctor::rules) fn reuse(facts: &Facts, value: u64) -> Known<String> {
    let delay: u64 = facts.sysctls.find("net.ipv4.tcp_tw_reuse_delay")?.unwrap_or(1000);
    let what = match value {
        0 => return Ok("connect() never takes a port in TIME_WAIT".into()),
        1 => "connect() takes ports in TIME_WAIT, to any destination",
        2 => "connect() takes ports in TIME_WAIT, between loopback addresses only",
        _ => "the kernel knows 0, 1 and 2",
    };
    Ok(format!("{what}, once they are {delay} ms old and if the connection had timestamps"))
}

/// Whether this kernel knows a tcp_tw_reuse of 2, which is its default then.
pub(in crate::doctor::rules) fn has_loopback_reuse(facts: &Facts, value: Option<u64>) -> bool {
    // A vendor may have it earlier.
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
            format!("tcp_tw_reuse is {value}: {what}; connections that come in are never helped"),
        )
        .advice(format!("the default here is {default}"))
    };
    Ok(vec![finding.number("tcp_tw_reuse", value).source("/proc/sys/net/ipv4/tcp_tw_reuse")])
}

fn t6(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let reuse: u64 = facts.sysctls.get("net.ipv4.tcp_tw_reuse")?;
    let timestamps: u64 = facts.sysctls.get("net.ipv4.tcp_timestamps")?;
    let finding = match (reuse, timestamps) {
        (0, _) | (_, 1..) => ok("tcp_tw_reuse has the timestamps that it needs, or is off"),
        (reuse, 0) => {
            let level = if reuse == 1 { Level::Warn } else { Level::Info };
            Finding::new(
                level,
                format!("tcp_tw_reuse is {reuse}, but has no effect: tcp_timestamps is 0"),
            )
            .advice("turn timestamps on, as they are by default")
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
        None => ok("this kernel lets connect() use a port in TIME_WAIT again after 1 s, always"),
        Some(1000) => ok("connect() may use a port in TIME_WAIT again after 1 s, the default"),
        Some(delay) => Finding::new(
            Level::Info,
            format!("connect() may use a port in TIME_WAIT again after {delay} ms, not after the usual 1000 ms"),
        )
        .advice(if delay < 1000 {
            "a peer whose timestamps have not moved on by then refuses the connection"
        } else {
            "P1 and P2 count ports as taken for so long"
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

    /// A fixture: no kernel that has it runs here.
    #[test]
    fn t3_is_critical_where_it_exists_and_is_on() {
        let key = "net.ipv4.tcp_tw_recycle";
        assert_eq!(levels(&T3, &Scene::default()), [Level::Ok]);
        assert_eq!(levels(&T3, &Scene::default().with(key, "0")), [Level::Ok]);
        assert_eq!(levels(&T3, &Scene::default().with(key, "1")), [Level::Crit]);
    }

    #[test]
    fn t5_says_what_each_value_does_on_which_kernel() {
        let key = "net.ipv4.tcp_tw_reuse";
        for (kernel, value, level, says) in [
            ("6.18.0", "2", Level::Ok, "between loopback addresses only"),
            ("6.18.0", "1", Level::Info, "to any destination"),
            ("6.18.0", "0", Level::Info, "never takes"),
            ("4.14.0", "0", Level::Ok, "never takes"),
            ("4.14.0", "1", Level::Info, "to any destination"),
            ("6.18.0", "7", Level::Info, "the kernel knows 0, 1 and 2"),
        ] {
            let finding = only(&T5, &Scene::default().with(key, value).kernel(kernel));
            assert_eq!(finding.level, level, "{kernel} {value}");
            assert!(finding.summary.contains(says), "{kernel} {value}: {}", finding.summary);
        }
        let delayed = Scene::default().with("net.ipv4.tcp_tw_reuse_delay", "50");
        assert!(only(&T5, &delayed).summary.contains("once they are 50 ms old"));
    }

    #[test]
    fn t6_is_about_reuse_that_can_not_be() {
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
    fn t7_is_about_a_delay_that_is_not_the_usual_one() {
        let key = "net.ipv4.tcp_tw_reuse_delay";
        assert_eq!(levels(&T7, &Scene::default().without(key)), [Level::Ok]);
        for (delay, level) in [("1000", Level::Ok), ("999", Level::Info), ("60000", Level::Info)] {
            assert_eq!(levels(&T7, &Scene::default().with(key, delay)), [level], "{delay}");
        }
    }
}

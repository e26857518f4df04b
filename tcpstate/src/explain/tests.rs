//! Tests that every state, transition and rule has a text, and that a state is found by each of its
//! names.

use std::collections::BTreeSet;

use tcpstate_common::{
    State::{
        self, BoundInactive, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck,
        Listen, NewSynRecv, SynRecv, SynSent, TimeWait,
    },
    transitions::TRANSITIONS,
};

use super::*;

/// All places in Linux 6.12 where the kernel sets the state of a TCP socket (`tcp_set_state`,
/// `inet_sk_state_store`, `inet_sk_set_state`). An entry has the place, the states that the socket
/// may have before the change, and the new state.
const CALL_SITES: [(&str, &[State], State); 19] = [
    ("inet_csk_listen_start: before get_port", &[Close], Listen),
    ("inet_csk_listen_start: get_port or hash failed", &[Listen], Close),
    ("inet_csk_clone_lock: the copy of a listener", &[Listen, Close], SynRecv),
    ("inet_ehash_nolisten: the addresses are taken", &[SynRecv], Close),
    ("tcp_v4_connect, tcp_v6_connect: the start", &[Close], SynSent),
    ("tcp_v4_connect, tcp_v6_connect, tcp_sendmsg_fastopen: failure", &[SynSent], Close),
    ("tcp_finish_connect", &[SynSent], Established),
    ("tcp_rcv_synsent_state_process: crossed SYNs", &[SynSent], SynRecv),
    ("tcp_rcv_state_process: ACK of the handshake", &[SynRecv], Established),
    ("tcp_rcv_state_process: ACK of the FIN", &[FinWait1], FinWait2),
    ("tcp_fin", &[SynRecv, Established], CloseWait),
    ("tcp_fin: simultaneous close", &[FinWait1], Closing),
    ("tcp_close_state: new_state, with a FIN", &[Established, SynRecv], FinWait1),
    ("tcp_close_state: new_state, with a FIN", &[CloseWait], LastAck),
    ("tcp_close_state: new_state, without", &[FinWait1], FinWait1),
    ("tcp_close_state: new_state, without", &[FinWait2], FinWait2),
    ("tcp_close_state: new_state, without", &[Closing], Closing),
    ("tcp_close_state: new_state, without", &[LastAck], LastAck),
    (
        "tcp_done (also after tcp_abort has closed a listener), tcp_disconnect, __tcp_close",
        &[
            Listen,
            SynSent,
            SynRecv,
            Established,
            FinWait1,
            FinWait2,
            CloseWait,
            Closing,
            LastAck,
            Close,
        ],
        Close,
    ),
];

fn pairs(seen: Seen) -> BTreeSet<(State, State)> {
    transitions().filter(|text| text.seen() == seen).map(|text| (text.from, text.to)).collect()
}

#[test]
fn every_transition_of_the_list_has_one_text_in_its_order() {
    let explained: Vec<_> = transitions().map(|text| (text.from, text.to)).collect();
    assert_eq!(explained, TRANSITIONS.map(|pair| (pair.from, pair.to)));
}

#[test]
fn every_state_has_one_text() {
    assert_eq!(states().map(|text| text.state).collect::<BTreeSet<_>>(), State::ALL.into());
    assert_eq!(states().count(), State::ALL.len());
}

#[test]
fn texts_cover_exactly_the_transitions_that_the_kernel_makes() {
    let made = CALL_SITES.iter().flat_map(|(_, from, to)| from.iter().map(|&from| (from, *to)));
    assert_eq!(pairs(Seen::Reported), made.collect());
    assert_eq!(
        pairs(Seen::Unreported),
        [(FinWait2, TimeWait), (Closing, TimeWait), (TimeWait, Close)].into()
    );
    assert_eq!(transitions().count(), pairs(Seen::Reported).len() + pairs(Seen::Unreported).len());
}

#[test]
fn every_text_is_complete() {
    for text in states() {
        let sentences = [text.meaning, text.moved_on_by, text.lasts, text.many, text.what_to_do];
        for sentence in sentences {
            assert!(sentence.len() > 10 && sentence.ends_with('.'), "{}: {sentence:?}", text.state);
        }
        assert!(!text.governed_by.is_empty(), "{}", text.state);
        for setting in text.governed_by {
            assert!(
                [setting.name, setting.default, setting.does].iter().all(|text| !text.is_empty()),
                "{setting:?}"
            );
        }
        assert_sources(text.kernel, text.rfc);
    }
    for text in transitions() {
        for sentence in [text.meaning, text.caused_by] {
            assert!(sentence.len() > 10 && sentence.ends_with('.'), "{text:?}");
        }
        assert_sources(text.kernel, text.rfc);
    }
    for from in State::ALL {
        for to in State::ALL {
            assert!(transitions::why_never(from, to).ends_with('.'), "{from} -> {to}");
        }
    }
}

/// Checks that `kernel` contains names of files and functions, and that `rfc` starts with a section
/// number or with `none: `.
fn assert_sources(kernel: &[&str], rfc: &str) {
    assert!(!kernel.is_empty());
    for place in kernel {
        let (file, name) = place.split_once(": ").unwrap_or_else(|| panic!("{place}"));
        assert!(file.starts_with("net/") || file.starts_with("include/net/"), "{place}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{place}");
    }
    assert!(rfc.starts_with("3.") || rfc.starts_with("none: "), "{rfc}");
}

#[test]
fn every_rule_is_found_by_its_id_in_either_case() {
    for rule in &RULES {
        for id in [rule.id.to_owned(), rule.id.to_lowercase()] {
            let answer = answer(&[id.as_str()]);
            assert!(matches!(answer, Ok(Answer::Rule(found)) if found.id == rule.id), "{id}");
        }
        for text in [rule.title, rule.means, rule.knows, rule.help, rule.reference] {
            assert!(!text.is_empty(), "{}", rule.id);
        }
        assert!(thresholds(rule).iter().all(|(_, value)| value.is_number()), "{}", rule.id);
        assert!(rule.id.parse::<State>().is_err() && by_number(rule.id).is_none());
    }
    assert_eq!(answer(&["P9"]).expect_err("none").help(), "did you mean P1 or P2 or P3?");
}

fn state_of(word: &str) -> State {
    match answer(&[word]) {
        Ok(Answer::State(text)) => text.state,
        other => panic!("{word}: {other:?}"),
    }
}

#[test]
fn every_spelling_finds_its_state() {
    for text in states() {
        // Other tools show the two internal states of the kernel under another name or not at all.
        let shown_as = match text.state {
            NewSynRecv => SynRecv,
            BoundInactive => Close,
            state => state,
        };
        let Names { ss, netstat, proc, rfc, node_exporter } = text.names;
        for spelling in [ss, netstat, proc, rfc, node_exporter].into_iter().flatten() {
            assert_eq!(state_of(spelling), shown_as, "{spelling}");
            assert_eq!(state_of(&spelling.to_lowercase()), shown_as, "{spelling}");
        }
        for spelling in [text.state.name(), text.state.label()] {
            assert_eq!(state_of(spelling), text.state);
        }
        if text.state.number() < NewSynRecv.number() {
            let number = format!("{:02X}", text.state.number());
            assert_eq!(proc, Some(number.as_str()), "{}", text.state);
        }
    }
    for (word, state) in [
        ("6", TimeWait),
        ("0x0a", Listen),
        ("0b", Closing),
        ("10", Listen),
        ("11", Closing),
        ("TCP_CLOSE_WAIT", CloseWait),
    ] {
        assert_eq!(state_of(word), state, "{word}");
    }
}

#[test]
fn a_typing_error_gets_the_nearest_name_and_nonsense_the_list() {
    for (word, help) in [
        ("TIME_WIAT", "did you mean TIME_WAIT?"),
        ("timewait2", "did you mean TIME_WAIT?"),
        ("estblished", "did you mean ESTABLISHED?"),
        ("syn-rcvd", "did you mean SYN_RECV?"),
        ("FIN_WAIT", "did you mean FIN_WAIT1 or FIN_WAIT2?"),
        ("LISTNE", "did you mean LISTEN?"),
        ("12345", "run tcpstate explain without arguments for a list of all names"),
        ("0F", "run tcpstate explain without arguments for a list of all names"),
        ("0x10", "run tcpstate explain without arguments for a list of all names"),
        ("é", "run tcpstate explain without arguments for a list of all names"),
    ] {
        let error = answer(&[word]).expect_err(word);
        assert_eq!(error.help(), help, "{word}");
        assert_eq!(
            error.to_string(),
            format!("cannot explain \"{word}\": no state, rule or sysctl has this name")
        );
    }
    let error = answer(&["TIME\x1b[31m"]).expect_err("it is not a name");
    assert_eq!(
        error.to_string(),
        r#"cannot explain "TIME\u{1b}[31m": no state, rule or sysctl has this name"#
    );
}

#[test]
fn two_states_are_a_transition_with_or_without_an_arrow() {
    for words in [&["LISTEN", "syn-recv"][..], &["LISTEN->SYN_RECV"], &["LISTEN", "->", "0x03"]] {
        let answer = answer(words);
        assert!(
            matches!(answer, Ok(Answer::Transition(text)) if (text.from, text.to) == (Listen, SynRecv)),
            "{words:?}: {answer:?}"
        );
    }
    let never = answer(&["CLOSE_WAIT", "TIME_WAIT"]);
    assert!(matches!(never, Ok(Answer::Never { .. })), "{never:?}");
    assert_eq!(answer(&["LISTEN -> CLOSE -> CLOSE"]).err(), Some(Error::TooMany("CLOSE".into())));
    assert!(answer(&["LISTEN", "SYN_RCEV"]).is_err());
}

#[test]
fn gauges_change_as_the_transition_says() {
    for (from, to, gauges) in [
        (Listen, SynRecv, "SYN_RECV + 1; LISTEN does not change"),
        (Close, SynRecv, "SYN_RECV + 1"),
        (Listen, Close, "LISTEN - 1"),
        (SynSent, SynRecv, "SYN_SENT - 1, SYN_RECV + 1"),
        (FinWait2, FinWait2, "none"),
        (TimeWait, Close, "TIME_WAIT - 1"),
    ] {
        let text = transition(from, to).expect("it is made");
        assert_eq!(text.gauges(), gauges);
    }
}

#[test]
fn the_diagram_shows_every_counted_state() {
    let (diagram, legend) = diagram();
    for state in State::GAUGES {
        assert!(diagram.contains(state.name()), "{state}");
    }
    for mini in ["[SYN_RECV]", "[FIN_WAIT2]", "[TIME_WAIT]"] {
        assert!(diagram.contains(mini), "{mini}");
    }
    assert!(diagram.lines().all(|line| line.len() <= 80 && line.is_ascii()));
    assert!(legend.is_ascii());
}

/// Names of kernel functions in the texts that look like names of sysctls.
const FUNCTIONS: [&str; 1] = ["tcp_keepalive_timer"];

/// Returns all words of the text that are names of sysctls.
fn named_sysctls(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
    let words = text.split(|letter| !is_part(letter)).map(|word| word.trim_matches('.'));
    let starts = ["net.ipv4.", "net.core.", "net.netfilter.", "tcp_", "nf_conntrack_", "ip_local_"];
    let is_name = |word: &&str| {
        starts.iter().any(|start| word.starts_with(start) && word.len() > start.len())
            || *word == "somaxconn"
    };
    let names = words.filter(is_name).filter(|word| !FUNCTIONS.contains(word));
    names.filter(|word| !word.ends_with(['_', '.'])).map(str::to_owned).collect()
}

#[test]
fn every_sysctl_that_a_text_names_is_explained() {
    let mut named = BTreeSet::new();
    for text in states() {
        let prose = [text.meaning, text.moved_on_by, text.lasts, text.many, text.what_to_do];
        let settings = text.governed_by.iter().flat_map(|set| [set.name, set.does]);
        named.extend(prose.into_iter().chain(settings).flat_map(named_sysctls));
    }
    for text in transitions() {
        named.extend([text.meaning, text.caused_by].into_iter().flat_map(named_sysctls));
    }
    for rule in &RULES {
        named.extend(
            [rule.title, rule.means, rule.knows, rule.help].into_iter().flat_map(named_sysctls),
        );
    }
    assert!(named.len() >= 30, "{named:?}");
    let missing: Vec<&String> = named.iter().filter(|name| sysctl(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn sysctls_are_in_order_and_complete() {
    let names: Vec<&str> = sysctls().map(|text| text.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for text in sysctls() {
        for sentence in [text.does, text.change] {
            assert!(sentence.len() > 10 && sentence.ends_with('.'), "{}: {sentence}", text.name);
        }
        for part in [text.default, text.unit, text.kernels] {
            assert!(!part.is_empty() && !part.ends_with('.'), "{}: {part}", text.name);
        }
        assert_sources(text.kernel, "3.1");
    }
    for word in ["tcp_tw_reuse", "net.ipv4.tcp_tw_reuse", "/proc/sys/net/ipv4/tcp_tw_reuse"] {
        assert!(matches!(answer(&[word]), Ok(Answer::Sysctl(_))), "{word}");
    }
    let error = answer(&["tcp_tw_resue"]).expect_err("it is mistyped");
    assert_eq!(error.help(), "did you mean tcp_tw_reuse?");
}

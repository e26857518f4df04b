//! Tests of the text pages. Some pages are compared with snapshots, and all pages are written for
//! several terminal widths.

use serde_json::Value;
use tcpstate_common::State;

use super::{Json, Text};
use crate::{
    doctor::RULES,
    explain::{Answer, answer, states, sysctls, transitions},
};

fn shown(text: Text, answer: &Answer) -> String {
    let mut out = Vec::new();
    text.show(answer, &mut out).expect("writing to memory succeeds");
    String::from_utf8(out).expect("the output is UTF-8")
}

fn page(words: &[&str]) -> String {
    shown(Text::new(80, false), &answer(words).expect("it has a text"))
}

/// Returns all answers: the diagram, the states, each pair of states and the rules.
fn answers() -> Vec<Answer> {
    let pairs = State::ALL.iter().flat_map(|&from| State::ALL.map(|to| [from.name(), to.name()]));
    let mut answers = vec![Answer::Overview];
    answers.extend(states().map(Answer::State));
    answers.extend(RULES.iter().map(Answer::Rule));
    answers.extend(sysctls().map(Answer::Sysctl));
    answers.extend(pairs.map(|pair| answer(&pair).expect("both are states")));
    answers
}

#[test]
fn the_overview_is_complete() {
    let page = page(&[]);
    let (states, rules) = page.split_once("Rules of tcpstate doctor").expect("rules come last");
    insta::assert_snapshot!("overview", states);
    for rule in &RULES {
        assert!(rules.contains(&format!("\n  {:<3}  {}\n", rule.id, rule.title)), "{}", rule.id);
    }
}

#[test]
fn pages_of_states_are_complete() {
    insta::assert_snapshot!("time_wait", page(&["TIME_WAIT"]));
    insta::assert_snapshot!("close_wait", page(&["CLOSE_WAIT"]));
    insta::assert_snapshot!("fin_wait2", page(&["FIN_WAIT2"]));
}

#[test]
fn sysctls_look_like_this() {
    insta::assert_snapshot!("tcp_tw_reuse", page(&["tcp_tw_reuse"]));
    assert_eq!(page(&["net/ipv4/tcp_tw_reuse"]), page(&["net.ipv4.tcp_tw_reuse"]));
}

#[test]
fn pages_of_transitions_are_complete() {
    insta::assert_snapshot!("birth", page(&["LISTEN", "SYN_RECV"]));
    insta::assert_snapshot!("never", page(&["FIN_WAIT1", "TIME_WAIT"]));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [60, 72, 80, 100, 250] {
        for answer in answers() {
            let text = shown(Text::new(width, false), &answer);
            let widest = text.lines().map(str::len).max().expect("it has lines");
            assert!(widest <= width.min(100), "{answer:?} at {width}:\n{text}");
            assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
        }
    }
}

#[test]
fn only_headings_are_bold_and_only_on_request() {
    for answer in answers() {
        let bold = shown(Text::new(80, true), &answer);
        let plain = shown(Text::new(80, false), &answer);
        assert!(!plain.contains('\x1b'));
        let headings = |text: &str| text.lines().filter(|line| line.starts_with("\x1b[1m")).count();
        assert!(headings(&bold) >= 2);
        assert_eq!(bold.replace("\x1b[1m", "").replace("\x1b[0m", ""), plain);
    }
}

#[test]
fn json_is_one_object_with_the_keys_of_the_texts() {
    let object = |answer: &Answer| -> Value {
        let mut out = Vec::new();
        Json.show(answer, &mut out).expect("writing to memory succeeds");
        let text = String::from_utf8(out).expect("the output is UTF-8");
        assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true));
        serde_json::from_str(&text).expect("it is JSON")
    };
    for answer in answers() {
        let line = object(&answer);
        assert_eq!((&line["type"], &line["version"]), (&"explain".into(), &1.into()));
    }
    let of = |words: &[&str]| object(&answer(words).expect("it has a text"));
    let state = of(&["0A"]);
    assert_eq!(state["state"], "listen");
    for key in ["meaning", "moved_on_by", "lasts", "many", "what_to_do", "rfc9293"] {
        assert!(state[key].is_string(), "{key}: {state}");
    }
    for key in ["governed_by", "kernel", "entered_by", "goes_on_by"] {
        assert!(state[key].is_array(), "{key}: {state}");
    }
    assert_eq!(state["names"]["metric"], r#"tcpstate_connections{state="listen"}"#);
    assert_eq!(of(&["CLOSE"])["names"]["metric"], Value::Null);
    let birth = of(&["LISTEN", "SYN_RECV"]);
    assert_eq!((&birth["occurs"], &birth["hook"]), (&true.into(), &"transitions".into()));
    assert_eq!(of(&["LISTEN", "SYN_SENT"])["occurs"], false);
    assert_eq!(of(&["p1"])["id"], "P1");
    assert_eq!(of(&[])["transitions"].as_array().map(Vec::len), Some(transitions().count()));
}

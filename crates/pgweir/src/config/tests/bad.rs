//! Files that are refused, each with exactly what is said about it.

use proptest::prelude::{ProptestConfig, prop, prop_assert, proptest};

use super::{CLUSTER, parse, shown};
use crate::config::reference;

const CASES: &str = include_str!("refused.cases");

#[test]
fn every_refused_configuration_is_told_exactly_what_is_wrong() {
    let cases: Vec<&str> = CASES.split("\n== ").skip(1).collect();
    assert!(cases.len() > 80, "{} cases", cases.len());
    for case in cases {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("--\n").unwrap();
        let cluster = if text.contains("clusters") { "" } else { CLUSTER };
        let problems = parse(&format!("{text}{cluster}")).expect_err(name);
        let told = shown(&problems).replace("f.toml:", "");
        assert_eq!(told.trim_end(), expected.trim_end(), "\n{name}\n{text}");
    }
}

#[test]
fn a_secret_is_in_no_problem() {
    let text = "[clusters.main]\nnodes = \"a\"\nmonitor.password = \"hunter2\\u0000\"\nmonitor.interval = 0\n";
    let problems = shown(&parse(text).expect_err(text));
    assert!(
        problems.contains("clusters.main.monitor.password: the value holds a zero byte"),
        "{problems}"
    );
    assert!(!problems.contains("hunter2"), "{problems}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_panics_and_every_problem_has_a_place(
        start in 0.0..1.0_f64,
        length in 0..40_usize,
        patch in "[ -~\\n\u{e9}]{0,12}",
    ) {
        let good: Vec<char> = reference().chars().collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1 times a length")]
        let start = (good.len() as f64 * start) as usize;
        let end = good.len().min(start + length);
        let text: String = good[..start].iter().chain(patch.chars().collect::<Vec<_>>().iter()).chain(&good[end..]).collect();
        let lines = text.lines().count();
        for problem in parse(&text).err().unwrap_or_default() {
            prop_assert!((1..=lines + 1).contains(&problem.line) && problem.column > 0, "{}", problem);
        }
    }

    #[test]
    fn no_value_of_any_key_panics(
        key in prop::sample::select(vec![
            "auth.method", "auth.query", "auth.name_map", "auth.name_map.x", "listen.tls.client_ca_file", "pool.mode",
            "firewall.block", "listen.address", "listen.max_clients", "listen.drain_timeout", "auth.allow", "http.address",
            "clusters.main.nodes", "routing.read_functions", "limits.max_message", "log.level",
        ]),
        value in "\\PC{0,30}",
        is_quoted in proptest::bool::ANY,
    ) {
        let value = if is_quoted { toml::Value::from(value).to_string() } else { value };
        let _ = parse(&format!("{key} = {value}\nclusters.b.nodes = \"a\"\n"));
    }
}

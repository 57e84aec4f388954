//! Who starts and who waits, in words.

use super::*;
use crate::domain::document::parse;
use crate::domain::ledger::{Amount, Balance, Funds, OnExhausted, Share};
use crate::domain::problem::SourceId;
use crate::domain::site::{Layer, LayerKind, effective};

fn demand(cluster: &str) -> Demand {
    Demand {
        owner: "anna".into(),
        project: None,
        cluster: cluster.into(),
        class: cluster.into(),
        nodes: 1,
    }
}

fn waiting(run: i64, cluster: &str, waits_for: &[i64]) -> Waiting {
    let waits_for = waits_for.iter().copied().map(RunId).collect();
    Waiting { run: RunId(run), demand: demand(cluster), waits_for, refused: None, asked: None }
}

fn live(cluster: &str, count: usize) -> Vec<Demand> {
    vec![Demand { owner: "bert".into(), ..demand(cluster) }; count]
}

/// A run of class `gpu`.
fn asks(run: i64, owner: &str, project: Option<&str>, nodes: u32) -> Waiting {
    Waiting { demand: has(owner, project, nodes), ..waiting(run, "main", &[]) }
}

/// A submission of class `gpu`.
fn has(owner: &str, project: Option<&str>, nodes: u32) -> Demand {
    let project = project.map(str::to_owned);
    Demand { owner: owner.into(), project, class: "gpu".into(), nodes, ..demand("main") }
}

/// The answers as `run: start` or `run: why`.
#[track_caller]
fn check_with(waiting: &[Waiting], live: &[Demand], limits: &Limits, expected: &[&str]) {
    assert_eq!(shown(admit(waiting, live, limits, Ledger::new())), expected);
}

fn shown(answers: Vec<(RunId, Admission)>) -> Vec<String> {
    let shown = |(run, admission)| match admission {
        Admission::Start => format!("{run}: start"),
        Admission::Wait { why } => format!("{run}: {why}"),
    };
    answers.into_iter().map(shown).collect()
}

#[track_caller]
fn check(waiting: &[Waiting], live: &[Demand], local_running_max: u32, expected: &[&str]) {
    let limits = Limits { local_running_max, quotas: Quotas::default() };
    check_with(waiting, live, &limits, expected);
}

/// With what a site file says of class `gpu` and project `nlp`.
#[track_caller]
fn check_quotas(
    (class, project): (&str, &str),
    waiting: &[Waiting],
    live: &[Demand],
    expected: &[&str],
) {
    check_with(waiting, live, &limits(class, project), expected);
}

fn limits(class: &str, project: &str) -> Limits {
    let text = format!("[cluster.main]\n[class.gpu]\n{class}\n[project.nlp]\n{project}\n");
    let (table, problems) = parse(&text, SourceId(0));
    assert_eq!(problems, vec![]);
    let (site, _, problems) =
        effective(vec![Layer { kind: LayerKind::User, source: SourceId(0), table }]);
    assert_eq!(problems, vec![]);
    Limits::of(&site)
}
#[test]
fn nobody_waits_and_nobody_is_admitted() {
    check(&[], &[], 16, &[]);
    check(&[], &live("local", 99), 0, &[]);
}

#[test]
fn a_run_waits_for_the_runs_it_was_queued_behind() {
    check(&[waiting(42, "local", &[])], &[], 16, &["42: start"]);
    check(&[waiting(42, "main", &[41])], &[], 16, &["42: waits for run 41"]);
    let two = [waiting(42, "local", &[41, 40])];
    check(&two, &[], 16, &["42: waits for run 40 and another one"]);
    let three = [waiting(42, "local", &[39, 40, 41])];
    check(&three, &[], 16, &["42: waits for run 39 and 2 others"]);
}

#[test]
fn a_run_that_was_refused_for_now_keeps_the_schedulers_words() {
    let refused = |words: &str| Waiting { refused: Some(words.into()), ..waiting(42, "main", &[]) };
    check(&[refused("QOSMaxSubmitJobPerUserLimit")], &[], 16, &["42: QOSMaxSubmitJobPerUserLimit"]);
    let behind = Waiting { waits_for: vec![RunId(41)], ..refused("no") };
    check(&[behind, waiting(43, "main", &[])], &[], 16, &["42: waits for run 41", "43: start"]);
}

#[test]
fn local_runs_wait_for_a_slot_and_others_do_not() {
    let all = [waiting(50, "local", &[]), waiting(51, "main", &[]), waiting(52, "local", &[])];
    check(&all, &[], 16, &["50: start", "51: start", "52: start"]);
    let full = "16 local runs are running, the most that this site allows at once";
    let (first, last) = (format!("50: {full}"), format!("52: {full}"));
    check(&all, &live("local", 15), 16, &["50: start", "51: start", &last]);
    check(&all, &live("local", 16), 16, &[&first, "51: start", &last]);
    check(&all, &live("main", 99), 16, &["50: start", "51: start", "52: start"]);
    let over = "17 local runs are running, the most that this site allows at once";
    let only = [waiting(50, "local", &[])];
    check(&only, &live("local", 17), 16, &[&format!("50: {over}")]);
    let one = "50: 1 local run is running, the most that this site allows at once";
    check(&only, &live("local", 1), 1, &[one]);
}

#[test]
fn the_first_comes_first_and_a_blocked_one_blocks_nobody() {
    let all = [waiting(44, "local", &[]), waiting(42, "local", &[41]), waiting(43, "local", &[])];
    check(
        &all,
        &live("local", 1),
        2,
        &[
            "42: waits for run 41",
            "43: start",
            "44: 2 local runs are running, the most that this site allows at once",
        ],
    );
}

const FULL: &str =
    "2 runs of anna of class `gpu` may be submitted at once (`max_running`), and no more";

#[test]
fn a_users_runs_beyond_the_quota_of_a_class_wait() {
    let quota = ("max_running = { user = 2 }", "");
    let all = [asks(3, "anna", None, 1), asks(4, "anna", None, 1), asks(5, "bert", None, 1)];
    check_quotas(quota, &all, &[], &["3: start", "5: start", "4: start"]);
    let full = |run: i64| format!("{run}: {FULL}");
    let one = [has("anna", None, 1)];
    check_quotas(quota, &all, &one, &["5: start", "3: start", &full(4)]);
    let two = [has("anna", None, 1), has("anna", None, 1)];
    check_quotas(quota, &all, &two, &["5: start", &full(3), &full(4)]);
    // Another class has its own.
    let mut elsewhere = asks(6, "anna", None, 1);
    elsewhere.demand.class = "cpu".into();
    check_quotas(quota, &[elsewhere], &two, &["6: start"]);
}

#[test]
fn a_project_has_a_quota_of_a_class_and_one_of_all() {
    let all = [asks(3, "anna", Some("nlp"), 1), asks(4, "bert", None, 1)];
    let theirs = [has("cleo", Some("nlp"), 1)];
    let class = "3: 1 run of project `nlp` of class `gpu` may be submitted at once (`max_running`), and no more";
    check_quotas(("max_running = { project = 1 }", ""), &all, &theirs, &[class, "4: start"]);
    let whole = "3: 1 run of project `nlp` may be submitted at once (`max_running`), and no more";
    check_quotas(("", "max_running = 1"), &all, &theirs, &[whole, "4: start"]);
    let elsewhere = [Demand { class: "cpu".into(), ..has("cleo", Some("nlp"), 1) }];
    check_quotas(("", "max_running = 1"), &all, &elsewhere, &[whole, "4: start"]);
    check_quotas(
        ("max_running = { project = 1 }", ""),
        &all,
        &elsewhere,
        &["3: start", "4: start"],
    );
}

/// A run that waits for many nodes of a quota is not passed by small ones for ever.
#[test]
fn nodes_are_kept_for_the_run_that_waits_for_them() {
    let quota = ("", "max_running_nodes = 4");
    let few = |run: i64, asked: u32| {
        format!(
            "{run}: runs of project `nlp` may have 4 nodes at once (`max_running_nodes`), and not \
             enough of them are left for {asked} more"
        )
    };
    let all = [
        asks(3, "anna", Some("nlp"), 3),
        asks(4, "anna", Some("nlp"), 1),
        asks(5, "anna", None, 9),
    ];
    let two = [has("bert", Some("nlp"), 2)];
    check_quotas(quota, &all, &[], &["3: start", "4: start", "5: start"]);
    check_quotas(quota, &all, &two, &[&few(3, 3), &few(4, 1), "5: start"]);
    // What can never start, because the quota was lowered, keeps nothing either.
    let never = "2: it asks for 5 nodes, and runs of project `nlp` may have 4 at once \
                 (`max_running_nodes`): it can never start as it is";
    let large = asks(2, "anna", Some("nlp"), 5);
    check_quotas(quota, &[large, all[1].clone()], &two, &[never, "4: start"]);
    // What waits for another reason keeps nothing.
    let behind = Waiting { waits_for: vec![RunId(1)], ..all[0].clone() };
    check_quotas(quota, &[behind, all[1].clone()], &two, &["3: waits for run 1", "4: start"]);
}

/// Whoever has less of a class comes first; of those who have as much, who came first.
#[test]
fn users_share_what_a_project_may_have() {
    let quota = ("", "max_running = 4");
    let mut all: Vec<Waiting> = (1..=5).map(|run| asks(run, "anna", Some("nlp"), 1)).collect();
    all.extend([asks(6, "bert", Some("nlp"), 1), asks(7, "bert", Some("nlp"), 1)]);
    let full = |run: i64| {
        format!(
            "{run}: 4 runs of project `nlp` may be submitted at once (`max_running`), and no more"
        )
    };
    let rest = [full(3), full(4), full(5)];
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let expected = ["1: start", "6: start", "2: start", "7: start"];
    check_quotas(quota, &all, &[], &[&expected[..], &rest].concat());
    // Anna has three already.
    let live = vec![has("anna", Some("nlp"), 1); 3];
    let answers = admit(&all, &live, &limits(quota.0, quota.1), Ledger::new());
    let first = answers.into_iter().next().map(|(run, _)| run);
    assert_eq!(first, Some(RunId(6)));
}

#[test]
fn only_runs_that_a_limit_counts_are_looked_at_beside_others() {
    let counts = |class, project, demand: &Demand| limits(class, project).count(demand);
    let (alone, of_nlp) = (has("anna", None, 1), has("anna", Some("nlp"), 1));
    assert!(!counts("", "", &of_nlp));
    assert!(counts("", "", &demand(LOCAL)));
    assert!(counts("max_running = { user = 9 }", "", &alone));
    assert!(!counts("max_running_nodes = { project = 9 }", "", &alone));
    assert!(counts("max_running_nodes = { project = 9 }", "", &of_nlp));
    assert!(!counts("", "max_running = 9", &alone));
    assert!(counts("", "max_running = 9", &of_nlp));
}

#[test]
fn what_one_is_given_of_a_budget_is_not_left_for_the_next() {
    let account = Account { project: "nlp".into(), period: "2026".into() };
    let asked = |units: i64| Asked {
        shares: vec![Share {
            account: account.clone(),
            amount: Amount::of_micros(units * 1_000_000),
            budget: Funds::Granted(Amount::of_micros(10_000_000)),
        }],
        on_exhausted: OnExhausted::Reject,
        what: "1 node for 1h".into(),
        unknown: None,
    };
    let asks = |run, units| Waiting { asked: Some(asked(units)), ..waiting(run, "main", &[]) };
    let spent = Balance { captured: Amount::of_micros(3_000_000), ..Balance::default() };
    let standing =
        |is_wrong| Ledger::from([(account.clone(), Standing { balance: spent, is_wrong })]);
    let all = [asks(1, 4), asks(2, 4), asks(3, 3), waiting(4, "main", &[])];
    let limits = Limits { local_running_max: 1, quotas: Quotas::default() };
    assert_eq!(
        shown(admit(&all, &[], &limits, standing(false))),
        [
            "1: start",
            "2: project `nlp` in 2026 has no room for this start, which may take 4 charge units: 1 node for 1h",
            "3: start",
            "4: start",
        ]
    );
    // Whatever is entered meanwhile: every change of the words would be recorded for each run that waits.
    let words = |captured| {
        let balance = Balance { captured: Amount::of_micros(captured), ..Balance::default() };
        let standing = Standing { balance, is_wrong: false };
        shown(admit(&all[1..2], &[], &limits, Ledger::from([(account.clone(), standing)])))
    };
    assert!(words(7_000_000)[0].contains("no room"), "{:?}", words(7_000_000));
    assert_eq!(words(7_000_000), words(8_500_000));
    let wrong = shown(admit(&all[..1], &[], &limits, standing(true)));
    assert!(wrong[0].contains("does not add up"), "{wrong:?}");
}

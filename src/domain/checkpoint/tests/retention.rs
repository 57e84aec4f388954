//! What stays and what goes.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// A complete checkpoint, written at the second of its step.
fn view(step: i64) -> CheckpointView {
    CheckpointView {
        step: Some(step),
        path: format!("/c/step-{step}.pt"),
        complete: true,
        state: State::Complete,
        why: None,
        format: Format::File,
        bytes: Some(10),
        files: Some(1),
        created_at: Some(at(step)),
        attempt: Some(1),
        parent: None,
        metrics: BTreeMap::new(),
    }
}

/// Newest first, as a catalogue has them.
fn catalogue_of(mut checkpoints: Vec<CheckpointView>) -> CatalogueView {
    checkpoints.sort_by_key(|one| std::cmp::Reverse((one.created_at, one.step)));
    CatalogueView {
        directory: "/c".to_owned(),
        count: checkpoints.len(),
        complete: checkpoints.iter().filter(|one| one.complete).count(),
        latest: None,
        checkpoints,
        cut: None,
    }
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn newest_of(keep_last: u32) -> Retention {
    let keep_last = number(keep_last);
    Retention { keep_last, keep_every_steps: None, keep_best: None, archive: None }
}

fn best(goal: Goal, count: u32) -> KeepBest {
    KeepBest { metric: "loss".to_owned(), goal, count: number(count) }
}

fn names(paths: impl Iterator<Item = String>) -> Vec<String> {
    paths.map(|path| path.strip_prefix("/c/").unwrap_or(&path).to_owned()).collect()
}

fn gone(plan: &Plan) -> Vec<i64> {
    plan.go.iter().filter_map(|one| one.step).collect()
}

#[test]
fn the_newest_those_of_round_steps_and_the_best_stay() {
    let mut views: Vec<CheckpointView> = (1..=10).map(view).collect();
    for (one, loss) in views.iter_mut().zip([9.0, 2.0, 0.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]) {
        one.metrics.insert("loss".to_owned(), loss);
    }
    let catalogue = catalogue_of(views);
    let rules = Retention { keep_every_steps: Some(number(4)), ..newest_of(2) };
    let rules = Retention { keep_best: Some(best(Goal::Minimize, 1)), ..rules };
    let made = plan(&catalogue, &rules, &Held::new(), None);
    assert_eq!(gone(&made), [1, 2, 5, 6, 7]);
    assert_eq!(made.go[0].why, "not one of the newest 2, no multiple of 4, not the best `loss`");
    let kept: Vec<String> =
        made.keep.iter().map(|one| format!("{} {}", one.step.unwrap(), one.why)).collect();
    insta::assert_debug_snapshot!(kept, @r#"
    [
        "10 it is one of the newest 2",
        "9 it is one of the newest 2",
        "8 its step is a multiple of 4",
        "4 its step is a multiple of 4",
        "3 it is among the best: `loss` 0.5",
    ]
    "#);
    let highest = Retention { keep_best: Some(best(Goal::Maximize, 2)), ..newest_of(1) };
    assert_eq!(gone(&plan(&catalogue, &highest, &Held::new(), None)), [2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn one_whose_number_may_still_come_waits_for_it() {
    let mut views: Vec<CheckpointView> = (1..=6).map(view).collect();
    let rules = Retention { keep_best: Some(best(Goal::Minimize, 1)), ..newest_of(1) };
    let nothing = plan(&catalogue_of(views.clone()), &rules, &Held::new(), None);
    assert_eq!(nothing.go, [], "nobody knows which is the best");
    assert_eq!(nothing.keep[1].why, "its `loss` may still be reported");
    for (index, loss) in [(1, 0.3), (2, f64::NAN), (3, 0.4)] {
        views[index].metrics.insert("loss".to_owned(), loss);
    }
    let some = plan(&catalogue_of(views), &rules, &Held::new(), None);
    assert_eq!(gone(&some), [1, 3, 4], "what has no number is not the best");
}

#[test]
fn what_is_not_certain_stays() {
    let mut views: Vec<CheckpointView> = (1..=9).map(view).collect();
    let incomplete = |one: &mut CheckpointView, state| {
        one.complete = false;
        one.state = state;
    };
    incomplete(&mut views[0], State::Incomplete);
    incomplete(&mut views[8], State::Writing);
    views[1].step = None;
    views[2].path = "/c/step-3\u{fffd}.pt".to_owned();
    views[3].path = "/c/step\n4.pt".to_owned();
    views[4].path = "/c".to_owned();
    let catalogue = catalogue_of(views);
    let held = Held::from([("/c/step-6.pt".to_owned(), "`latest` names it".to_owned())]);
    let made = plan(&catalogue, &newest_of(1), &held, None);
    assert_eq!(gone(&made), [7]);
    let why: Vec<&str> = made.keep.iter().map(|one| one.why.as_str()).collect();
    insta::assert_debug_snapshot!(why, @r#"
    [
        "it is being written",
        "it is the newest",
        "`latest` names it",
        "it is the checkpoint directory itself",
        "its name has characters that are not plain text",
        "its name has characters that are not plain text",
        "its name tells no step",
        "it is not complete",
    ]
    "#);
    let cut = CatalogueView { cut: Some("it takes too long".to_owned()), ..catalogue };
    let made = plan(&cut, &newest_of(1), &Held::new(), None);
    assert_eq!(made.go, []);
    assert_eq!(made.keep[0].why, "not everything was looked at: it takes too long");
}

#[test]
fn those_of_one_step_stay_or_go_together() {
    let mut views: Vec<CheckpointView> = (1..=4).map(view).collect();
    for step in 1..=4 {
        let path = format!("/c/optimizer-{step}.pt");
        views.push(CheckpointView { path, created_at: Some(at(step + 100)), ..view(step) });
    }
    views[1].state = State::Writing;
    views[1].complete = false;
    let held = Held::from([("/c/step-1.pt".to_owned(), "`latest` names it".to_owned())]);
    let made = plan(&catalogue_of(views), &newest_of(1), &held, None);
    assert_eq!(
        names(made.go.into_iter().map(|one| one.path)),
        ["step-3.pt", "optimizer-3.pt"],
        "one of step 1 is named, one of step 2 is being written, and those of step 4 are the newest"
    );
}

/// A training that begins anew among higher steps: neither what it saves now goes, nor what it could go on from.
#[test]
fn the_newest_is_so_by_its_step_and_by_its_time() {
    let mut views: Vec<CheckpointView> = (10..=14).map(view).collect();
    for step in 1..=3 {
        views.push(CheckpointView { created_at: Some(at(100 + step)), ..view(step) });
    }
    let catalogue = catalogue_of(views);
    let made = plan(&catalogue, &newest_of(2), &Held::new(), None);
    assert_eq!(gone(&made), [10, 11, 12, 1]);
    let branch = Branch { path: "/c/step-11.pt".to_owned(), step: Some(11), at: at(50) };
    let made = plan(&catalogue, &newest_of(2), &Held::new(), Some(&branch));
    assert_eq!(gone(&made), [10, 12, 13, 14, 1], "what a person chose, and what came of it");
}

prop_compose! {
    fn any_view()(
        step in prop::option::weighted(0.9, 0_i64..12),
        name in 0_u8..3,
        second in prop::option::weighted(0.9, 0_i64..20),
        state in prop::sample::select(vec![State::Complete, State::Complete, State::Writing, State::Incomplete]),
        loss in prop::option::of(0_u8..4),
    ) -> CheckpointView {
        let directory = ["", "a/", "b/"][usize::from(name)];
        let mut one = view(step.unwrap_or(99));
        one.path = format!("/c/{directory}x{}.pt", step.map_or("last".to_owned(), |step| format!("-{step}")));
        one.step = step;
        one.created_at = second.map(at);
        one.state = state;
        one.complete = state == State::Complete;
        one.metrics.extend(loss.map(|loss| ("loss".to_owned(), f64::from(loss))));
        one
    }
}

prop_compose! {
    fn any_rules()(
        last in 1_u32..4,
        every in prop::option::of(1_u32..6),
        goal in prop::option::of(prop::sample::select(vec![Goal::Minimize, Goal::Maximize])),
    ) -> Retention {
        Retention {
            keep_every_steps: every.map(number),
            keep_best: goal.map(|goal| best(goal, 1)),
            ..newest_of(last)
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_rules_what_is_needed_stays(
        views in prop::collection::vec(any_view(), 0..12),
        rules in any_rules(),
        held in prop::option::of(0_usize..12),
        branch in prop::option::of(0_usize..12),
        is_cut in prop::bool::weighted(0.1),
    ) {
        let unique: BTreeMap<String, CheckpointView> =
            views.into_iter().map(|one| (one.path.clone(), one)).collect();
        let mut catalogue = catalogue_of(unique.into_values().collect());
        catalogue.cut = is_cut.then(|| "cut".to_owned());
        let listed = &catalogue.checkpoints;
        let nth = |n: usize| listed.get(n).map(|one| one.path.clone());
        let held: Held =
            held.and_then(nth).map(|path| (path, "held".to_owned())).into_iter().collect();
        let branch = branch.and_then(nth);
        let branch = branch.map(|path| Branch { path, step: None, at: at(10) });
        let made = plan(&catalogue, &rules, &held, branch.as_ref());

        let mut told: Vec<&str> = made.go.iter().map(|one| one.path.as_str()).collect();
        let gone = told.clone();
        told.extend(made.keep.iter().map(|one| one.path.as_str()));
        told.sort_unstable();
        let mut all: Vec<&str> = listed.iter().map(|one| one.path.as_str()).collect();
        all.sort_unstable();
        prop_assert_eq!(told, all, "each that is listed is told of once, and nothing else");

        prop_assert!(!is_cut || gone.is_empty());
        prop_assert!(!held.keys().any(|path| gone.contains(&path.as_str())));
        let of = |path: &str| listed.iter().find(|one| one.path == path).unwrap();
        for path in &gone {
            let one = of(path);
            prop_assert!(one.complete && one.step.is_some());
            let is_round = rules.keep_every_steps.is_some_and(|every| {
                one.step.unwrap() % i64::from(every.get()) == 0
            });
            prop_assert!(!is_round);
        }
        // Whatever counts as the newest: to whoever goes on from one, and by the times.
        let found: Vec<Found> = listed.iter().filter(|one| one.complete).map(|one| Found {
            path: one.path.clone(),
            format: one.format,
            step: one.step,
            lacks: None,
            bytes: None,
            files: None,
            modified: one.created_at,
            is_directory: false,
        }).collect();
        let next = newest(&found, branch.as_ref());
        prop_assert!(next.is_none_or(|one| !gone.contains(&one.path.as_str())));
        let written = found.iter().max_by_key(|one| (one.modified, one.step));
        prop_assert!(written.is_none_or(|one| !gone.contains(&one.path.as_str())));
    }
}

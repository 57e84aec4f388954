//! What is decided at rungs, and what always holds of it.

use proptest::prelude::*;

use super::*;

const RUNGS: Rungs = Rungs {
    method: StoppingMethod::Asha,
    min_steps: 100,
    max_steps: Some(2700),
    reduction_factor: 3,
};

fn objective(goal: Goal) -> Objective {
    Objective { metric: "val_loss".into(), goal }
}

fn remember(passed: &mut Passed, verdicts: &[Verdict]) {
    for verdict in verdicts {
        let before = passed.entry(verdict.rung).or_default().insert(verdict.point, verdict.past);
        assert_eq!(before, None, "decided twice: {verdict:?}");
    }
}

/// Points that come to the first rung one after the other, each with this value; gives what is said of them.
#[track_caller]
fn check(goal: Goal, values: &[f64], expected: &[&str]) {
    let mut passed = Passed::new();
    let mut said = Vec::new();
    for (point, value) in (0..).zip(values) {
        let points = BTreeMap::from([(point, Reported::from([(100, *value)]))]);
        let verdicts = judge((RUNGS, &objective(goal)), &points, &passed);
        remember(&mut passed, &verdicts);
        said.extend(verdicts.into_iter().map(|verdict| verdict.why));
    }
    let expected: Vec<String> =
        expected.iter().map(|text| format!("rung 0 at step 100: val_loss {text}")).collect();
    assert_eq!(said, expected);
}

#[test]
fn a_point_goes_on_if_it_is_among_the_best_third_that_came_there() {
    check(
        Goal::Minimize,
        &[0.5, 0.6, 0.4, 0.45, 0.41, 0.405, 0.41],
        &[
            "0.5 is the first there and goes on",
            "0.6 is not the best of 2 (which has 0.5)",
            "0.4 is among the best 1 of 3 and goes on",
            "0.45 is not the best of 4 (which has 0.4)",
            "0.41 is not the best of 5 (which has 0.4)",
            "0.405 is among the best 2 of 6 and goes on",
            "0.41 is not among the best 2 of 7 (the worst of which has 0.405)",
        ],
    );
    check(
        Goal::Maximize,
        &[0.5, 0.4, 0.6, 0.6],
        &[
            "0.5 is the first there and goes on",
            "0.4 is not the best of 2 (which has 0.5)",
            "0.6 is among the best 1 of 3 and goes on",
            "0.6 is among the best 1 of 4 and goes on",
        ],
    );
}

#[test]
fn what_is_no_number_is_the_worst_and_never_goes_on() {
    for goal in [Goal::Minimize, Goal::Maximize] {
        for (worst, word) in
            [(f64::NAN, "nan"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")]
        {
            let no_number = format!("is {word}, which is no finite number and counts as the worst");
            check(goal, &[1.0, worst], &["1 is the first there and goes on", &no_number]);
            let best = "1 is among the best 1 of 2 and goes on";
            check(goal, &[worst, 1.0], &[&no_number, best]);
            check(goal, &[worst, worst], &[&no_number, &no_number]);
        }
    }
}

#[test]
fn the_value_at_a_rung_is_the_last_one_until_then_once_a_later_step_is_told() {
    let check = |reported: &[(i64, f64)], expected: &[(u32, f64)]| {
        // Another one is far ahead, and worse.
        let ahead = Reported::from([(0, 5.0), (9000, 5.0)]);
        let points = BTreeMap::from([(7, reported.iter().copied().collect()), (8, ahead)]);
        let verdicts = judge((RUNGS, &objective(Goal::Minimize)), &points, &Passed::new());
        let told: Vec<(u32, f64)> =
            verdicts.iter().filter(|it| it.point == 7).map(|it| (it.rung, it.past.value)).collect();
        assert_eq!(told, expected, "{reported:?}");
    };
    check(&[], &[]);
    check(&[(99, 0.9)], &[]);
    check(&[(99, 0.9), (101, 0.1)], &[(0, 0.9)]);
    check(&[(100, 0.9)], &[(0, 0.9)]);
    // It has nothing at a rung that it came to before it told anything.
    check(&[(200, 0.5), (300, 0.4)], &[(1, 0.4)]);
    // There is no rung from `max_steps` on.
    check(&[(50, 0.9), (9000, 0.1)], &[(0, 0.9), (1, 0.9), (2, 0.9)]);
}

#[test]
fn rungs_without_an_end_end_all_the_same() {
    let endless =
        Rungs { max_steps: None, min_steps: u32::MAX, reduction_factor: u32::MAX, ..RUNGS };
    assert_eq!(endless.steps().count(), 1);
    let endless = Rungs { max_steps: None, ..RUNGS };
    assert!(endless.steps().count() < 64);
}

#[test]
fn what_was_stopped_and_is_resumed_is_left_alone() {
    let passed = Passed::from([(
        0,
        BTreeMap::from([
            (1, Past { value: 0.9, goes_on: false }),
            (0, Past { value: 0.1, goes_on: true }),
        ]),
    )]);
    let points = BTreeMap::from([(1, Reported::from([(100, 0.9), (300, 5.0)]))]);
    assert_eq!(judge((RUNGS, &objective(Goal::Minimize)), &points, &passed), []);
}

/// Trainings that come along as they please, and what was decided about them.
fn campaign(goal: Goal, curves: &[Vec<f64>], turns: &[usize]) -> (Passed, Vec<(u32, i64)>) {
    let mut points: BTreeMap<u32, Reported> = BTreeMap::new();
    let (mut passed, mut stopped_at) = (Passed::new(), Vec::new());
    let every = 50;
    let all = turns.iter().copied().chain((0..curves.len() * 60).map(|turn| turn % curves.len()));
    for turn in all {
        let point = u32::try_from(turn).unwrap();
        if stopped_at.iter().any(|(stopped, _)| *stopped == point) {
            continue;
        }
        let reported = points.entry(point).or_default();
        let step = reported.last_key_value().map_or(0, |(step, _)| step + every);
        let curve = &curves[turn];
        let at = usize::try_from(step / every).unwrap();
        let Some(value) = curve.get(at % curve.len()).filter(|_| step <= 2700) else { continue };
        reported.insert(step, *value);
        let verdicts = judge((RUNGS, &objective(goal)), &points, &passed);
        let again = judge((RUNGS, &objective(goal)), &points, &passed);
        assert_eq!(format!("{verdicts:?}"), format!("{again:?}"));
        for verdict in verdicts {
            let step = RUNGS.steps().nth(verdict.rung as usize).unwrap();
            let newest = *points[&verdict.point].last_key_value().unwrap().0;
            assert!(newest >= step, "{verdict:?} at step {newest}");
            let others = passed.entry(verdict.rung).or_default();
            let is_number = verdict.past.value.is_finite();
            if others.is_empty() || !is_number {
                assert_eq!(verdict.past.goes_on, is_number, "the first: {verdict:?}");
            }
            let is_best =
                others.values().all(|it| order(goal, verdict.past.value, it.value).is_le());
            assert!(!is_best || !is_number || verdict.past.goes_on, "the best: {verdict:?}");
            if !verdict.past.goes_on {
                stopped_at.push((verdict.point, newest));
            }
            assert!(others.insert(verdict.point, verdict.past).is_none());
        }
    }
    (passed, stopped_at)
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => -1e3..1e3_f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
    ]
}

proptest! {
    #[test]
    fn the_best_and_the_first_of_a_rung_go_on_and_nobody_is_judged_early_or_twice(
        curves in prop::collection::vec(prop::collection::vec(value(), 1..60), 1..12),
        turns in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        goal in prop::sample::select(vec![Goal::Minimize, Goal::Maximize]),
    ) {
        let turns: Vec<usize> = turns.iter().map(|turn| turn.index(curves.len())).collect();
        let (passed, stopped) = campaign(goal, &curves, &turns);
        let goes_on = passed.values().flatten().filter(|(_, past)| !past.goes_on).count();
        prop_assert_eq!(goes_on, stopped.len());
    }
}

/// Curves that do not cross, in many orders: of those at a rung about a third goes on, and the best always
/// does. More of few: the first are compared with fewer, and those that come later were chosen more strictly.
#[test]
fn about_one_in_so_many_goes_on() {
    let (mut come, mut gone_on) = ([0.0; 3], [0.0; 3]);
    for seed in 0..30_u32 {
        let mut ranks: Vec<u32> = (0..270).collect();
        ranks.sort_by_key(|rank| blake3::hash(format!("{seed} {rank}").as_bytes()).to_hex());
        let mut passed = Passed::new();
        for (point, rank) in (0..).zip(ranks) {
            let reported = Reported::from([(0, f64::from(rank)), (2700, f64::from(rank))]);
            let points = BTreeMap::from([(point, reported)]);
            let verdicts = judge((RUNGS, &objective(Goal::Minimize)), &points, &passed);
            remember(&mut passed, &verdicts);
        }
        for (rung, there) in passed {
            assert!(there.values().any(|past| past.goes_on && past.value == 0.0), "{seed} {rung}");
            come[rung as usize] += there.values().map(|_| 1.0).sum::<f64>();
            gone_on[rung as usize] +=
                there.values().map(|it| f64::from(u8::from(it.goes_on))).sum::<f64>();
        }
    }
    for (come, gone_on) in come.iter().zip(&gone_on) {
        let share: f64 = gone_on / come;
        assert!((0.25..0.5).contains(&share), "{come:?} {gone_on:?}");
    }
}

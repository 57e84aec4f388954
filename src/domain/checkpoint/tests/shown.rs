//! How checkpoints are put into the history of their run.

use jiff::Timestamp;

use crate::domain::checkpoint::{CatalogueView, Format, Found, Start, State, Walked, catalogue};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// One that was written at a second, complete or not.
fn found(step: i64, second: i64, is_complete: bool) -> Found {
    Found {
        path: format!("/c/{step}"),
        format: Format::Dcp,
        step: Some(step),
        lacks: (!is_complete).then(|| "a marker".to_owned()),
        bytes: None,
        files: Some(2),
        modified: Some(at(second)),
        is_directory: true,
    }
}

fn shown(found: Vec<Found>, starts: &[Start]) -> CatalogueView {
    catalogue("/c".to_owned(), Walked { found, ..Walked::default() }, starts, at(1000))
}

fn start(attempt: u32, second: i64, is_running: bool) -> Start {
    Start { attempt, at: at(second), is_running }
}

#[test]
fn each_belongs_to_an_attempt_and_goes_on_from_the_one_before() {
    let starts = [start(1, 0, false), start(2, 100, true)];
    let all =
        vec![found(10, 10, true), found(20, 20, true), found(30, 30, false), found(30, 130, true)];
    let view = shown(all, &starts);
    let rows: Vec<_> = view
        .checkpoints
        .iter()
        .map(|one| (one.step, one.attempt, one.parent, one.complete))
        .collect();
    assert_eq!(
        rows,
        vec![
            (Some(30), Some(2), Some(20), true),
            (Some(30), Some(1), Some(20), false),
            (Some(20), Some(1), Some(10), true),
            (Some(10), Some(1), None, true),
        ]
    );
    assert_eq!((view.count, view.complete), (4, 3));
    assert_eq!(view.latest.unwrap().step, Some(30));
    // One that began anew goes on from none.
    let anew = shown(vec![found(50, 50, true), found(10, 110, true)], &starts);
    assert_eq!(anew.checkpoints[0].parent, None);
}

#[test]
fn only_the_newest_of_a_running_attempt_may_be_under_way() {
    let check = |starts: &[Start], expected: &[State]| {
        let view =
            shown(vec![found(1, 10, false), found(2, 200, true), found(3, 300, false)], starts);
        let states: Vec<State> = view.checkpoints.iter().rev().map(|one| one.state).collect();
        assert_eq!(states, expected);
    };
    use State::{Complete, Incomplete, Writing};
    check(&[start(1, 0, true)], &[Incomplete, Complete, Writing]);
    check(&[start(1, 0, false)], &[Incomplete, Complete, Incomplete]);
    check(&[start(1, 0, false), start(2, 400, true)], &[Incomplete, Complete, Incomplete]);
}

#[test]
fn what_changed_a_moment_ago_may_change_again_while_its_attempt_runs() {
    let state = |is_running| {
        let view = shown(vec![found(1, 999, true)], &[start(1, 0, is_running)]);
        view.checkpoints[0].state
    };
    assert_eq!(state(true), State::Writing);
    assert_eq!(state(false), State::Complete);
}

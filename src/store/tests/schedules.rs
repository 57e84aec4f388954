//! Schedules and their planned times.

use std::path::PathBuf;

use jiff::Timestamp;

use super::world::{Yard, t};
use crate::domain::request::IfActive;
use crate::domain::schedule::{Due, Missed, Outcome, Plan, SCHEDULES_MAX};
use crate::store::{Fired, NewSchedule, Schedule};

fn plan() -> Plan {
    Plan {
        cron: "0 2 * * *".into(),
        timezone: "UTC".into(),
        catch_up: false,
        if_active: IfActive::Skip,
    }
}

fn new(name: &str, next_at: Timestamp) -> NewSchedule {
    NewSchedule {
        owner: "ada".into(),
        name: name.into(),
        spec: PathBuf::from("/specs/run.toml"),
        changes: Vec::new(),
        plan: plan(),
        next_at: Some(next_at),
    }
}

async fn added(yard: &Yard, name: &str, next_at: Timestamp) -> Schedule {
    assert!(yard.store.add_schedule(new(name, next_at), t(0)).await.unwrap().is_ok());
    yard.store.schedule("ada".into(), name.into()).await.unwrap().unwrap()
}

fn fires(at: Timestamp, next: Timestamp) -> Due {
    Due { fires: Some(at), missed: None, next: Some(next) }
}

#[tokio::test]
async fn what_is_taken_up_is_begun_until_it_is_known_what_became_of_it() {
    let yard = Yard::new();
    let schedule = added(&yard, "nightly", t(100)).await;
    let before = yard.store.scheduled(t(99)).await.unwrap();
    assert_eq!((before.active, before.next_at, before.due), (1, Some(t(100)), vec![]));
    let due = yard.store.scheduled(t(101)).await.unwrap().due;
    assert_eq!(due, std::slice::from_ref(&schedule));
    yard.store.take_up(schedule.clone(), fires(t(100), t(200)), t(101)).await.unwrap();
    // Whoever else had found it due comes too late.
    yard.store.take_up(schedule, fires(t(100), t(300)), t(102)).await.unwrap();
    let now = yard.store.scheduled(t(250)).await.unwrap();
    assert_eq!(now.due, [], "one at a time: what is due next waits");
    let [begun] = now.begun.as_slice() else { panic!("{now:?}") };
    assert_eq!((begun.planned, begun.schedule.next_at), (t(100), Some(t(200))));
    let fired = Fired { outcome: Outcome::Failed, run: None, why: "no".into() };
    assert!(yard.store.is_begun(begun.id).await.unwrap());
    yard.store.fired(begun.id, fired, t(251)).await.unwrap();
    assert!(!yard.store.is_begun(begun.id).await.unwrap(), "whoever found it before leaves it");
    let after = yard.store.scheduled(t(251)).await.unwrap();
    assert_eq!((after.due.len(), after.begun.len()), (1, 0));
    let all = yard.store.schedules("ada".into(), 9).await.unwrap();
    assert_eq!((all[0].1.len(), all[0].1[0].outcome), (1, Outcome::Failed));
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_taken_up() {
    let yard = Yard::new();
    for (name, is_paused) in [("paused", true), ("replaced", false)] {
        let schedule = added(&yard, name, t(100)).await;
        if is_paused {
            yard.store.pause_schedule(schedule.id, t(101)).await.unwrap();
        } else {
            let replaced = yard.store.add_schedule(new(name, t(500)), t(101)).await.unwrap();
            assert_eq!(replaced.unwrap().unwrap(), schedule);
        }
        yard.store.take_up(schedule, fires(t(100), t(200)), t(102)).await.unwrap();
        let now = yard.store.scheduled(t(102)).await.unwrap();
        assert_eq!((now.begun, now.due), (vec![], vec![]), "{name}");
    }
    let paused = yard.store.schedule("ada".into(), "paused".into()).await.unwrap().unwrap();
    yard.store.resume_schedule(paused.id, Some(t(300)), t(250)).await.unwrap();
    assert_eq!(yard.store.scheduled(t(250)).await.unwrap().next_at, Some(t(300)));
}

#[tokio::test]
async fn a_run_that_is_asked_for_waits_for_no_other() {
    let yard = Yard::new();
    let schedule = added(&yard, "asked", t(900)).await;
    let ask = |at| yard.store.fire_at_once(schedule.clone(), "asked".into(), at);
    let first = ask(t(1)).await.unwrap().unwrap();
    assert_eq!((first.planned, first.why.as_str()), (t(1), "asked"));
    assert_eq!(ask(t(2)).await.unwrap(), None, "one is under way");
    yard.store.delete_schedule(schedule.id).await.unwrap();
    let now = yard.store.scheduled(t(3)).await.unwrap();
    assert_eq!((now.active, now.begun), (0, vec![]));
}

#[tokio::test]
async fn there_is_a_limit_to_schedules_and_to_what_is_remembered_of_them() {
    let yard = Yard::new();
    for n in 0..SCHEDULES_MAX {
        added(&yard, &format!("s{n}"), t(100)).await;
    }
    let more = yard.store.add_schedule(new("more", t(100)), t(0)).await.unwrap();
    assert_eq!(more, Err(SCHEDULES_MAX));
    let mut schedule = added(&yard, "s7", t(100)).await;
    for n in 1..=150 {
        let missed = Missed { count: 1, first: t(n), last: t(n) };
        let due = Due { fires: None, missed: Some(missed), next: Some(t(n + 1)) };
        yard.store.take_up(schedule, due, t(n)).await.unwrap();
        schedule = yard.store.schedule("ada".into(), "s7".into()).await.unwrap().unwrap();
    }
    let all = yard.store.schedules("ada".into(), 1_000).await.unwrap();
    let (_, firings) = all.into_iter().find(|(schedule, _)| schedule.name == "s7").unwrap();
    assert_eq!((firings.len(), firings[0].planned), (100, t(150)));
}

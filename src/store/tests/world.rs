//! A database of its own for each test, and runs to put into it.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tempfile::TempDir;

use crate::domain::bad_nodes::Avoided;
use crate::domain::ids::{JobKey, RunId, Token};
use crate::domain::inputs::Inputs;
use crate::domain::request::{IfActive, SpecRequest};
use crate::domain::resolve::Asker;
use crate::domain::resolved::Resolved;
use crate::domain::run::{Decision, Event, Policy, step};
use crate::domain::site::effective;
use crate::domain::spec::SweepMethod;
use crate::domain::sweep::{About, Given, PlannedPoint};
use crate::domain::units::Seconds;
use crate::store::{
    Acceptance, Intending, NewPoint, NewRun, NewSweep, Opening, Recorded, RunRow, Start, Store,
};

pub(super) struct Yard {
    pub(super) store: Store,
    dir: TempDir,
}

pub(super) fn t(seconds: i64) -> Timestamp {
    Timestamp::constant(1_790_000_000, 0) + SignedDuration::from_secs(seconds)
}

pub(super) fn policy() -> Policy {
    Policy {
        max_restarts: 3,
        restart_on: Vec::new(),
        restart_exit_codes: vec![75],
        warn_before_end: Seconds(60),
        resume: None,
        backoff: Seconds(10),
        in_doubt_wait: Seconds(2),
        absent_grace: Seconds(5),
        stop_patience: Seconds(30),
        refused_wait: Seconds(60),
        unreachable_wait: Seconds(10),
        settled_after: Seconds(10),
    }
}

pub(super) fn job(n: u64) -> JobKey {
    JobKey { cluster: "local".into(), job: n, array_task: None }
}

/// A start on this machine, under the token of these bits.
pub(in crate::store) fn start(bits: u128) -> Start {
    Start {
        cluster: "local".into(),
        token: Token::from_bits(bits),
        host: "here".into(),
        policy: policy(),
        avoided: Avoided::default(),
        asked: None,
    }
}

fn resolved(name: &str) -> Resolved {
    let request = SpecRequest {
        file: "run.toml".into(),
        text: format!("name = \"{name}\"\n[code]\ncommand = [\"true\"]\n"),
        base: PathBuf::from("/specs"),
        stem: "run".into(),
        changes: Vec::new(),
        points: None,
        point: None,
    };
    let asker = Asker {
        user: "ada".into(),
        uid: 1000,
        group: "ada".into(),
        groups: vec!["ada".into()],
        home: PathBuf::from("/home/ada"),
    };
    let (site, _, problems) = effective(Vec::new());
    assert_eq!(problems, []);
    let outcome = request.check(&site, &asker).outcome;
    assert_eq!(outcome.problems, []);
    outcome.resolved.unwrap()
}

impl Yard {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::start(&dir.path().join("t.db")).unwrap();
        Self { store, dir }
    }

    /// As another daemon finds it.
    pub(super) fn reopened(self) -> Self {
        Self { store: Store::start(&self.path()).unwrap(), dir: self.dir }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("t.db")
    }

    pub(super) async fn new_run(&self, name: &str) -> NewRun {
        let id = self.store.next_number().await.unwrap();
        NewRun {
            id,
            owner: "ada".into(),
            key: None,
            spec_digest: "digest".into(),
            spec: "as asked".into(),
            resolved: resolved(name),
            inputs: Inputs::default(),
            run_dir: PathBuf::from(format!("/runs/{id}-{name}")),
            if_active: IfActive::Submit,
            start: None,
            asked: None,
            now: t(0),
        }
    }

    /// A sweep of so many points, each with its number as its seed.
    pub(super) async fn new_sweep(&self, count: u32, opening: Option<Opening>) -> NewSweep {
        let id = self.store.next_numbers(count + 1).await.unwrap();
        let point = |number: u32| {
            let parameters = json!({ "args.seed": number });
            let given = Given { parameters, ..Given::default() };
            NewPoint::of(&PlannedPoint { set: 0, given }).unwrap()
        };
        NewSweep {
            id,
            owner: "ada".into(),
            key: None,
            spec_digest: "digest".into(),
            spec: "as asked".into(),
            about: About {
                early_stopping: None,
                method: SweepMethod::Grid,
                parameters: vec!["args.seed".into()],
                max_points: None,
                max_parallel: None,
                objective: None,
            },
            sets: vec![resolved("large")],
            points: (0..count).map(point).collect(),
            inputs: Inputs::default(),
            sweep_dir: PathBuf::from("/runs/large"),
            if_active: IfActive::Submit,
            asked: None,
            opening,
            now: t(0),
        }
    }

    /// Accepts a run of this name and gives its number.
    pub(super) async fn accepted(&self, name: &str) -> RunId {
        let new = self.new_run(name).await;
        let id = new.id;
        assert_eq!(
            self.store.accept(new).await.unwrap(),
            Acceptance::Recorded(Recorded::default())
        );
        id
    }

    pub(super) async fn row(&self, id: RunId) -> RunRow {
        self.store.run(id).await.unwrap().unwrap()
    }

    /// Records the intent to submit a run.
    pub(super) async fn intend(&self, id: RunId, bits: u128, now: Timestamp) -> Decision {
        let row = self.row(id).await;
        let intending =
            Intending { run: row.run, run_dir: row.run_dir, owner: row.owner, start: start(bits) };
        self.store.intend(intending, now).await.unwrap().unwrap().0
    }

    /// Records what an event makes of a run.
    pub(super) async fn tell(&self, id: RunId, event: Event, now: Timestamp) -> Decision {
        let decision = step(&self.row(id).await.run, &event, &policy(), now);
        self.store.record(decision.clone(), Vec::new(), now).await.unwrap();
        decision
    }
}

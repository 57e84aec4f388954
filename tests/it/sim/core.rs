//! The first driver: the two deciders in a loop that keeps everything in memory, as src/daemon does it with a database.
//!
//! `reconcile`, `observe` and `admission` there are what this follows, step by step and with their crashes, but for what
//! makes them slow. [`crate::sim::whole`] drives the real ones.

use std::collections::BTreeSet;

use jiff::Timestamp;

use trainyard::domain::ids::{JobKey, RunId, SubmissionId, Token};
use trainyard::domain::run::{
    Act, Answer, Decision, Look, Phase, Policy, Reason, Run, Seen, State, Wish, WishKind, decide,
};
use trainyard::domain::spec::Resume;
use trainyard::domain::units::Seconds;
use trainyard::ports::{LookAnswer, Silence};

use crate::sim::campaign::{FOUND_MAX, LIVES, SEED, on_two_cores, report, told};
use crate::sim::chance::{Draw, FAULTS, Fault, Plan};
use crate::sim::model::Model;
use crate::sim::truth::{Rule, Violation};

/// `decide`, or a broken one.
pub(super) type Decide = fn(&Run, &Seen, &Policy, Timestamp) -> Decision;

/// A history that is not quiet so long after the last fault never will be.
const QUIET_SECONDS: i64 = 12_000;

/// A recorded run.
pub(super) struct Row {
    pub(super) run: Run,
    pub(super) policy: Policy,
    pub(super) waits_for: Option<RunId>,
    pub(super) wishes: Vec<Wish>,
}

/// How a submission was called, as it is recorded.
pub(super) struct CallRecord {
    pub(super) submission: SubmissionId,
    pub(super) answer: Option<Answer>,
    pub(super) called_at: Timestamp,
    pub(super) is_here: bool,
}

/// A look that is under way, or was answered after its pass had gone on.
pub(super) struct Looked {
    pub(super) asked: BTreeSet<Token>,
    pub(super) asked_at: Timestamp,
    pub(super) answer: Result<LookAnswer, Silence>,
    pub(super) told_at: i64,
}

/// What a daemon keeps in memory.
#[derive(Default)]
pub(super) struct Process {
    /// Calls whose answer it waits for: the submission's place, and the call's.
    pub(super) under_way: Vec<(usize, usize)>,
    pub(super) cancelled: Vec<JobKey>,
    pub(super) is_reachable: bool,
    pub(super) taken: Vec<u32>,
    pub(super) look: Option<Looked>,
}

/// Why a pass broke off.
pub(super) struct Crash;

pub(super) struct World {
    pub(super) model: Model,
    pub(super) decide: Decide,
    pub(super) rows: Vec<Row>,
    pub(super) calls: Vec<CallRecord>,
    pub(super) process: Process,
    /// Who asks for what, and when.
    people: Vec<(i64, usize, WishKind)>,
    resumes: u32,
    pub(super) local_running_max: u32,
}

/// Plays a history to its end.
pub(super) fn play(plan: &Plan, decide: Decide, is_told: bool) -> (Model, Option<Violation>) {
    let mut world = World::new(plan, decide, is_told);
    while world.model.violation.is_none() && !world.is_quiet() {
        if world.model.t > world.model.calm_at + QUIET_SECONDS {
            world.never_quiet();
            break;
        }
        world.people();
        if world.pass().is_err() {
            world.crash();
        }
        let long = if world.process.under_way.is_empty() { 45 } else { 4 };
        let wait = 1 + world.model.chance.to(Draw::Pass, long);
        world.go_on(wait);
    }
    world.linger();
    let violation = world.model.violation.take();
    (world.model, violation)
}

impl World {
    fn new(plan: &Plan, decide: Decide, is_told: bool) -> Self {
        let mut model = Model::new(plan, is_told);
        let (mut rows, mut people) = (Vec::new(), Vec::new());
        for (n, number) in (1..).zip(0..model.runs.len()) {
            let mut policy = policy(u32::try_from(model.chance.to(Draw::Scene, 3)).unwrap_or(0));
            model.runs[number].saves = model.chance.to(Draw::Saves, 1) > 0;
            model.runs[number].saved_before = [-1, 0];
            policy.resume = model.runs[number].saves.then_some(Resume::Auto);
            let waits_for = (n > 1 && model.chance.to(Draw::Scene, 5) == 0).then_some(RunId(n - 1));
            rows.push(Row { run: Run::accepted(RunId(n)), policy, waits_for, wishes: Vec::new() });
            if model.chance.strikes(Fault::Cancel) {
                people.push((model.chance.to(Draw::People, 400), number, WishKind::Cancel));
            }
        }
        let local_running_max = 1 + u32::try_from(model.chance.to(Draw::Scene, 2)).unwrap_or(0);
        let (process, calls, resumes) = (Process::default(), Vec::new(), 0);
        Self { model, decide, rows, calls, process, people, resumes, local_running_max }
    }

    fn is_quiet(&self) -> bool {
        let is_over = |row: &Row| row.run.state.is_final() && row.wishes.is_empty();
        self.rows.iter().all(is_over) && self.people.is_empty()
    }

    fn never_quiet(&mut self) {
        let states: Vec<&str> = self.rows.iter().map(|row| row.run.state.as_str()).collect();
        self.model.accuse(Rule::NeverQuiet, |_| format!("the runs are {states:?}"));
    }

    /// All runs are over: whatever still lives has to leave them alone.
    fn linger(&mut self) {
        if self.model.violation.is_none() {
            self.model.advance(self.model.t + 4_000);
        }
    }

    /// Time passes, and the answers of sbatch are recorded as they come.
    pub(super) fn go_on(&mut self, seconds: i64) {
        let to = self.model.t + seconds;
        self.model.advance(to);
        let under_way = std::mem::take(&mut self.process.under_way);
        for (submitted, call) in under_way {
            let Some(answer) = self.model.calls[call].answer.clone() else {
                self.process.under_way.push((submitted, call));
                continue;
            };
            self.process.is_reachable = !matches!(answer, Answer::Unreachable { .. });
            let id = self.model.submitted[submitted].id;
            if let Some(record) = self.calls.iter_mut().find(|record| record.submission == id) {
                record.answer = Some(answer);
            }
        }
    }

    /// People ask for what they want; who asks too late is told so.
    fn people(&mut self) {
        let (t, now) = (self.model.t, self.model.now());
        let mut people = std::mem::take(&mut self.people);
        people.retain(|(at, n, kind)| {
            if *at > t {
                return true;
            }
            let row = &mut self.rows[*n];
            if row.run.state.is_final() == (*kind == WishKind::Resume) {
                self.model.tell(|_| format!("somebody asks: {kind:?} run {}", n + 1));
                row.wishes.push(Wish { id: 1, kind: *kind, by: "anna".to_owned(), at: now });
            }
            false
        });
        self.people = people;
    }

    /// The daemon ends without a word.
    fn crash(&mut self) {
        self.process = Process::default();
        let away = self.model.chance.to(Draw::Trouble, 200);
        let is_elsewhere = self.model.chance.strikes(Fault::OtherHost);
        self.model.tell(|_| {
            let place = if is_elsewhere { ", on another machine" } else { "" };
            format!("the daemon is killed, and back after {away} s{place}")
        });
        if is_elsewhere {
            self.calls.iter_mut().for_each(|call| call.is_here = false);
        }
        self.go_on(away);
    }

    /// Before each effect the daemon may die.
    pub(super) fn effect(&mut self, what: &str) -> Result<(), Crash> {
        if self.model.chance.strikes(Fault::Crash) {
            self.model.tell(|_| format!("the daemon dies before it would {what}"));
            return Err(Crash);
        }
        Ok(())
    }

    /// Records a decision, if there is anything to record.
    pub(super) fn record(&mut self, n: usize, decision: &Decision) {
        let before = std::mem::replace(&mut self.rows[n].run, decision.run.clone());
        let row = &mut self.rows[n];
        let is_cancel = |wish: &Wish| wish.kind == WishKind::Cancel;
        if row.wishes.iter().any(is_cancel) && !before.state.is_final() {
            self.model.runs[n].is_cancelled = true;
        }
        row.wishes.clear();
        let most = row.policy.max_restarts;
        self.model.tell(|_| {
            let notes: Vec<String> = decision
                .notes
                .iter()
                .map(|note| format!("[{}] {}", note.kind, note.message))
                .collect();
            format!(
                "recorded: run {} is {}; {}",
                n + 1,
                decision.run.state.as_str(),
                notes.join("; ")
            )
        });
        self.model.recorded(n, &before, decision, most);
        if decision.run.state.is_final() && !before.state.is_final() {
            let may_resume = self.resumes < 2 && self.model.chance.strikes(Fault::Resume);
            if may_resume {
                self.resumes += 1;
                let at = self.model.t + self.model.chance.to(Draw::People, 200);
                self.people.push((at, n, WishKind::Resume));
            }
        }
    }

    pub(super) fn perform(&mut self, act: Act) -> Result<(), Crash> {
        let Act::Cancel { job, token, grace } = act;
        self.effect("cancel a job")?;
        if self.model.cancel(&job, &token, grace).is_ok() && !self.process.cancelled.contains(&job)
        {
            self.process.cancelled.push(job);
        }
        Ok(())
    }

    pub(super) fn is_live(&self, n: usize) -> bool {
        !self.rows[n].run.state.is_final() || !self.rows[n].wishes.is_empty()
    }

    pub(super) fn place_of(&self, id: SubmissionId) -> usize {
        self.model.submitted.iter().position(|known| known.id == id).unwrap_or(0)
    }

    pub(super) fn is_under_way(&self, id: SubmissionId) -> bool {
        self.process.under_way.iter().any(|(n, _)| self.model.submitted[*n].id == id)
    }

    fn pass(&mut self) -> Result<(), Crash> {
        let mut seen = self.observe();
        for n in 0..self.rows.len() {
            let Some(seen) = seen.get_mut(n).and_then(Option::take) else { continue };
            let (now, before) = (self.model.now(), self.rows[n].run.clone());
            let decision = (self.decide)(&before, &seen, &self.rows[n].policy, now);
            self.model.silence_held(n, (&before, &decision.run), &seen);
            if decision == Decision::stay(&before) && self.rows[n].wishes.is_empty() {
                self.deliver_again(n, &seen)?;
                continue;
            }
            self.effect("record a decision")?;
            self.record(n, &decision);
            for act in decision.acts.clone() {
                self.perform(act)?;
            }
            let current = decision.run.submission.as_ref().and_then(|known| known.job.clone());
            let is_final = decision.run.state.is_final();
            let closed = decision.closed.iter().map(|attempt| attempt.job.clone());
            let mut over: Vec<JobKey> =
                closed.filter(|job| Some(job) != current.as_ref()).collect();
            over.extend(current.filter(|_| is_final));
            self.process.cancelled.retain(|job| !over.contains(job));
        }
        self.effect("clear the inbox")?;
        let taken = std::mem::take(&mut self.process.taken);
        if !taken.is_empty() && self.model.remove_letters(&taken).is_err() {
            self.process.taken = taken;
        }
        self.admit_waiting()
    }

    /// As in src/daemon/reconcile.rs: a cancel that this process has not delivered is delivered now.
    fn deliver_again(&mut self, n: usize, seen: &Seen) -> Result<(), Crash> {
        let run = &self.rows[n].run;
        let State::Stopping { .. } = run.state else { return Ok(()) };
        let job = run.submission.as_ref().and_then(|submission| submission.job.clone());
        let (Look::Job(shown), Some(job)) = (&seen.look, job) else { return Ok(()) };
        let is_alive = matches!(shown.phase, Phase::Waiting { .. } | Phase::Running);
        if !is_alive || shown.job != job {
            return Ok(());
        }
        if self.process.cancelled.contains(&job) {
            return Ok(());
        }
        let grace = shown.phase == Phase::Running;
        self.perform(Act::Cancel { job, token: shown.token.clone(), grace })
    }
}

fn policy(max_restarts: u32) -> Policy {
    Policy {
        max_restarts,
        restart_on: vec![Reason::Preempted, Reason::NodeFailure],
        restart_exit_codes: vec![75],
        warn_before_end: Seconds(60),
        resume: None,
        backoff: Seconds(10),
        in_doubt_wait: Seconds(60),
        absent_grace: Seconds(900),
        stop_patience: Seconds(60),
        refused_wait: Seconds(15),
        unreachable_wait: Seconds(10),
        settled_after: Seconds(10),
    }
}

#[test]
fn no_history_breaks_a_promise() {
    let (lives, seed) = (told("TRAINYARD_SIM_LIVES", LIVES), told("TRAINYARD_SIM_SEED", SEED));
    let began = std::time::Instant::now();
    let tally = on_two_cores(seed << 32, lives, decide, FOUND_MAX);
    // Read by whoever runs the campaign.
    println!(
        "{} lives in {} histories with {} jobs in {:.1} s",
        tally.lives,
        tally.histories,
        tally.jobs,
        began.elapsed().as_secs_f64()
    );
    println!("{:?}", tally.struck);
    let report = report(&tally, decide);
    assert!(report.is_empty(), "{report}");
    // A fault that never strikes is not tried.
    for (fault, _) in FAULTS {
        assert!(tally.struck.contains_key(fault), "{fault:?} never struck");
    }
}

/// Seeds of histories that once broke a promise, each of another kind.
#[test]
fn histories_that_once_broke_a_promise_do_not_any_more() {
    for seed in [
        4_295_393_695,
        4_296_427_728,
        4_295_738_068,
        4_295_167_593,
        4_296_385_076,
        4_296_335_378,
        4_298_700_753,
        4_298_480_739,
        4_297_025_905,
        4_299_925_265,
        4_299_021_737,
        4_297_039_997,
    ] {
        let (_, violation) = play(&Plan::of(seed), decide, false);
        assert_eq!(violation, None, "{seed}");
    }
}

//! The second driver: the real reconciler over a real database, with the model behind its ports.
//!
//! A crash drops the process with everything that it had in memory, in the middle of whatever it did; the next one opens the
//! same database. What is recorded is read after each pass and judged as in the first driver.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use trainyard::daemon::{World, pass};
use trainyard::domain::ids::RunId;
use trainyard::domain::run::{Decision, Note, Reason, Run, WishKind};
use trainyard::store::{RunRow, Store};

use crate::sim::campaign::{SEED, told};
use crate::sim::chance::{Draw, Fault, Plan};
use crate::sim::model::Model;
use crate::sim::truth::{Rule, Violation};
use crate::sim::whole::ports::{Ports, Shared};
use crate::sim::whole::yard::{new_runs, parts};

mod ports;
mod yard;

/// Lives of the everyday round; `TRAINYARD_SIM_WHOLE_LIVES` says otherwise.
const LIVES: u64 = 1_000;
/// A history that is not quiet so long after the last fault never will be.
const QUIET_SECONDS: i64 = 12_000;

/// One process of the daemon. Dropped without a word when it crashes.
struct Process {
    runtime: Runtime,
    world: Arc<World>,
}

impl Process {
    fn start(ports: &Ports, dir: &Path, is_elsewhere: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = if is_elsewhere { "there" } else { "here" };
        let world = runtime.block_on(async { World::new(parts(ports, dir, host)) });
        Self { runtime, world: Arc::new(world) }
    }
}

struct Whole {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
    known: Vec<(Run, usize)>,
    people: Vec<(i64, usize, WishKind)>,
    wished: Vec<bool>,
}

/// Plays a history to its end.
fn play(plan: &Plan, is_told: bool) -> (usize, Option<Violation>, Vec<String>) {
    let mut whole = Whole::new(plan, is_told);
    let mut ports = whole.ports();
    let mut process = Process::start(&ports, whole.dir.path(), false);
    process.runtime.block_on(new_runs(&process.world.store, &whole.shared.restarts_max));
    loop {
        let t = whole.model(|model| model.t);
        let calm_at = whole.model(|model| model.calm_at);
        let is_over = whole.model(|model| model.violation.is_some());
        if is_over || whole.is_quiet() {
            break;
        }
        if t > calm_at + QUIET_SECONDS {
            let states: Vec<&str> = whole.known.iter().map(|(run, _)| run.state.as_str()).collect();
            whole.model(|model| model.accuse(Rule::NeverQuiet, |_| format!("{states:?}")));
            break;
        }
        ports.0.store.get_or_init(|| process.world.store.clone());
        whole.people(&process);
        let is_alive = whole.pass(&process);
        whole.judge(&process);
        if !is_alive {
            (ports, process) = whole.crash(process);
        }
        let waits = *whole.shared.waiting.borrow() > 0;
        let long = if waits { 4 } else { 45 };
        let wait = 1 + whole.model(|model| model.chance.to(Draw::Pass, long));
        whole.go_on(wait);
        whole.hear(&process);
    }
    let runs = whole.known.len();
    process.runtime.shutdown_background();
    let mut model = whole.shared.model.lock().unwrap();
    (runs, model.violation.take(), model.told.take().unwrap_or_default())
}

impl Whole {
    fn new(plan: &Plan, is_told: bool) -> Self {
        let mut model = Model::new(plan, is_told);
        "main".clone_into(&mut model.cluster);
        let mut people = Vec::new();
        let (mut restarts_max, mut known) = (Vec::new(), Vec::new());
        for n in 0..model.runs.len() {
            restarts_max.push(u32::try_from(model.chance.to(Draw::Scene, 3)).unwrap());
            known.push((Run::accepted(RunId(i64::try_from(n).unwrap() + 1)), 0));
            if model.chance.strikes(Fault::Cancel) {
                people.push((model.chance.to(Draw::People, 400), n, WishKind::Cancel));
            }
        }
        let wished = vec![false; known.len()];
        let shared = Arc::new(Shared {
            model: Mutex::new(model),
            time: watch::Sender::new(0),
            crash: Notify::new(),
            waiting: watch::Sender::new(0),
            store: OnceLock::new(),
            restarts_max,
            admitted: Mutex::default(),
        });
        // In memory where there is such a place: a simulated crash is not one of the machine.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { dir: dir.unwrap(), shared, known, people, wished }
    }

    fn ports(&self) -> Ports {
        Ports(Arc::clone(&self.shared))
    }

    fn model<T>(&self, ask: impl FnOnce(&mut Model) -> T) -> T {
        ask(&mut self.shared.model.lock().unwrap())
    }

    fn is_quiet(&self) -> bool {
        self.known.iter().all(|(run, _)| run.state.is_final()) && self.people.is_empty()
    }

    fn people(&mut self, process: &Process) {
        let (t, now) = self.model(|model| (model.t, model.now()));
        let (due, later) = self.people.drain(..).partition(|(at, ..)| *at <= t);
        self.people = later;
        let due: Vec<(i64, usize, WishKind)> = due;
        for (_, n, kind) in due {
            let run = &self.known[n].0;
            if run.state.is_final() {
                continue;
            }
            self.model(|model| model.tell(|_| format!("somebody asks: {kind:?} run {}", n + 1)));
            self.wished[n] |= kind == WishKind::Cancel;
            let asked = process.world.store.wish(run.id, kind, "anna".to_owned(), now);
            process.runtime.block_on(asked).unwrap();
        }
    }

    /// One pass of the real daemon. `false` when it died in it.
    fn pass(&self, process: &Process) -> bool {
        process.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.shared.crash.notified() => return false,
                report = pass(&process.world) => drop(report.unwrap()),
            }
            // What it has started comes as far as it can: to its sbatch, or to its death.
            loop {
                let waiting = *self.shared.waiting.borrow();
                if waiting == process.world.tasks.len() {
                    break !self.model(|model| model.chance.strikes(Fault::Crash));
                }
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        })
    }

    /// What is recorded is held against what is true.
    fn judge(&mut self, process: &Process) {
        for n in 0..self.known.len() {
            let (before, lines) = self.known[n].clone();
            let read = async {
                let row: RunRow = process.world.store.run(before.id).await.unwrap().unwrap();
                (row.run, process.world.store.events(before.id).await.unwrap())
            };
            let (run, events) = process.runtime.block_on(read);
            let new = events.iter().skip(lines);
            let notes: Vec<Note> = new
                .map(|line| Note { kind: line.kind.clone(), message: line.message.clone() })
                .collect();
            let by_user = run.state.reason_and_message().0 == Some(Reason::CancelledByUser);
            let is_cancelled = self.wished[n] && by_user;
            self.known[n] = (run.clone(), events.len());
            if notes.is_empty() && run == before {
                continue;
            }
            let decision = Decision { run, closed: Vec::new(), acts: Vec::new(), notes };
            let most = self.shared.restarts_max[n];
            self.model(|model| {
                model.runs[n].is_cancelled |= is_cancelled;
                model.tell(|_| {
                    let notes: Vec<&str> =
                        decision.notes.iter().map(|note| note.message.as_str()).collect();
                    format!(
                        "run {} is {}; {}",
                        n + 1,
                        decision.run.state.as_str(),
                        notes.join("; ")
                    )
                });
                model.recorded(n, &before, &decision, most);
            });
        }
        let admitted = std::mem::take(&mut *self.shared.admitted.lock().unwrap());
        for n in admitted {
            let most = self.shared.restarts_max[n];
            self.model(|model| model.admitted(n, most));
        }
    }

    fn crash(&mut self, process: Process) -> (Ports, Process) {
        // What was on its way to the disk is there: a process that is dead writes nothing later.
        let last = process.world.store.call(|_| Ok(()));
        process.runtime.block_on(last).unwrap();
        process.runtime.shutdown_background();
        drop(process.world);
        let (away, is_elsewhere) = self.model(|model| {
            let away = model.chance.to(Draw::Trouble, 200);
            let is_elsewhere = model.chance.strikes(Fault::OtherHost);
            model.tell(|_| format!("the daemon is killed, and back after {away} s"));
            (away, is_elsewhere)
        });
        self.go_on(away);
        // Nothing of the old process may reach into the new one, but the model goes on.
        let calm_model = Model::new(&Plan::of(0), false);
        let model = std::mem::replace(&mut *self.shared.model.lock().unwrap(), calm_model);
        let restarts_max = self.shared.restarts_max.clone();
        self.shared = Arc::new(Shared {
            time: watch::Sender::new(model.t),
            model: Mutex::new(model),
            crash: Notify::new(),
            waiting: watch::Sender::new(0),
            store: OnceLock::new(),
            restarts_max,
            admitted: Mutex::default(),
        });
        let ports = self.ports();
        let process = Process::start(&ports, self.dir.path(), is_elsewhere);
        (ports, process)
    }

    fn go_on(&self, seconds: i64) {
        let t = self.model(|model| {
            model.advance(model.t + seconds);
            model.t
        });
        self.shared.time.send_replace(t);
    }

    /// Whoever waited for an answer that has come records it.
    fn hear(&self, process: &Process) {
        let unanswered = |process: &Process| {
            let waiting = *self.shared.waiting.borrow();
            waiting == process.world.tasks.len()
        };
        process.runtime.block_on(async {
            // Each of them looks once at what has come.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            while !unanswered(process) {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        });
    }
}

fn store_at(dir: &Path) -> Store {
    Store::start(&dir.join("trainyard.db")).unwrap()
}

#[test]
fn the_real_reconciler_breaks_no_promise() {
    let lives = told("TRAINYARD_SIM_WHOLE_LIVES", LIVES);
    let seed = told("TRAINYARD_SIM_SEED", SEED) << 32;
    let began = std::time::Instant::now();
    let (mut lived, mut broken) = (0, None);
    for seed in seed.. {
        if lived >= lives || broken.is_some() {
            break;
        }
        let (runs, violation, _) = play(&Plan::of(seed), false);
        lived += runs as u64;
        broken = violation.map(|violation| (seed, violation));
    }
    // Read by whoever runs the campaign.
    println!("{lived} lives in {:.1} s", began.elapsed().as_secs_f64());
    if let Some((seed, violation)) = broken {
        let (_, _, told) = play(&Plan::of(seed), true);
        panic!("seed {seed}: {violation:?}\n  {}", told.join("\n  "));
    }
}

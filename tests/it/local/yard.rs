//! A state directory, a run root, and as much of a daemon as local jobs need.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trainyard::domain::ids::{JobKey, JobName, SubmissionId, Token};
use trainyard::domain::run::{Answer, JobEnd, Phase, Sighting};
use trainyard::domain::units::Seconds;
use trainyard::files::process::ProcessId;
use trainyard::hands::InProcess;
use trainyard::local::{LocalScheduler, Record, SUPERVISOR_VERB, Spool};
use trainyard::ports::{
    Asked, Clock, Hands, LookAnswer, NewRunDir, Output, Program, Scheduler, Silence, SubmitOrder,
    Wants,
};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_trainyard");
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
pub(super) const HOUR: Option<Seconds> = Some(Seconds(3600));

struct StoppedClock(Timestamp);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn random_bits(&self) -> u128 {
        0
    }
}

/// A state directory, a run root, and as much of a daemon as local jobs need.
pub(super) struct Yard {
    pub(super) dir: TempDir,
    pub(super) runtime: Runtime,
    pub(super) scheduler: LocalScheduler,
}

pub(super) struct Job {
    pub(super) key: JobKey,
    pub(super) asked: Asked,
    pub(super) run_dir: PathBuf,
    pub(super) spool: Spool,
}

pub(super) fn daemon(dir: &Path, program: &str) -> (Runtime, LocalScheduler) {
    daemon_at(dir, program, 0)
}

/// One whose clock shows so many seconds.
pub(super) fn daemon_at(dir: &Path, program: &str, seconds: i64) -> (Runtime, LocalScheduler) {
    let now = Timestamp::from_second(seconds).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let scheduler = LocalScheduler::new(
        Arc::new(InProcess::new(runtime.handle().clone())),
        Arc::new(StoppedClock(now)),
        dir.join("state"),
        PathBuf::from(program),
        vec![
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("TRAINYARD_JOB_ID".to_owned(), "forged".to_owned()),
        ],
    );
    (runtime, scheduler)
}

#[track_caller]
pub(super) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) fn pid_in(file: &Path) -> u32 {
    eventually("a pid", || fs_err::read_to_string(file).ok()?.trim().parse().ok())
}

pub(super) fn is_gone(pid: u32) -> bool {
    ProcessId::of(pid).unwrap().is_none()
}

pub(super) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

impl Yard {
    pub(super) fn new() -> Self {
        Self::launching(PROGRAM)
    }

    /// One that launches this instead of a supervisor.
    pub(super) fn launching(program: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, scheduler) = daemon(dir.path(), program);
        Self { dir, runtime, scheduler }
    }

    pub(super) fn hands(&self) -> InProcess {
        InProcess::new(self.runtime.handle().clone())
    }

    pub(super) fn order(
        &self,
        number: i64,
        time_limit: Option<Seconds>,
        script: &str,
    ) -> (SubmitOrder, Job) {
        let name = format!("{number}-x");
        let run_dir = self.dir.path().join("runs").join(&name);
        let new = NewRunDir {
            datasets: String::new(),
            path: run_dir.clone(),
            mode: 0o700,
            spec: String::new(),
            resolved: String::new(),
            script: script.to_owned(),
            sweep: None,
            code: PathBuf::from("../code"),
            patch: None,
            secrets: None,
        };
        self.hands().make_run_dir(&new).unwrap();
        let token = Token::from_bits(u128::from(number.unsigned_abs()));
        let submission = SubmissionId(number);
        let key: JobKey = format!("local:{number}").parse().unwrap();
        let order = SubmitOrder {
            submission,
            job_name: JobName {
                run_dir: name,
                offset: None,
                attempt_base: 1,
                token: token.clone(),
            },
            run_dir: run_dir.clone(),
            set: 0,
            array: None,
            time_limit,
            warn_before_end: Seconds(0),
            kill_wait: Seconds(30),
            umask: 0o077,
            exclude: Vec::new(),
        };
        let intent_at = jiff::Timestamp::UNIX_EPOCH;
        let asked = Asked {
            submission,
            token,
            job: Some(key.clone()),
            intent_at,
            wants: Wants::News,
            eager: false,
            unseen: false,
            provisional: false,
            restart: 0,
            submitted_at: None,
            shown: None,
        };
        let spool = Spool::of(&self.dir.path().join("state"), submission);
        (order, Job { key, asked, run_dir, spool })
    }

    pub(super) fn answer(&self, order: SubmitOrder) -> Answer {
        self.runtime.block_on(self.scheduler.submit(order, None))
    }

    #[track_caller]
    pub(super) fn submit(&self, time_limit: Option<Seconds>, script: &str) -> Job {
        let (order, job) = self.order(7, time_limit, script);
        let answer = self.answer(order);
        let expected = Answer::Acknowledged { job: job.key.clone(), notices: String::new() };
        assert_eq!(answer, expected);
        job
    }

    pub(super) fn try_look(&self, job: &Job) -> Result<Option<Sighting>, Silence> {
        let asked = [job.asked.clone()];
        match self.runtime.block_on(self.scheduler.look(&asked))? {
            LookAnswer::Seen { mut sightings, .. } => Ok(sightings.pop()),
            LookAnswer::NotDue => panic!("local jobs can always be looked at"),
        }
    }

    /// Whether the job is not known to be absent, although nothing is shown of it.
    pub(super) fn is_unsure(&self, job: &Job) -> bool {
        let asked = [job.asked.clone()];
        match self.runtime.block_on(self.scheduler.look(&asked)).unwrap() {
            LookAnswer::Seen { sightings, unsure, .. } => {
                assert_eq!(sightings, []);
                unsure == [job.asked.token.clone()]
            }
            LookAnswer::NotDue => panic!("local jobs can always be looked at"),
        }
    }

    pub(super) fn look(&self, job: &Job) -> Option<Sighting> {
        self.try_look(job).unwrap()
    }

    pub(super) fn running(&self, job: &Job) -> Record {
        eventually("running", || {
            self.look(job).filter(|seen| seen.phase == Phase::Running)?;
            job.spool.record().unwrap()
        })
    }

    pub(super) fn ended(&self, job: &Job) -> Sighting {
        eventually("an end", || {
            self.look(job).filter(|seen| matches!(seen.phase, Phase::Ended { .. }))
        })
    }

    #[track_caller]
    pub(super) fn ends(&self, job: &Job, word: &str, expected: (JobEnd, Option<i32>, Option<i32>)) {
        let seen = self.ended(job);
        let (end, exit_code, signal) = expected;
        assert_eq!(
            (seen.word.as_str(), seen.phase),
            (word, Phase::Ended { end, exit_code, signal })
        );
    }

    pub(super) fn cancel(&self, job: &Job, grace: bool) {
        self.runtime.block_on(self.scheduler.cancel(&job.key, &job.asked.token, grace)).unwrap();
    }

    /// Runs a supervisor to its end.
    pub(super) fn supervise(&self, job: &Job) -> Output {
        let program = Program {
            path: PathBuf::from(PROGRAM),
            args: vec![
                SUPERVISOR_VERB.to_owned(),
                job.spool.directory().to_str().unwrap().to_owned(),
            ],
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            stdin: None,
            deadline: PATIENCE,
            answer_bytes_max: 1 << 20,
        };
        self.runtime.block_on(self.hands().run(&program)).unwrap()
    }
}

impl Job {
    pub(super) fn log(&self) -> String {
        fs_err::read_to_string(self.run_dir.join("logs/local-7.out")).unwrap()
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.run_dir.join(name)
    }
}

//! The model behind the three ports: what the real reconciler asks, the model answers.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use trainyard::domain::bad_nodes::Node;
use trainyard::domain::checkpoint::{Branch, Format, Walked};
use trainyard::domain::dataset::{Found, Root};
use trainyard::domain::ids::{JobKey, RunId, Token};
use trainyard::domain::inbox::ScriptEvent;
use trainyard::domain::inputs::{CodeDigest, Stored};
use trainyard::domain::nodelist::NodeName;
use trainyard::domain::run::{Answer, Call, Revocation, State, Unreachable};
use trainyard::domain::units::Seconds;
use trainyard::ports::{
    ArchiveOrder, Archived, Asked, BuildFiles, Clock, CodeOrder, CopiedUpTo, DataOrder, Doomed,
    HandOut, Hands, Held, InboxItem, LookAnswer, NewRunDir, Orphan, Output, Program, ProgramError,
    Scheduler, Silence, StoredItem, Stretch, SubmitOrder, TakenCode, Weight,
};
use trainyard::store::Store;

use crate::sim::chance::{Draw, Fault};
use crate::sim::model::{Claim, ELSEWHERE_SECONDS, Model, Submitted};
use crate::sim::truth::Rule;

/// What one process of the daemon and the model have in common.
pub(super) struct Shared {
    pub(super) model: Mutex<Model>,
    /// The model's time, for those who wait for an answer.
    pub(super) time: watch::Sender<i64>,
    /// The daemon dies.
    pub(super) crash: Notify,
    /// Calls of sbatch that this process waits for.
    pub(super) waiting: watch::Sender<usize>,
    pub(super) store: OnceLock<Store>,
    pub(super) restarts_max: Vec<u32>,
    /// Runs that were submitted in this pass.
    pub(super) admitted: Mutex<Vec<usize>>,
}

/// One process of the daemon: its ports.
#[derive(Clone)]
pub(super) struct Ports(pub(super) Arc<Shared>);

/// The run that a path in the model names.
pub(super) fn run_of(path: &str) -> usize {
    let digits: String = path.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<usize>().unwrap_or(1).saturating_sub(1)
}

fn run_of_dir(run_dir: &Path) -> usize {
    run_of(&run_dir.file_name().unwrap_or_default().to_string_lossy())
}

fn heard<T>(answer: Result<T, Silence>) -> IoResult<T> {
    answer.map_err(|silence| Error::new(ErrorKind::TimedOut, silence))
}

impl Ports {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.0.model.lock().unwrap()
    }

    /// Before an act the daemon may die; then it never comes to it.
    async fn effect(&self, what: &str) {
        let is_struck = {
            let mut model = self.model();
            let is_struck = model.chance.strikes(Fault::Crash);
            if is_struck {
                model.tell(|_| format!("the daemon dies before it would {what}"));
            }
            is_struck
        };
        if is_struck {
            self.0.crash.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// The intent has to be on disk before sbatch is called.
    async fn is_recorded(&self, order: &SubmitOrder) -> bool {
        let Some(store) = self.0.store.get() else { return false };
        let n = run_of(&order.job_name.run_dir);
        let id = RunId(i64::try_from(n).unwrap() + 1);
        let (row, calls) = (store.run(id).await, store.calls(vec![order.submission]).await);
        let is_in_row = row.is_ok_and(|row| {
            row.is_some_and(|row| {
                let is_called = matches!(
                    row.run.state,
                    State::Submitting {
                        call: Call::UnderWay
                            | Call::Unreachable(Unreachable { again_at: None, .. })
                    }
                );
                let is_its = |known: &trainyard::domain::run::Submission| {
                    known.id == order.submission && known.token == order.job_name.token
                };
                is_called && row.run.submission.as_ref().is_some_and(is_its)
            })
        });
        let is_open = |call: &Option<_>| {
            call.as_ref().is_some_and(|call: &trainyard::store::CallRecord| call.answer.is_none())
        };
        is_in_row && calls.is_ok_and(|calls| calls.iter().all(is_open))
    }

    fn called(&self, order: &SubmitOrder, is_recorded: bool) -> usize {
        let mut model = self.model();
        if !is_recorded {
            model.accuse(Rule::UnrecordedAct, |_| format!("sbatch for {}", order.job_name));
        }
        let place = model.submitted.iter().position(|known| known.id == order.submission);
        let place = place.unwrap_or_else(|| {
            let run = run_of(&order.job_name.run_dir);
            model.submitted.push(Submitted {
                run,
                id: order.submission,
                token: order.job_name.token.clone(),
                attempt_base: order.job_name.attempt_base,
                claim: Claim::Free,
            });
            self.0.admitted.lock().unwrap().push(run);
            model.submitted.len() - 1
        });
        model.sbatch(place)
    }
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        self.model().now()
    }

    fn random_bits(&self) -> u128 {
        self.model().chance.bits()
    }
}

impl Scheduler for Ports {
    fn submit(&self, order: SubmitOrder, _: Option<Held>) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let is_recorded = self.is_recorded(&order).await;
            let mut time = self.0.time.subscribe();
            let call = self.called(&order, is_recorded);
            self.0.waiting.send_modify(|waiting| *waiting += 1);
            loop {
                if let Some(answer) = self.model().calls[call].answer.clone() {
                    self.0.waiting.send_modify(|waiting| *waiting -= 1);
                    return answer;
                }
                if time.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
    }

    fn may_still_submit<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, bool> {
        let model = self.model();
        let age = model.now().duration_since(orphan.called_at).as_secs();
        let place = model.submitted.iter().position(|known| known.token == orphan.token);
        // One that is not known was never called: its daemon died before.
        let is_there = place.is_some_and(|place| model.is_being_submitted(place));
        let may = if orphan.is_here { is_there } else { age < ELSEWHERE_SECONDS };
        Box::pin(async move { may })
    }

    fn look<'a>(&'a self, asked: &'a [Asked]) -> BoxFuture<'a, Result<LookAnswer, Silence>> {
        Box::pin(async move {
            let mut time = self.0.time.subscribe();
            let (answer, told_at) = {
                let mut model = self.model();
                let answer = model.look(asked);
                let late = model.chance.strikes(Fault::LookTakesLong);
                let wait = if late { 1 + model.chance.to(Draw::Pass, 60) } else { 0 };
                model.tell(|_| format!("a look, told after {wait} s: {answer:?}"));
                (answer, model.t + wait)
            };
            while self.model().t < told_at {
                if time.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            answer
        })
    }

    fn cancel<'a>(
        &'a self,
        job: &'a JobKey,
        token: &'a Token,
        grace: bool,
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async move {
            self.effect("cancel a job").await;
            let done = self.model().cancel(job, token, grace);
            done.map_err(|()| Silence { who: "scancel".into(), why: "no answer".into() })
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, Silence>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn exclude<'a>(
        &'a self,
        _job: &'a JobKey,
        _token: &'a Token,
        _nodes: &'a [NodeName],
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async { Ok(()) })
    }

    fn forget<'a>(&'a self, _job: &'a JobKey) -> BoxFuture<'a, ()> {
        Box::pin(self.effect("forget a job"))
    }

    fn settled_after(&self) -> Seconds {
        Seconds(10)
    }

    fn absent_grace(&self) -> Seconds {
        Seconds(900)
    }
}

impl Hands for Ports {
    fn run(&self, program: &Program) -> BoxFuture<'static, Result<Output, ProgramError>> {
        let (path, deadline) = (program.path.clone(), program.deadline);
        Box::pin(async move { Err(ProgramError::Deadline { path, deadline }) })
    }

    fn is_running_with(&self, _begins: &str, _ends: &str) -> IoResult<bool> {
        Err(ErrorKind::Unsupported.into())
    }

    fn launch(&self, program: &Program) -> Result<u32, ProgramError> {
        Err(ProgramError::Deadline { path: program.path.clone(), deadline: program.deadline })
    }

    fn make_store(&self, _run_root: &Path, _mode: u32) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn capture_code(&self, _order: &CodeOrder) -> IoResult<TakenCode> {
        Err(ErrorKind::Unsupported.into())
    }

    fn use_code(&self, _run_root: &Path, _digest: &CodeDigest) -> IoResult<bool> {
        Err(ErrorKind::Unsupported.into())
    }

    fn code_list(&self, _run_root: &Path, _digest: &CodeDigest) -> IoResult<String> {
        Err(ErrorKind::Unsupported.into())
    }

    fn stored(&self, _run_root: &Path) -> IoResult<Vec<StoredItem>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn linked(&self, _run_root: &Path) -> IoResult<BTreeSet<(Stored, String)>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn remove_stored(&self, _run_root: &Path, _items: &[StoredItem]) -> IoResult<Vec<StoredItem>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn weigh(&self, _directory: &Path) -> IoResult<Weight> {
        Err(ErrorKind::Unsupported.into())
    }

    fn make_run_dir(&self, _order: &NewRunDir) -> IoResult<bool> {
        Err(ErrorKind::Unsupported.into())
    }

    fn data_root(&self, _path: &Path) -> IoResult<Option<Root>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn fingerprint(&self, _order: &DataOrder) -> IoResult<Found> {
        Err(ErrorKind::Unsupported.into())
    }

    fn checkpoints(&self, _directory: &Path, _: Option<Format>) -> IoResult<Walked> {
        Err(ErrorKind::Unsupported.into())
    }

    fn changed_at(&self, directories: &[PathBuf]) -> Vec<Option<Timestamp>> {
        vec![None; directories.len()]
    }

    fn archive_checkpoint(&self, _: &ArchiveOrder, _: Option<CopiedUpTo>) -> IoResult<Archived> {
        Err(ErrorKind::Unsupported.into())
    }

    fn hide_checkpoints(&self, _: &Path, doomed: &[Doomed]) -> Vec<Result<PathBuf, String>> {
        doomed.iter().map(|_| Err("unsupported".to_owned())).collect()
    }

    fn remove_hidden(&self, _directory: &Path, _hidden: &Path) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn choose_checkpoint(&self, _run_dir: &Path, _branch: &Branch) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn add_points(&self, _sweep_dir: &Path, _from: u32, _lines: &str) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn take_secrets(&self, _source: &Path, _run_dir: &Path) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn write_build(&self, _order: &BuildFiles) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn hand_out(&self, _order: &HandOut) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn discard_run_dir(&self, _run_dir: &Path) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn tidy_point(&self, _run_dir: &Path) -> IoResult<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn read_inbox(
        &self,
        run_root: &Path,
        tokens: &BTreeSet<Token>,
        max: usize,
    ) -> IoResult<Vec<InboxItem>> {
        let letters = heard(self.model().read_inbox())?;
        let ours = letters.into_iter().filter(|letter| tokens.contains(&letter.event.token));
        let item = |letter: crate::sim::files::Letter| InboxItem {
            file: run_root.join(letter.number.to_string()),
            event: Some(letter.event),
        };
        Ok(ours.take(max).map(item).collect())
    }

    fn inbox_tokens(&self, _run_root: &Path) -> IoResult<BTreeSet<Token>> {
        let letters = heard(self.model().read_inbox())?;
        Ok(letters.into_iter().map(|letter| letter.event.token).collect())
    }

    fn sweep_inbox(&self, _root: &Path, over: &BTreeSet<Token>, _: Timestamp) -> IoResult<()> {
        let mut model = self.model();
        let letters = heard(model.read_inbox())?;
        let swept = letters.iter().filter(|letter| over.contains(&letter.event.token));
        let swept: Vec<u32> = swept.map(|letter| letter.number).collect();
        heard(model.remove_letters(&swept))
    }

    fn remove(&self, files: &[PathBuf]) -> IoResult<()> {
        let number = |file: &PathBuf| file.file_name()?.to_str()?.parse().ok();
        let numbers: Vec<u32> = files.iter().filter_map(number).collect();
        heard(self.model().remove_letters(&numbers))
    }

    fn exit_marker(&self, run_dir: &Path, attempt: u32) -> IoResult<Option<ScriptEvent>> {
        heard(self.model().marker(run_of_dir(run_dir), attempt))
    }

    fn revoke(&self, _run_dir: &Path, token: &Token) -> IoResult<Revocation> {
        heard(self.model().revoke(token))
    }

    fn claim_owner(&self, _run_dir: &Path, token: &Token) -> IoResult<Option<JobKey>> {
        heard(self.model().claim_owner(token))
    }

    fn read(&self, _file: &Path, _from: u64, _max: usize) -> IoResult<Stretch> {
        Ok(Stretch::default())
    }

    fn length(&self, _file: &Path) -> IoResult<u64> {
        Ok(0)
    }

    fn tail_offset(&self, _file: &Path, _lines: u64) -> IoResult<u64> {
        Ok(0)
    }
}

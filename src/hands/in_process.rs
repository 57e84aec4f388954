//! [`Hands`] of personal mode: what is done for the user is done by this process, which is the user's.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::domain::checkpoint::{Branch, Format, Walked};
use crate::domain::dataset::{Found, Root};
use crate::domain::ids::{JobKey, Token};
use crate::domain::inbox::ScriptEvent;
use crate::domain::inputs::{CodeDigest, Stored};
use crate::domain::run::Revocation;
use crate::files::process;
use crate::hands::{
    archive, build, checkpoints, claim, code, dataset, inbox, point, program, regular, removal,
    retire, run_dir, secrets, stored, table,
};
use crate::ports::{
    ArchiveOrder, Archived, BuildFiles, CodeOrder, CopiedUpTo, DataOrder, Doomed, HandOut, Hands,
    Held, InboxItem, NewRunDir, Output, Program, ProgramError, StoredItem, Stretch, TakenCode,
    Weight,
};

/// Does everything as this process.
#[derive(Debug, Clone)]
pub struct InProcess {
    runtime: Handle,
}

impl InProcess {
    /// `runtime` waits for launched programs, so that none stays behind as a zombie.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Hands for InProcess {
    fn run(&self, program: &Program) -> BoxFuture<'static, Result<Output, ProgramError>> {
        Box::pin(program::run(program.clone()))
    }

    fn hold(&self, program: &Program, turn: OwnedSemaphorePermit) -> Option<Held> {
        let path = program.stdin.clone()?;
        let (read, told) = oneshot::channel();
        let ended = self.runtime.spawn(program::run_held(program.clone(), path, told));
        // As with one that is not held, nothing of it stays when nobody waits for it any more.
        let ended = AbortOnDropHandle::new(ended);
        let path = program.path.clone();
        let ended = async move {
            let died = |source| ProgramError::Hear { path, source: io::Error::other(source) };
            ended.await.unwrap_or_else(|error| Err(died(error)))
        };
        Some(Held::new(program.clone(), read, Box::pin(ended), turn))
    }

    fn is_running_with(&self, begins: &str, ends: &str) -> io::Result<bool> {
        process::any_with_argument(begins, ends)
    }

    fn launch(&self, program: &Program) -> Result<u32, ProgramError> {
        program::launch(&self.runtime, program)
    }

    fn make_store(&self, run_root: &Path, mode: u32) -> io::Result<()> {
        code::make_store(run_root, mode)
    }

    fn capture_code(&self, order: &CodeOrder) -> io::Result<TakenCode> {
        code::capture(&self.runtime, order)
    }

    fn use_code(&self, run_root: &Path, digest: &CodeDigest) -> io::Result<bool> {
        code::use_stored(run_root, digest)
    }

    fn code_list(&self, run_root: &Path, digest: &CodeDigest) -> io::Result<String> {
        code::list(run_root, digest)
    }

    fn stored(&self, run_root: &Path) -> io::Result<Vec<StoredItem>> {
        stored::list(run_root)
    }

    fn linked(&self, run_root: &Path) -> io::Result<BTreeSet<(Stored, String)>> {
        stored::linked(run_root)
    }

    fn remove_stored(&self, run_root: &Path, items: &[StoredItem]) -> io::Result<Vec<StoredItem>> {
        stored::remove(run_root, items)
    }

    fn weigh(&self, directory: &Path) -> io::Result<Weight> {
        run_dir::weigh(directory)
    }

    fn make_run_dir(&self, order: &NewRunDir) -> io::Result<bool> {
        run_dir::make(order)
    }

    fn data_root(&self, path: &Path) -> io::Result<Option<Root>> {
        dataset::root(path)
    }

    fn fingerprint(&self, order: &DataOrder) -> io::Result<Found> {
        dataset::fingerprint(order)
    }

    fn checkpoints(&self, directory: &Path, wanted: Option<Format>) -> io::Result<Walked> {
        checkpoints::walk(directory, wanted)
    }

    fn changed_at(&self, directories: &[PathBuf]) -> Vec<Option<Timestamp>> {
        directories.iter().map(|directory| checkpoints::changed_at(directory)).collect()
    }

    fn archive_checkpoint(
        &self,
        order: &ArchiveOrder,
        from: Option<CopiedUpTo>,
    ) -> io::Result<Archived> {
        archive::archive(order, from)
    }

    fn hide_checkpoints(
        &self,
        directory: &Path,
        doomed: &[Doomed],
    ) -> Vec<Result<PathBuf, String>> {
        retire::hide(directory, doomed)
    }

    fn remove_hidden(&self, directory: &Path, hidden: &Path) -> io::Result<()> {
        retire::remove(directory, hidden)
    }

    fn choose_checkpoint(&self, run_dir: &Path, branch: &Branch) -> io::Result<()> {
        run_dir::choose_checkpoint(run_dir, branch)
    }

    fn take_secrets(&self, source: &Path, run_dir: &Path) -> io::Result<()> {
        secrets::take(source, run_dir)
    }

    fn write_build(&self, order: &BuildFiles) -> io::Result<()> {
        build::write(order)
    }

    fn hand_out(&self, order: &HandOut) -> io::Result<()> {
        build::hand_out(order)
    }

    fn discard_run_dir(&self, run_dir: &Path) -> io::Result<()> {
        removal::remove_tree(run_dir)
    }

    fn add_points(&self, sweep_dir: &Path, from: u32, lines: &str) -> io::Result<()> {
        table::add(sweep_dir, from, lines)
    }

    fn tidy_point(&self, run_dir: &Path) -> io::Result<()> {
        point::tidy(run_dir)
    }

    fn read_inbox(
        &self,
        run_root: &Path,
        tokens: &BTreeSet<Token>,
        max: usize,
    ) -> io::Result<Vec<InboxItem>> {
        inbox::read(run_root, tokens, max)
    }

    fn inbox_tokens(&self, run_root: &Path) -> io::Result<BTreeSet<Token>> {
        inbox::tokens(run_root)
    }

    fn sweep_inbox(
        &self,
        run_root: &Path,
        over: &BTreeSet<Token>,
        then: Timestamp,
    ) -> io::Result<()> {
        inbox::sweep(run_root, over, then)
    }

    fn remove(&self, files: &[PathBuf]) -> io::Result<()> {
        inbox::remove(files)
    }

    fn exit_marker(&self, run_dir: &Path, attempt: u32) -> io::Result<Option<ScriptEvent>> {
        inbox::exit_marker(run_dir, attempt)
    }

    fn claim_owner(&self, run_dir: &Path, token: &Token) -> io::Result<Option<JobKey>> {
        claim::owner(run_dir, token)
    }

    fn revoke(&self, run_dir: &Path, token: &Token) -> io::Result<Revocation> {
        claim::revoke(run_dir, token)
    }

    fn read(&self, file: &Path, from: u64, max: usize) -> io::Result<Stretch> {
        regular::read(file, from, max)
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        regular::length(file)
    }

    fn tail_offset(&self, file: &Path, lines: u64) -> io::Result<u64> {
        regular::tail_offset(file, lines)
    }
}

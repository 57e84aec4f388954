//! What sbatch is told, and whose a job is that is about to be changed.

use crate::domain::ids::{JobKey, Token};
use crate::domain::nodelist::joined;
use crate::domain::run_files::RunFiles;
use crate::ports::{ArrayOrder, SubmitOrder};
use crate::slurm::commands::JOB_NAME;
use crate::slurm::sighting::Seer;
use crate::slurm::{squeue, tasks};

/// Whether the job that is shown is of the submission with that token; none where it is not shown.
pub(super) fn is_still_of(
    job: &JobKey,
    token: &Token,
    rows: &[squeue::Row],
    seer: &Seer<'_>,
) -> Option<bool> {
    let row = rows.iter().find(|row| row.key(seer.cluster, job.array_task) == *job)?;
    Some(seer.shows(token, row))
}

/// What identifies the submission stands on the command line, where it wins over the script and the environment.
pub(super) fn sbatch_args(order: &SubmitOrder) -> Option<Vec<String>> {
    let files = RunFiles::of(&order.run_dir);
    let mut args = vec![
        "--parsable".to_owned(),
        format!("{JOB_NAME}{}", order.job_name),
        format!("--output={}", files.slurm_log_pattern()?),
        "--open-mode=append".to_owned(),
        "--propagate=NONE".to_owned(),
        format!("--chdir={}", files.shared().to_str()?),
    ];
    if let Some(ArrayOrder { tasks, at_once }) = &order.array {
        let limit = at_once.map(|at_once| format!("%{at_once}")).unwrap_or_default();
        args.push(format!("--array={}{limit}", tasks::spelled(tasks)));
    }
    if !order.exclude.is_empty() {
        args.push(format!("--exclude={}", joined(&order.exclude, ",")));
    }
    Some(args)
}

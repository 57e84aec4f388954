//! A job of a minute that nobody records: submitted, looked at by its id alone, and cancelled.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::resolve::Asker;
use crate::domain::run::Answer;
use crate::domain::site::Cluster;
use crate::ports::{Hands, Silence};
use crate::slurm::answer::judge;
use crate::slurm::commands::{Commands, JOB_NAME, Query};
use crate::slurm::found::answers::fields;
use crate::slurm::survey;

/// A job that is not recorded.
pub struct ProbeJob {
    commands: Commands,
    cluster: String,
    user: String,
    /// Nobody else's job has it.
    name: String,
    job: Option<u64>,
}

/// What Slurm shows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Waits {
        why: String,
    },
    Runs,
    /// With the exit code, unless a signal ended it.
    Over {
        node: String,
        exit: Option<u8>,
    },
}

impl ProbeJob {
    pub fn new(
        hands: Arc<dyn Hands>,
        (cluster, settings): (&str, &Cluster),
        asker: &Asker,
        variables: &[(String, String)],
        name: String,
    ) -> Self {
        let commands = survey::commands(hands, settings, asker, variables);
        let (cluster, user) = (cluster.to_owned(), asker.user.clone());
        Self { commands, cluster, user, name, job: None }
    }

    /// Submits the script. What it prints is nobody's: a node may not have the directory that it would go to.
    pub async fn submit(&mut self, script: PathBuf, umask: u32) -> Answer {
        let fixed =
            ["--parsable", "--output=/dev/null", "--propagate=NONE", "--chdir=/", "--no-requeue"];
        let mut args = fixed.map(str::to_owned).to_vec();
        args.push(format!("{JOB_NAME}{}", self.name));
        let sbatch = self.commands.sbatch(args, script, umask);
        let answer = judge(&self.cluster, &self.commands.submit(&sbatch, None).await);
        if let Answer::Acknowledged { job, .. } = &answer {
            self.job = Some(job.job);
        }
        answer
    }

    /// How the job is; an error where Slurm does not say.
    pub async fn look(&self) -> Result<Shown, Silence> {
        let silence = |why: &str| Silence { who: "scontrol".to_owned(), why: why.to_owned() };
        let id = self.job.ok_or_else(|| silence("there is no job"))?;
        let args = ["-o", "show", "job", &id.to_string()].map(str::to_owned);
        let said = self.commands.ask(Query::Scontrol, args.into()).await?;
        shown(&String::from_utf8_lossy(&said)).ok_or_else(|| silence("it shows no job"))
    }

    /// Ends the job, by its name where its id is not known.
    pub async fn cancel(&self) -> Result<(), Silence> {
        let args = match self.job {
            Some(id) => vec![id.to_string()],
            None => vec![format!("--name={}", self.name), format!("--user={}", self.user)],
        };
        self.commands.ask(Query::Scancel, args).await.map(drop)
    }
}

/// Reads the one line of `scontrol -o show job`.
fn shown(text: &str) -> Option<Shown> {
    let line = text.lines().find(|line| line.starts_with("JobId="))?;
    let fields = fields(line);
    let word = |key: &str| {
        fields.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value.as_str())
    };
    Some(match word("JobState") {
        "" => return None,
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "CONFIGURING" => {
            Shown::Waits { why: word("Reason").to_owned() }
        }
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" => {
            Shown::Runs
        }
        _ => {
            let node = Some(word("BatchHost")).filter(|host| !host.is_empty());
            let (code, signal) = word("ExitCode").split_once(':')?;
            let exit = code.parse().ok().filter(|_| signal == "0");
            Shown::Over { node: node.unwrap_or("its node").to_owned(), exit }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_as_slurm_shows_it() {
        let line = |state: &str, rest: &str| {
            format!("JobId=7 JobName=x UserId=a(1) JobState={state} Reason=Resources {rest}\n")
        };
        let check = |text: String, expected: Option<Shown>| assert_eq!(shown(&text), expected);
        check(line("PENDING", ""), Some(Shown::Waits { why: "Resources".into() }));
        check(line("RUNNING", "ExitCode=0:0 BatchHost=n1"), Some(Shown::Runs));
        let over = |exit| Some(Shown::Over { node: "n1".into(), exit });
        check(line("FAILED", "ExitCode=71:0 BatchHost=n1"), over(Some(71)));
        check(line("CANCELLED", "ExitCode=0:15 BatchHost=n1"), over(None));
        check("slurm_load_jobs error: Invalid job id specified\n".into(), None);
    }
}

//! Running Slurm's commands: where they are, what they find in their environment, how long they may take, and that
//! there is never more than one submission and one question under way per cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use crate::domain::problem::At;
use crate::domain::site::Cluster;
use crate::ports::{Hands, Held, Orphan, Output, Program, ProgramError, Silence};

/// sbatch retries by itself for 120 s; one that is ended sooner may have submitted.
const SBATCH_DEADLINE: Duration = Duration::from_mins(3);
/// How sbatch is told the name, which ends with the token.
pub(super) const JOB_NAME: &str = "--job-name=";
const DEADLINE: Duration = Duration::from_secs(30);

/// Where programs are found when the site does not say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// What is kept of what a command says to people.
const WORDS_BYTES_MAX: usize = 64 << 10;

/// What is kept of what sbatch and scancel print: one prints an id, the other nothing.
const NOTICE_BYTES_MAX: u64 = WORDS_BYTES_MAX as u64;

/// What is kept of an answer that tells of jobs or nodes: 100,000 jobs of squeue are some 35 MB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Who the commands are run for, from the user database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    pub uid: u32,
    pub home: PathBuf,
    pub shell: PathBuf,
}

/// A cluster's commands and their environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    sbatch: PathBuf,
    /// The site names a program of its own, which may do more than Slurm's.
    has_own_sbatch: bool,
    squeue: PathBuf,
    sacct: PathBuf,
    scancel: PathBuf,
    scontrol: PathBuf,
    sinfo: PathBuf,
    sacctmgr: PathBuf,
    /// Everything the commands find, and so what every job of theirs inherits.
    environment: Vec<(String, String)>,
    /// The one cluster that the commands are to speak to, where the site says so.
    pub(super) clusters: Option<String>,
}

impl Tools {
    /// From the cluster's keys. `variables` are the daemon's own, from which only those that the site keeps are taken, and
    /// in whose PATH the commands are looked for when the site does not say where they are.
    pub fn new(settings: &Cluster, account: &Account, variables: &[(String, String)]) -> Self {
        let own = |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let said = |key: &Option<At<String>>| key.as_ref().map(|key| key.value.clone());
        let directory = said(&settings.commands);
        let search = own("PATH").unwrap_or_else(|| PATH.to_owned());
        let tool = |key: &Option<At<String>>, name: &str| match (said(key), &directory) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(directory)) => Path::new(directory).join(name),
            (None, None) => found_on(&search, name),
        };
        let scontrol = tool(&settings.scontrol, "scontrol");
        let mut environment: Vec<(String, String)> = [
            ("HOME", account.home.to_string_lossy().into_owned()),
            ("USER", account.user.clone()),
            ("LOGNAME", account.user.clone()),
            ("SHELL", account.shell.to_string_lossy().into_owned()),
            ("PATH", path_with(scontrol.parent())),
            ("LANG", own("LANG").unwrap_or_else(|| "C.UTF-8".to_owned())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for name in settings.keep_environment.iter().flatten() {
            if let Some(value) = own(&name.value)
                && !environment.iter().any(|(known, _)| *known == name.value)
            {
                environment.push((name.value.clone(), value));
            }
        }
        let clusters = said(&settings.slurm_cluster);
        let fixed = [("SLURM_CONF", said(&settings.conf)), ("SLURM_CLUSTERS", clusters.clone())];
        for (name, value) in fixed {
            if let Some(value) = value {
                environment.retain(|(known, _)| known != name);
                environment.push((name.to_owned(), value));
            }
        }
        Self {
            sbatch: tool(&settings.sbatch, "sbatch"),
            has_own_sbatch: settings.sbatch.is_some(),
            squeue: tool(&settings.squeue, "squeue"),
            sacct: tool(&settings.sacct, "sacct"),
            scancel: tool(&settings.scancel, "scancel"),
            scontrol,
            sinfo: tool(&settings.sinfo, "sinfo"),
            sacctmgr: tool(&settings.sacctmgr, "sacctmgr"),
            environment,
            clusters,
        }
    }
}

impl Tools {
    pub(super) fn path(&self, query: Query) -> &Path {
        match query {
            Query::Sbatch => &self.sbatch,
            Query::Squeue => &self.squeue,
            Query::Sacct => &self.sacct,
            Query::Scancel => &self.scancel,
            Query::Scontrol => &self.scontrol,
            Query::Sinfo => &self.sinfo,
            Query::Sacctmgr => &self.sacctmgr,
        }
    }
}

/// The usual directories, and behind them the one of Slurm's commands: a job inherits this PATH and needs srun, scontrol
/// and scancel.
fn path_with(commands: Option<&Path>) -> String {
    let more = commands.map(Path::to_string_lossy);
    let more =
        more.filter(|more| more.starts_with('/') && PATH.split(':').all(|known| known != more));
    more.map_or_else(|| PATH.to_owned(), |more| format!("{PATH}:{more}"))
}

/// The first of that name in the directories; the bare name where there is none, so that the error names it.
fn found_on(search: &str, name: &str) -> PathBuf {
    first_on(search, name).unwrap_or_else(|| Path::new("/usr/bin").join(name))
}

/// The first of that name in the directories, of which only absolute ones count.
pub(super) fn first_on(search: &str, name: &str) -> Option<PathBuf> {
    let directories = search.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// A query, as its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    /// For its version, and for when a job would start; submissions are made by [`Commands::sbatch`].
    Sbatch,
    Squeue,
    Sacct,
    Scancel,
    Scontrol,
    Sinfo,
    Sacctmgr,
}

/// One cluster's commands. An sbatch may hang for minutes while slurmctld does: questions do not wait behind it, only
/// behind each other.
pub(super) struct Commands {
    hands: Arc<dyn Hands>,
    pub(super) tools: Tools,
    /// How long a question may take.
    patience: Duration,
    asking: tokio::sync::Mutex<()>,
    /// Who has started an sbatch whose script is not there yet: one at a time, so that many submissions at once do not
    /// start as many.
    preparing: Arc<Semaphore>,
}

impl Commands {
    pub(super) fn new(hands: Arc<dyn Hands>, tools: Tools) -> Self {
        Self {
            hands,
            tools,
            patience: DEADLINE,
            asking: tokio::sync::Mutex::default(),
            preparing: Arc::new(Semaphore::new(1)),
        }
    }

    /// The same for somebody who cannot wait for an answer as long as the daemon can.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The call of sbatch on a script. `umask` is what the job's files are made with.
    pub(super) fn sbatch(&self, args: Vec<String>, script: PathBuf, umask: u32) -> Program {
        let mut environment = self.tools.environment.clone();
        environment.retain(|(name, _)| name != "SLURM_UMASK");
        // sbatch takes this for its own umask and hands it to the job.
        environment.push(("SLURM_UMASK".to_owned(), format!("{umask:04o}")));
        Program {
            path: self.tools.sbatch.clone(),
            args,
            environment,
            directory: PathBuf::from("/"),
            stdin: Some(script),
            deadline: SBATCH_DEADLINE,
            answer_bytes_max: NOTICE_BYTES_MAX,
        }
    }

    /// Starts sbatch, which does most of what it does before it reads its script: without one it submits nothing. Of a
    /// program of the site's nobody knows that.
    pub(super) fn prepare(&self, sbatch: &Program) -> Option<Held> {
        let turns = Some(&self.preparing).filter(|_| !self.tools.has_own_sbatch)?;
        let turn = Arc::clone(turns).try_acquire_owned().ok()?;
        self.hands.hold(sbatch, turn)
    }

    /// Runs sbatch, or has the one go on that was started for just this call.
    pub(super) async fn submit(
        &self,
        sbatch: &Program,
        prepared: Option<Held>,
    ) -> Result<Output, ProgramError> {
        match prepared.filter(|held| held.is_of(sbatch)) {
            Some(held) => held.go_on().await,
            None => self.hands.run(sbatch).await,
        }
    }

    /// Whether a call of sbatch that nobody waits for may still submit: as long as it runs, and where that cannot be seen as
    /// long as it may take.
    pub(super) async fn may_still_submit(&self, orphan: &Orphan, now: Timestamp) -> bool {
        /// It gives up by itself after two minutes; one that is there for so long hangs for good.
        const HANGS_AFTER: Duration = Duration::from_mins(30);
        let at_most = if orphan.is_here { HANGS_AFTER } else { SBATCH_DEADLINE };
        let age = now.duration_since(orphan.called_at);
        if age >= SignedDuration::try_from(at_most).unwrap_or(SignedDuration::MAX) {
            return false;
        }
        if !orphan.is_here {
            return true;
        }
        let (hands, token) = (Arc::clone(&self.hands), orphan.token.clone());
        let look = move || hands.is_running_with(JOB_NAME, token.as_str());
        tokio::task::spawn_blocking(look).await.is_ok_and(|found| found.unwrap_or(true))
    }

    /// Runs a query and gives what it printed. Anything but a whole, good answer is silence.
    pub(super) async fn ask(&self, query: Query, args: Vec<String>) -> Result<Vec<u8>, Silence> {
        let who = self.tools.path(query).display().to_string();
        good(self.output(query, args).await).map_err(|why| Silence { who, why })
    }

    /// Runs a query, whatever it says.
    pub(super) async fn output(
        &self,
        query: Query,
        args: Vec<String>,
    ) -> Result<Output, ProgramError> {
        let path = self.tools.path(query);
        let mut environment = self.tools.environment.clone();
        let fixed = [
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            ("SLURM_TIME_FORMAT", "%s"),
            ("SLURM_BITSTR_LEN", "0"),
        ];
        environment.retain(|(name, _)| fixed.iter().all(|(fixed, _)| fixed != name));
        environment.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let program = Program {
            path: path.to_owned(),
            args,
            environment,
            directory: PathBuf::from("/"),
            stdin: None,
            deadline: self.patience,
            answer_bytes_max: match query {
                Query::Sbatch | Query::Scancel => NOTICE_BYTES_MAX,
                Query::Squeue | Query::Sacct | Query::Scontrol | Query::Sinfo | Query::Sacctmgr => {
                    ANSWER_BYTES_MAX
                }
            },
        };
        let _turn = self.asking.lock().await;
        self.hands.run(&program).await
    }
}

/// What a query printed, when it can be believed.
pub(crate) fn good(ended: Result<Output, ProgramError>) -> Result<Vec<u8>, String> {
    let output = ended.map_err(|error| crate::chain(&error))?;
    let said = words(&output.stderr);
    match output.code {
        None => Err(format!("it was killed by a signal; {said}")),
        Some(0) if output.cut => Err("it said more than is read".to_owned()),
        Some(0) if output.stdout.last().is_some_and(|last| *last != b'\n') => {
            Err("its answer breaks off".to_owned())
        }
        // A wrong column is told there, and then it is missing.
        Some(0) if said.contains("error") => Err(said),
        Some(0) => Ok(output.stdout),
        Some(code) if said.is_empty() => Err(format!("it ended with exit code {code}")),
        Some(_) => Err(said),
    }
}

/// What a command said to people, fit to be shown: no control characters, and not without end.
pub(super) fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut words: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if words.len() > WORDS_BYTES_MAX {
        words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
        words.push_str("\n[more was said]");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::parse;
    use crate::domain::problem::SourceId;
    use crate::domain::site::{Layer, LayerKind, effective};

    fn output(code: Option<i32>, stdout: &str, stderr: &str) -> Output {
        Output { code, stdout: stdout.into(), stderr: stderr.into(), cut: false }
    }

    #[test]
    fn only_a_whole_good_answer_is_one() {
        let check = |output: Output, expected: Result<&str, &str>| {
            let answer = good(Ok(output));
            let shown = answer.as_ref().map(|bytes| std::str::from_utf8(bytes).unwrap());
            assert_eq!(shown.map_err(String::as_str), expected);
        };
        check(output(Some(0), "a\nb\n", ""), Ok("a\nb\n"));
        check(output(Some(0), "", ""), Ok(""));
        check(output(Some(0), "a\nb", ""), Err("its answer breaks off"));
        check(Output { cut: true, ..output(Some(0), "a\n", "") }, Err("it said more than is read"));
        check(output(None, "a\n", ""), Err("it was killed by a signal; "));
        check(output(Some(1), "", ""), Err("it ended with exit code 1"));
        let away = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)";
        check(output(Some(1), "", away), Err(away));
        let field = "squeue: error: Invalid job format specification: restartcnt";
        check(output(Some(0), "a\n", field), Err(field));
    }

    #[test]
    fn what_is_shown_of_foreign_words_is_harmless_and_ends() {
        assert_eq!(words(b"\x1b[31mred\r\nplain\n"), "\u{fffd}[31mred\u{fffd}\nplain");
        assert!(words("é".repeat(100_000).as_bytes()).len() < WORDS_BYTES_MAX + 20);
        assert_eq!(words(b"\xff"), "\u{fffd}");
    }

    fn account() -> Account {
        Account {
            user: "anna".into(),
            uid: 1000,
            home: "/home/anna".into(),
            shell: "/bin/zsh".into(),
        }
    }

    fn variables() -> Vec<(String, String)> {
        let evil = ["SLURM_CONF", "SBATCH_PARTITION", "SQUEUE_STATES", "LD_PRELOAD", "KRB5CCNAME"];
        evil.map(|name| (name.to_owned(), "evil".to_owned())).into()
    }

    #[test]
    fn the_environment_is_the_users_and_nothing_is_inherited_unasked() {
        let tools = Tools::new(&Cluster::default(), &account(), &variables());
        let names: Vec<&str> = tools.environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG"]);
        assert_eq!(tools.environment[4].1, PATH);
        let (table, _) = parse(
            "[cluster.main]\ncommands = '/opt/slurm/bin'\nsqueue = '/site/squeue'\n\
             conf = '/etc/slurm/slurm.conf'\nslurm_cluster = 'big'\n\
             keep_environment = ['KRB5CCNAME', 'SLURM_CONF', 'HOME', 'NOT_SET']\n",
            SourceId(0),
        );
        let layer = Layer { kind: LayerKind::User, source: SourceId(0), table };
        let (site, _, problems) = effective(vec![layer]);
        assert_eq!(problems, vec![]);
        let settings = site.cluster.as_ref().unwrap().get("main").unwrap();
        let tools = Tools::new(settings, &account(), &variables());
        let shown: Vec<String> =
            tools.environment[6..].iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            shown,
            ["KRB5CCNAME=evil", "SLURM_CONF=/etc/slurm/slurm.conf", "SLURM_CLUSTERS=big"]
        );
        assert_eq!(tools.environment[0].1, "/home/anna");
        assert_eq!(tools.environment[4].1, format!("{PATH}:/opt/slurm/bin"));
        assert_eq!(tools.sbatch, Path::new("/opt/slurm/bin/sbatch"));
        assert_eq!(tools.squeue, Path::new("/site/squeue"));
    }
}

//! Where the files of a run lie: the one place that knows.
//!
//! A run of its own has a directory with folders. A point of a sweep has what is its own in `SWEEP/points/N`, without
//! folders since there may be very many points, and shares the rest, which lies in the sweep's directory as it does in that
//! of a run. The script ([`crate::script`]) is rendered with the same names.

use std::path::{Path, PathBuf};

use crate::domain::ids::Token;

/// The folder of a sweep that its points work in.
pub const POINTS_FOLDER: &str = "points";
/// The captured code, from the `work/` of a point.
pub const CODE_OF_POINT: &str = "../../../code";
/// The table of a sweep's points.
pub const POINTS_FILE: &str = "points.tsv";
/// The folder of logs in the directory of a run or a sweep.
pub const LOGS_FOLDER: &str = "logs";
/// The secrets of a run or a sweep. It is there until that is over.
pub const SECRETS_FILE: &str = "secrets.env";

/// Folders of what each run has of its own, in its directory; empty where that itself has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folders {
    pub claims: &'static str,
    pub exits: &'static str,
    pub logs: &'static str,
}

impl Folders {
    pub const OF_RUN: Self = Self { claims: "claims", exits: "exits", logs: LOGS_FOLDER };
    pub const OF_POINT: Self = Self { claims: "", exits: "", logs: "" };
}

/// The files of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunFiles<'a> {
    run_dir: &'a Path,
    /// The sweep's directory and the point's number.
    point: Option<(&'a Path, u32)>,
}

impl<'a> RunFiles<'a> {
    /// Of the run that has this directory; a point's is told by its name, which no other run's can have.
    pub fn of(run_dir: &'a Path) -> Self {
        Self { run_dir, point: point_of(run_dir) }
    }

    /// The directory of a sweep's point.
    pub fn point_dir(sweep_dir: &Path, point: u32) -> PathBuf {
        sweep_dir.join(POINTS_FOLDER).join(point.to_string())
    }

    /// The point's number in its sweep.
    pub fn point(&self) -> Option<u32> {
        self.point.map(|(_, point)| point)
    }

    /// What is there before the run starts: the directory of the sweep, or that of the run.
    pub fn shared(&self) -> &'a Path {
        self.point.map_or(self.run_dir, |(sweep_dir, _)| sweep_dir)
    }

    fn folders(&self) -> Folders {
        if self.point.is_some() { Folders::OF_POINT } else { Folders::OF_RUN }
    }

    /// The script of a set of points, or of the run, which has the first.
    pub fn script(&self, set: u32) -> PathBuf {
        self.shared().join(match set {
            0 => "job.sh".to_owned(),
            more => format!("job.{more}.sh"),
        })
    }

    /// The table of the points.
    pub fn points(&self) -> PathBuf {
        self.shared().join(POINTS_FILE)
    }

    pub fn secrets(&self) -> PathBuf {
        self.shared().join(SECRETS_FILE)
    }

    /// Secrets that are about to replace those.
    pub fn new_secrets(&self) -> PathBuf {
        self.shared().join(format!(".{SECRETS_FILE}"))
    }

    /// What leads to the environment that was built of requirements.
    pub fn built_environment(&self) -> PathBuf {
        self.environment().join("venv")
    }

    /// The folder of the built environment, and of what attempts got.
    pub fn environment(&self) -> PathBuf {
        self.shared().join("environment")
    }

    /// What an attempt got where it started.
    pub fn environment_record(&self, attempt: u32) -> PathBuf {
        self.environment().join(format!("{}.txt", self.record(attempt)))
    }

    /// The folder of what its nodes but the first got.
    pub fn environment_nodes(&self, attempt: u32) -> PathBuf {
        self.environment().join(format!("{}.nodes", self.record(attempt)))
    }

    /// Whether an attempt records what it got. Points are many, and many are alike: the first of an array tells, and of those
    /// on a machine without arrays the first.
    pub fn tells_environment(&self, attempt: u32, array_task: Option<u32>) -> bool {
        let is_first = |point: u32| attempt == 1 && array_task.unwrap_or(point) == 0;
        self.point().is_none_or(is_first)
    }

    fn record(&self, attempt: u32) -> String {
        match self.point {
            Some((_, point)) => format!("{point}.{attempt}"),
            None => attempt.to_string(),
        }
    }

    /// The folder that claims are in.
    pub fn claims(&self) -> PathBuf {
        self.run_dir.join(self.folders().claims)
    }

    pub fn claim(&self, token: &Token) -> PathBuf {
        self.claims().join(token.as_str())
    }

    pub fn exit_marker(&self, attempt: u32) -> PathBuf {
        self.run_dir.join(self.folders().exits).join(format!("{attempt}.json"))
    }

    /// What the training printed.
    pub fn training_log(&self, attempt: u32) -> PathBuf {
        self.run_dir.join(self.folders().logs).join(format!("{attempt}.out"))
    }

    /// What one rank printed, where each has a log of its own.
    pub fn rank_log(&self, attempt: u32, rank: u32) -> PathBuf {
        self.run_dir.join(self.folders().logs).join(format!("{attempt}.rank{rank}.out"))
    }

    /// What the scheduler and the script had to say of a job of such a target (`slurm`, `local`). When a point ends its script
    /// moves that to the end of the training's log; where it was killed, or came to no training, it stays here.
    pub fn scheduler_log(&self, target: &str, job: u64, array_task: Option<u32>) -> PathBuf {
        let task = array_task.map(|task| format!("_{task}")).unwrap_or_default();
        self.shared().join(LOGS_FOLDER).join(format!("{target}-{job}{task}.out"))
    }

    /// The same as sbatch's `--output` for a job, or for an array of points; none where the path is no text.
    pub fn slurm_log_pattern(&self) -> Option<String> {
        // `%` begins a word of sbatch's own in file names, and only there.
        let shared = self.shared().to_str()?.replace('%', "%%");
        let job = if self.point.is_some() { "%A_%a" } else { "%j" };
        Some(format!("{shared}/{LOGS_FOLDER}/slurm-{job}.out"))
    }

    /// What the build of its environment said.
    pub fn build_log(&self) -> PathBuf {
        self.shared().join(LOGS_FOLDER).join("build.out")
    }
}

/// `SWEEP/points/N`. No run of its own is called so: the name of its directory has a `-`.
fn point_of(run_dir: &Path) -> Option<(&Path, u32)> {
    let name = run_dir.file_name()?.to_str()?;
    let point = name.parse().ok().filter(|point: &u32| point.to_string() == name)?;
    let points = run_dir.parent()?;
    (points.file_name()? == POINTS_FOLDER).then_some((points.parent()?, point))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(run_dir: &str) -> String {
        let files = RunFiles::of(Path::new(run_dir));
        let token = Token::from_bits(1).element(3);
        let all = [
            files.script(0),
            files.script(1),
            files.points(),
            files.secrets(),
            files.built_environment(),
            files.environment_record(2),
            files.environment_nodes(2),
            files.claim(&token),
            files.exit_marker(2),
            files.training_log(2),
            files.rank_log(2, 5),
            files.scheduler_log("slurm", 9, files.point().map(|_| 3)),
            files.scheduler_log("local", 9, None),
            files.slurm_log_pattern().unwrap().into(),
            files.build_log(),
        ];
        all.map(|file| file.to_str().unwrap().to_owned()).join("\n")
    }

    #[test]
    fn a_run_has_folders_and_a_point_has_none() {
        insta::assert_snapshot!(shown("/r/42-lr"), @r"
        /r/42-lr/job.sh
        /r/42-lr/job.1.sh
        /r/42-lr/points.tsv
        /r/42-lr/secrets.env
        /r/42-lr/environment/venv
        /r/42-lr/environment/2.txt
        /r/42-lr/environment/2.nodes
        /r/42-lr/claims/tybaaaaaaaaaaaaaaaaaaa_3
        /r/42-lr/exits/2.json
        /r/42-lr/logs/2.out
        /r/42-lr/logs/2.rank5.out
        /r/42-lr/logs/slurm-9.out
        /r/42-lr/logs/local-9.out
        /r/42-lr/logs/slurm-%j.out
        /r/42-lr/logs/build.out
        ");
        insta::assert_snapshot!(shown("/r%/42-lr/points/17"), @r"
        /r%/42-lr/job.sh
        /r%/42-lr/job.1.sh
        /r%/42-lr/points.tsv
        /r%/42-lr/secrets.env
        /r%/42-lr/environment/venv
        /r%/42-lr/environment/17.2.txt
        /r%/42-lr/environment/17.2.nodes
        /r%/42-lr/points/17/tybaaaaaaaaaaaaaaaaaaa_3
        /r%/42-lr/points/17/2.json
        /r%/42-lr/points/17/2.out
        /r%/42-lr/points/17/2.rank5.out
        /r%/42-lr/logs/slurm-9_3.out
        /r%/42-lr/logs/local-9.out
        /r%%/42-lr/logs/slurm-%A_%a.out
        /r%/42-lr/logs/build.out
        ");
    }

    #[test]
    fn of_points_the_first_of_an_array_tells_what_it_got() {
        let tells = |path: &str, attempt, task| {
            RunFiles::of(Path::new(path)).tells_environment(attempt, task)
        };
        assert!(tells("/r/42-lr", 7, None));
        assert!(tells("/r/42-lr/points/17", 1, Some(0)));
        assert!(!tells("/r/42-lr/points/17", 1, Some(17)));
        assert!(!tells("/r/42-lr/points/17", 2, Some(0)));
        assert!(tells("/r/42-lr/points/0", 1, None));
        assert!(!tells("/r/42-lr/points/17", 1, None));
    }

    #[test]
    fn only_a_points_directory_is_one() {
        let point = |path: &str| RunFiles::of(Path::new(path)).point();
        assert_eq!(point("/r/42-lr/points/17"), Some(17));
        assert_eq!(RunFiles::point_dir(Path::new("/r/42-lr"), 17), Path::new("/r/42-lr/points/17"));
        for other in [
            "/r/42-lr",
            "/r/points/42-lr",
            "/r/42-lr/points",
            "/r/x/points/017",
            "/r/x/17",
            "/",
            "",
        ] {
            assert_eq!(point(other), None, "{other}");
        }
    }
}

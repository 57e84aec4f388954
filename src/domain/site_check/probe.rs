//! What a job on a compute node reported, and what follows of it.

use std::collections::BTreeMap;

use crate::domain::site_check::{Finding, Level};

/// What the script exits with where it does not find its directory, and where it cannot write there.
pub const ABSENT_EXIT: u8 = 71;
pub const UNWRITABLE_EXIT: u8 = 72;

/// How often a file goes there and back.
pub const ROUNDS: usize = 3;

/// One file there and one back, in seconds, each time by the clock of whoever was there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    pub node_wrote: f64,
    pub login_saw: f64,
    pub login_wrote: f64,
    pub node_saw: f64,
}

impl Round {
    /// How long both ways took.
    fn span(&self) -> f64 {
        (self.node_saw - self.node_wrote) - (self.login_wrote - self.login_saw)
    }

    /// By how much the login node's clock is ahead, if both ways took the same time.
    fn ahead(&self) -> f64 {
        f64::midpoint(self.login_saw - self.node_wrote, self.login_wrote - self.node_saw)
    }
}

/// The lines of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<String, String>);

impl Report {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Self(lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// When the node saw the login node's file of a round.
    pub fn seen(&self, round: usize) -> Option<f64> {
        self.get(&format!("seen.{round}")).parse().ok()
    }
}

/// What was asked about, as the site has it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub run_root: String,
    pub conda_root: Option<String>,
    /// What the job was submitted with.
    pub umask: String,
    /// This machine's name.
    pub login: String,
}

/// What a report comes to.
pub fn findings(asked: &Asked, report: &Report, rounds: &[Round]) -> Vec<Finding> {
    let host = report.get("host");
    let mut found = vec![Finding::fine("probe", format!("node {host}"))];
    let root = format!("{} is there and can be written", asked.run_root);
    found.push(Finding::fine("run root", root));
    found.extend(clocks(rounds));
    if let Some(conda) = &asked.conda_root {
        let mend = "set `conda_root` of the cluster to where compute nodes have conda";
        found.push(match report.get("conda") {
            "yes" => Finding::fine("conda", format!("{conda}/bin/conda")),
            _ => Finding::bad("conda", format!("{host} has no {conda}/bin/conda"), mend),
        });
    }
    let scratch = report.get("scratch");
    let mend = "set `local_scratch` of the class to a directory of the node that users can write";
    found.push(match report.get("scratch.writable") {
        "yes" => Finding::fine("scratch", scratch),
        _ => Finding::bad("scratch", format!("{scratch} cannot be written on {host}"), mend),
    });
    found.push(match report.get("python") {
        "" => Finding::note(
            "python",
            format!("neither python3 nor python is on PATH on {host}"),
            "have specs name a conda environment, a venv or modules, or set `modules` of the class",
        ),
        python => Finding::fine("python", python),
    });
    found.extend(limits(report));
    let (umask, mend) =
        (report.get("umask"), "look for what sets it on the node: PAM, or a prolog");
    found.push(if umask == asked.umask {
        Finding::fine("umask", umask)
    } else {
        let told = format!("{umask} in jobs, and they were to have {}", asked.umask);
        Finding::note("umask", told, mend)
    });
    found.push(network(asked, report));
    found
}

/// How late files are seen, and whether the clocks agree.
fn clocks(rounds: &[Round]) -> Vec<Finding> {
    /// Longer is felt: an end that is told late, a checkpoint that is not seen yet.
    const DELAY_FELT: f64 = 5.0;
    const SKEW_FELT: f64 = 2.0;
    const SKEW_BAD: f64 = 60.0;
    let best = rounds.iter().min_by(|a, b| a.span().total_cmp(&b.span()));
    let Some(best) = best else {
        return vec![Finding::bad(
            "files",
            "a file of this machine was not seen on the node in time",
            "put `run_root` on a file system that shows new files sooner (NFS: a smaller acdirmax)",
        )];
    };
    let ahead = best.ahead();
    let most = |delay: &dyn Fn(&Round) -> f64| rounds.iter().map(delay).fold(0.0, f64::max);
    let there = most(&|round| round.login_saw - round.node_wrote - ahead);
    let back = most(&|round| round.node_saw - round.login_wrote + ahead);
    let told = format!("the node's are seen here after {there:.1} s, ours there after {back:.1} s");
    let files = if there.max(back) > DELAY_FELT {
        let mend = "nothing breaks; a file system that shows new files sooner (NFS: a smaller acdirmax) tells of ends sooner";
        Finding::note("files", told, mend)
    } else {
        Finding::fine("files", told)
    };
    let (skew, sign) = (ahead.abs(), if ahead > 0.0 { "behind" } else { "ahead" });
    let told = if skew < 0.1 {
        "the clocks agree to a tenth of a second".to_owned()
    } else {
        format!("the node's clock is {skew:.1} s {sign}, give or take {:.1} s", best.span() / 2.0)
    };
    let level = match skew - best.span() / 2.0 {
        over if over > SKEW_BAD => Level::Bad,
        over if over > SKEW_FELT => Level::Note,
        _ => Level::Fine,
    };
    let mend = "have both machines set their clocks by the same NTP servers".to_owned();
    let mend = Some(mend).filter(|_| level != Level::Fine);
    vec![files, Finding { level, mend, ..Finding::fine("clock", told) }]
}

/// What `ulimit` says in jobs; `unlimited` is more than any number.
fn limits(report: &Report) -> Vec<Finding> {
    let check = |key: &str, shown: &str, least: u64, why: &str| {
        let said = report.get(key);
        let what = format!("limit {key}");
        match said.parse::<u64>() {
            Ok(number) if number < least => {
                let mend = format!(
                    "{why}: raise it in slurmd's unit (LimitNOFILE, LimitMEMLOCK, LimitSTACK) or with PropagateResourceLimits"
                );
                Finding::note(what, format!("{said}{shown}"), mend)
            }
            Ok(_) => Finding::fine(what, format!("{said}{shown}")),
            Err(_) => Finding::fine(what, said),
        }
    };
    vec![
        check("nofile", " open files", 4096, "data loaders of many workers run out of files"),
        check("memlock", " kB", 64 << 10, "RDMA (InfiniBand, RoCE) cannot register its memory"),
        check("stack", " kB", 8192, "deep recursion ends the process"),
    ]
}

fn network(asked: &Asked, report: &Report) -> Finding {
    const WHAT: &str = "network";
    let Asked { login, .. } = asked;
    match (report.get("resolves"), report.get("reaches")) {
        ("yes", "no") => Finding::note(
            WHAT,
            format!("the node knows {login} and cannot connect to it"),
            "fine for Trainyard, which needs no network; services on the login node are out of reach of trainings",
        ),
        ("yes", "") => Finding::fine(WHAT, format!("the node knows {login}")),
        ("yes", _) => Finding::fine(WHAT, format!("the node reaches {login}")),
        _ => Finding::note(
            WHAT,
            format!("the node does not know the name {login}"),
            "fine for Trainyard, which needs no network; add it to DNS or /etc/hosts if trainings need the login node",
        ),
    }
}

/// What an exit code of the script alone says.
pub fn failed(asked: &Asked, node: &str, exit: Option<u8>) -> Finding {
    let root = &asked.run_root;
    let mend =
        "set `run_root` to a file system that the compute nodes see and users can write there";
    match exit {
        Some(ABSENT_EXIT) => {
            Finding::bad("run root", format!("{root} is not there on {node}"), mend)
        }
        Some(UNWRITABLE_EXIT) => {
            Finding::bad("run root", format!("{root} cannot be written on {node}"), mend)
        }
        code => {
            let told = code.map_or_else(
                || format!("its job on {node} was ended before it had reported"),
                |code| format!("its job on {node} ended with {code} before it had reported"),
            );
            let mend =
                "look into slurmd's log on the node: a prolog, or the node itself, may have failed";
            Finding::bad("probe", told, mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            run_root: "/scratch/anna".into(),
            conda_root: Some("/opt/conda".into()),
            umask: "0077".into(),
            login: "login1".into(),
        }
    }

    const REPORT: &str = "seen.1=1000.5\nseen.2=x\nhost=n1\numask=0022\nnofile=1024\nmemlock=64\nstack=unlimited\n\
        conda=no\nscratch=/scr=a\nscratch.writable=no\npython=\nresolves=yes\nreaches=no\nrubbish\n";

    /// A round in which both clocks differ by `ahead`, and files take this long there and back.
    fn round(ahead: f64, there: f64, back: f64) -> Round {
        let (node_wrote, login_wrote) = (1000.0, 1000.0 + ahead + there + 1.0);
        Round {
            node_wrote,
            login_saw: node_wrote + there + ahead,
            login_wrote,
            node_saw: login_wrote + back - ahead,
        }
    }

    fn told(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|it| format!("{:?} {}: {}", it.level, it.what, it.told)).collect()
    }

    #[test]
    fn what_a_node_lacks_is_told() {
        let report = Report::parse(REPORT);
        assert_eq!((report.seen(1), report.seen(2), report.seen(3)), (Some(1000.5), None, None));
        assert_eq!(
            told(&findings(&asked(), &report, &[round(0.0, 0.1, 0.1)])),
            [
                "Fine probe: node n1",
                "Fine run root: /scratch/anna is there and can be written",
                "Fine files: the node's are seen here after 0.1 s, ours there after 0.1 s",
                "Fine clock: the clocks agree to a tenth of a second",
                "Bad conda: n1 has no /opt/conda/bin/conda",
                "Bad scratch: /scr=a cannot be written on n1",
                "Note python: neither python3 nor python is on PATH on n1",
                "Note limit nofile: 1024 open files",
                "Note limit memlock: 64 kB",
                "Fine limit stack: unlimited",
                "Note umask: 0022 in jobs, and they were to have 0077",
                "Note network: the node knows login1 and cannot connect to it",
            ]
        );
    }

    #[test]
    fn delays_are_told_from_clocks_by_the_quickest_round() {
        let check = |rounds: &[Round], expected: [&str; 2]| {
            assert_eq!(told(&clocks(rounds)), expected);
        };
        check(
            &[round(30.0, 9.0, 0.1), round(30.0, 0.1, 0.1)],
            [
                "Note files: the node's are seen here after 9.0 s, ours there after 0.1 s",
                "Note clock: the node's clock is 30.0 s behind, give or take 0.1 s",
            ],
        );
        check(
            &[round(-90.0, 0.2, 0.2), round(-90.0, 0.2, 40.0)],
            [
                "Note files: the node's are seen here after 0.2 s, ours there after 40.0 s",
                "Bad clock: the node's clock is 90.0 s ahead, give or take 0.2 s",
            ],
        );
        // What may be the way of the files is no fault of the clock.
        check(
            &[round(0.0, 8.0, 0.0)],
            [
                "Fine files: the node's are seen here after 4.0 s, ours there after 4.0 s",
                "Fine clock: the node's clock is 4.0 s behind, give or take 4.0 s",
            ],
        );
        assert_eq!(told(&clocks(&[])).len(), 1);
        assert_eq!(clocks(&[])[0].level, Level::Bad);
    }

    #[test]
    fn a_job_that_reports_nothing_tells_by_its_exit_code() {
        let told = |exit| failed(&asked(), "n1", exit).told;
        assert_eq!(told(Some(ABSENT_EXIT)), "/scratch/anna is not there on n1");
        assert_eq!(told(Some(UNWRITABLE_EXIT)), "/scratch/anna cannot be written on n1");
        assert_eq!(told(Some(1)), "its job on n1 ended with 1 before it had reported");
        assert_eq!(told(None), "its job on n1 was ended before it had reported");
    }
}

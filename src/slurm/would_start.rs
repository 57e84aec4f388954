//! `sbatch --test-only`: when a job would start, as Slurm's queue is now. It submits nothing, and takes a number from the
//! counter of jobs.

use jiff::Timestamp;

use crate::domain::resolved::SbatchOption;
use crate::ports::{Output, ProgramError, Reckoned, Silence};
use crate::slurm::answer::is_no_answer;
use crate::slurm::commands::words;

/// The same options that the script of the run has, on the command line: what its body does decides nothing.
pub(super) fn args(options: &[SbatchOption]) -> Vec<String> {
    let fixed = ["--test-only", "--wrap=:"].map(str::to_owned);
    fixed.into_iter().chain(options.iter().map(ToString::to_string)).collect()
}

/// What sbatch said, which it says on stderr.
pub(super) fn reckoned(ended: Result<Output, ProgramError>) -> Result<Reckoned, Silence> {
    let silence = |why: String| Silence { who: "sbatch".to_owned(), why };
    let output = ended.map_err(|error| silence(crate::chain(&error)))?;
    let said = words(&output.stderr);
    match (output.code, said.lines().find_map(start)) {
        (Some(0), Some(at)) => Ok(Reckoned::At(at)),
        (None, _) => Err(silence(format!("it was killed by a signal; {said}"))),
        (Some(_), _) if said.is_empty() || is_no_answer(&said) => Err(silence(said)),
        (Some(_), _) => Ok(Reckoned::Never(said)),
    }
}

/// The moment in `sbatch: Job 15 to start at 1795968493 using 2 processors on nodes n[1-2] in partition main`.
fn start(line: &str) -> Option<Timestamp> {
    let (job, rest) = line.split_once(" to start at ")?;
    let (_, id) = job.rsplit_once("Job ")?;
    let word = rest.split_whitespace().next()?;
    let seconds = word.parse().ok().filter(|_| id.bytes().all(|byte| byte.is_ascii_digit()))?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sbatch_says_is_read() {
        let check = |code: i32, stderr: &str, expected: Result<Reckoned, ()>| {
            let stderr = stderr.as_bytes().to_vec();
            let output = Output { code: Some(code), stdout: Vec::new(), stderr, cut: false };
            assert_eq!(reckoned(Ok(output)).map_err(drop), expected);
        };
        let at = |second| Ok(Reckoned::At(Timestamp::from_second(second).unwrap()));
        let line = "sbatch: Job 300001 to start at 1795968493 using 2 processors on nodes n[1-2] in \
                    partition main\n";
        check(0, line, at(1_795_968_493));
        // A plugin of the site's may speak before it; what would be preempted follows.
        check(0, &format!("sbatch: lua: hello\n{line}  Preempts: 12,13\n"), at(1_795_968_493));
        let never = |words: &str| Ok(Reckoned::Never(words.to_owned()));
        let unfit = "allocation failure: Requested node configuration is not available";
        check(1, &format!("{unfit}\n"), never(unfit));
        check(0, "sbatch: Job 7 to start at soon\n", never("sbatch: Job 7 to start at soon"));
        check(0, "sbatch: time to start at 12\n", never("sbatch: time to start at 12"));
        check(0, "", Err(()));
        let away = "sbatch: error: Unable to contact slurm controller (connect failure)";
        check(1, away, Err(()));
        check(1, "allocation failure: Socket timed out on send/recv operation", Err(()));
    }

    #[test]
    fn the_options_are_those_of_the_script() {
        let options = ["--nodes=2", "--comment=a \"b\"", "-Q"];
        let options = options.map(|option| SbatchOption::parse(option).unwrap());
        assert_eq!(
            args(&options),
            ["--test-only", "--wrap=:", "--nodes=2", "--comment=a \"b\"", "-Q"]
        );
    }
}

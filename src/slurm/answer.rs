//! What an sbatch that ended says about its submission: it is there, it is refused, or nobody knows.
//!
//! A failed sbatch is not a failed submission: a slurmctld that was frozen for ten seconds lets sbatch fail and makes
//! the job all the same. So doubt has its list of signs, and they are looked for first.

use crate::domain::ids::JobKey;
use crate::domain::run::Answer;
use crate::ports::{Output, ProgramError};
use crate::slurm::commands::words;

/// The request may have arrived, and its answer did not.
const DOUBT: &[&str] = &[
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Unexpected message",
    "Unable to contact slurm controller (send failure)",
    "Unable to contact slurm controller (receive failure)",
    "Unable to contact slurm controller (shutdown failure)",
    "Message send failure",
    "Message receive failure",
    "Insane message length",
    "Header lengths are longer than data received",
    // What the system says of a connection that broke: errno(3).
    "Connection reset by peer",
    "Connection timed out",
    "Connection refused",
    "Broken pipe",
    "Transport endpoint is not connected",
    "No route to host",
    "Network is unreachable",
    "Input/output error",
    // The answer could not be trusted, which says nothing about the request.
    "Protocol authentication error",
    // A site whose sbatch goes over ssh: ssh(1) lost its connection.
    "closed by remote host",
    "send disconnect",
];

/// The request was turned away, and the same one may be taken later.
const FOR_NOW: &[&str] = &[
    "MaxSubmitJob",
    "job queue full",
    "temporarily unable to accept job",
    "Job creation temporarily disabled",
    "Resource temporarily unavailable",
    // What a full job queue is called once sbatch has given up.
    "Unable to create job record",
    "backup controller in standby mode",
];

/// Nothing was sent: there was nobody to send it to.
const UNREACHABLE: &[&str] = &[
    "Unable to contact slurm controller (connect failure)",
    "Could not establish a configuration source",
    "Unable to process configuration file",
    // Of the cluster that `slurm_cluster` names: slurmdbd says where it is.
    "can't be reached now",
    "known by database",
];

/// The line with which sbatch gives slurmctld's refusal.
const REFUSAL: &str = "Batch job submission failed:";

/// What sbatch finds wrong by itself, before it sends anything.
const NOT_SENT: &[&str] = &[
    "unrecognized option",
    "invalid option",
    "requires an argument",
    "unrecognized --",
    "Invalid numeric value",
    "invalid number of nodes",
    "are mutually exclusive",
    "Invalid directive found in batch script",
    // From 22.05 on sbatch looks at it by itself; before, slurmctld does.
    "error: Invalid generic resource (gres) specification",
    "This does not look like a batch script",
    "Batch script contains DOS line breaks",
    "contain a NULL character",
    "Batch script is empty",
    "Unable to open file",
    "cli_filter plugin terminated with error",
];

/// What sbatch exits with when its options are wrong; ssh does so when its connection breaks, in other words.
const OPTION_ERROR: i32 = 255;
const OWN_WORDS: &str = "sbatch: ";

/// Whether what sbatch said means that slurmctld gave no answer that can be believed.
pub(super) fn is_no_answer(message: &str) -> bool {
    DOUBT.iter().chain(UNREACHABLE).any(|sign| message.contains(sign))
}

/// Judges how an sbatch ended. `cluster` is what the site calls the cluster.
pub fn judge(cluster: &str, ended: &Result<Output, ProgramError>) -> Answer {
    let lost = |message: String| Answer::Lost { message };
    let output = match ended {
        Ok(output) => output,
        Err(error @ ProgramError::Stdin { .. }) => {
            return Answer::Refused { message: crate::chain(error), for_now: error.may_pass() };
        }
        Err(error @ ProgramError::Start { .. }) => {
            return Answer::Unreachable { message: crate::chain(error) };
        }
        Err(error @ (ProgramError::Deadline { .. } | ProgramError::Hear { .. })) => {
            return lost(crate::chain(error));
        }
    };
    let message = words(&output.stderr);
    match output.code {
        None => lost(format!("sbatch was killed by a signal; {message}")),
        Some(0) => acknowledged(cluster, output, &message),
        Some(code) => refused(code, message),
    }
}

fn acknowledged(cluster: &str, output: &Output, stderr: &str) -> Answer {
    let stdout = words(&output.stdout);
    let (ids, others): (Vec<&str>, Vec<&str>) =
        stdout.lines().partition(|line| job_id(line).is_some());
    match ids.as_slice() {
        [id] if !output.cut => {
            let notices: Vec<&str> =
                others.into_iter().chain(stderr.lines()).filter(|line| !line.is_empty()).collect();
            let job = job_id(id).unwrap_or_default();
            let job = JobKey { cluster: cluster.to_owned(), job, array_task: None };
            Answer::Acknowledged { job, notices: notices.join("\n") }
        }
        _ => {
            let ids = ids.len();
            Answer::Lost { message: format!("sbatch exited 0 and printed {ids} job ids; {stderr}") }
        }
    }
}

/// `123` or `123;cluster`.
fn job_id(line: &str) -> Option<u64> {
    let line = line.trim_end_matches('\r');
    let (id, cluster) = line.split_once(';').map_or((line, None), |(id, name)| (id, Some(name)));
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    let fine = id.bytes().all(|b| b.is_ascii_digit()) && cluster.is_none_or(is_name);
    fine.then(|| id.parse().ok()).flatten().filter(|id| *id > 0)
}

fn refused(code: i32, message: String) -> Answer {
    let says = |signs: &[&str]| signs.iter().any(|sign| message.contains(sign));
    if message.is_empty() {
        return Answer::Lost { message: format!("sbatch exited {code} without a word") };
    }
    if says(DOUBT) {
        return Answer::Lost { message };
    }
    if says(UNREACHABLE) {
        return Answer::Unreachable { message };
    }
    // sbatch also tells of each of its own retries; what counts is what it gave up with.
    let verdict = message.rsplit_once(REFUSAL).map(|(_, verdict)| verdict);
    let for_now = match verdict {
        Some(verdict) => {
            message.contains(FOR_NOW[0]) || FOR_NOW.iter().any(|sign| verdict.contains(sign))
        }
        // It tells of its retries as well; one that ended in the middle of them may have submitted.
        None => false,
    };
    let is_option = code == OPTION_ERROR && message.contains(OWN_WORDS);
    if for_now || verdict.is_some() || is_option || says(NOT_SENT) {
        Answer::Refused { message, for_now }
    } else {
        Answer::Lost { message }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    /// `acknowledged JOB NOTICES`, `refused`, `for now` or `lost`.
    fn short(answer: &Answer) -> String {
        match answer {
            Answer::Acknowledged { job, notices } => format!("acknowledged {job} {notices}"),
            Answer::Refused { for_now: false, .. } => "refused".to_owned(),
            Answer::Refused { for_now: true, .. } => "for now".to_owned(),
            Answer::Unreachable { .. } => "unreachable".to_owned(),
            Answer::Lost { .. } => "lost".to_owned(),
        }
    }

    #[track_caller]
    fn check(code: Option<i32>, stdout: &str, stderr: &str, expected: &str) {
        let output = Output { code, stdout: stdout.into(), stderr: stderr.into(), cut: false };
        assert_eq!(short(&judge("main", &Ok(output))).trim(), expected, "{stdout:?} {stderr:?}");
    }

    #[test]
    fn one_id_is_an_acknowledgement() {
        check(Some(0), "123\n", "", "acknowledged main:123");
        check(Some(0), "123;big-1.site\n", "", "acknowledged main:123");
        check(Some(0), "67108866\n", "", "acknowledged main:67108866");
        check(
            Some(0),
            "Welcome!\n123\n",
            "sbatch: hello\n",
            "acknowledged main:123 Welcome!\nsbatch: hello",
        );
        check(Some(0), "123", "", "acknowledged main:123");
    }

    #[test]
    fn anything_else_with_exit_0_is_doubt() {
        for stdout in [
            "",
            "Submitted batch job 123\n",
            "123\n124\n",
            "123;\n",
            "123;a b\n",
            "-1\n",
            "0\n",
            "12 3\n",
        ] {
            check(Some(0), stdout, "", "lost");
        }
        check(Some(0), "99999999999999999999999\n", "", "lost");
    }

    #[test]
    fn the_list_of_doubt() {
        let failed = |why: &str| format!("sbatch: error: Batch job submission failed: {why}\n");
        for why in [
            "Socket timed out on send/recv operation",
            "Zero Bytes were transmitted or received",
            "Unexpected message received",
            "Protocol authentication error",
            "Connection reset by peer",
            "Unable to contact slurm controller (receive failure)",
        ] {
            check(Some(1), "", &failed(why), "lost");
        }
        check(Some(1), "", "", "lost");
        check(None, "123\n", "", "lost");
        check(Some(1), "", "sbatch: error: something nobody has seen\n", "lost");
        check(Some(137), "", "Killed\n", "lost");
        // Of an sbatch that is a wrapper over ssh.
        check(Some(255), "", "Connection to login1 closed by remote host.\n", "lost");
        check(
            Some(255),
            "",
            "sbatch: lua: hello\nclient_loop: send disconnect: Broken pipe\n",
            "lost",
        );
        check(Some(255), "", "bash: line 1: cannot fork\n", "lost");
        let program = || PathBuf::from("/usr/bin/sbatch");
        let deadline = ProgramError::Deadline { path: program(), deadline: Duration::from_mins(3) };
        assert_eq!(short(&judge("main", &Err(deadline))), "lost");
        let source = std::io::Error::other("no such file");
        let start = ProgramError::Start { path: program(), source };
        assert_eq!(short(&judge("main", &Err(start))), "unreachable");
        let unread = |kind: std::io::ErrorKind| {
            short(&judge(
                "main",
                &Err(ProgramError::Stdin { path: program(), source: kind.into() }),
            ))
        };
        // The run's own trouble, and no other's.
        assert_eq!(unread(std::io::ErrorKind::NotFound), "refused");
        assert_eq!(unread(std::io::ErrorKind::StaleNetworkFileHandle), "for now");
        let cut = Output { code: Some(0), stdout: b"1\n".into(), stderr: Vec::new(), cut: true };
        assert_eq!(short(&judge("main", &Ok(cut))), "lost");
    }

    #[test]
    fn a_slurm_that_is_away_is_not_a_refusal() {
        for why in [
            "Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\nsbatch: fatal: Could not establish a \
             configuration source",
        ] {
            check(Some(1), "", &format!("sbatch: error: {why}\n"), "unreachable");
        }
    }

    #[test]
    fn limits_pass() {
        check(
            Some(1),
            "",
            "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates \
             accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            "for now",
        );
        let failed = |why: &str| format!("sbatch: error: Batch job submission failed: {why}\n");
        check(Some(1), "", &failed("Resource temporarily unavailable"), "for now");
        let retried =
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n";
        check(
            Some(1),
            "",
            &format!("{retried}{}", failed("Invalid partition name specified")),
            "refused",
        );
        let full = "sbatch: error: Slurm job queue full, sleeping and retrying\n";
        check(Some(1), "", full, "lost");
        let gave_up = failed("Unable to create job record, try again");
        check(Some(1), "", &format!("{full}{gave_up}"), "for now");
    }

    #[test]
    fn everything_else_is_refused_with_all_words_kept() {
        let text = "sbatch: error: you may not run here:\nsbatch: error: ask \x1b[1mhelpdesk\n\
                    sbatch: error: Batch job submission failed: Unspecified error\n";
        check(Some(1), "", text, "refused");
        let output = Output { code: Some(1), stdout: Vec::new(), stderr: text.into(), cut: false };
        let Answer::Refused { message, .. } = judge("main", &Ok(output)) else { panic!("refused") };
        assert!(message.starts_with("sbatch: error: you may not run here:\n"), "{message}");
        assert!(!message.contains('\u{1b}'));
        check(Some(255), "", "sbatch: error: Invalid --mem specification\n", "refused");
        let gres = "sbatch: error: Invalid generic resource (gres) specification\n";
        check(Some(1), "", gres, "refused");
        check(Some(1), "", "sbatch: unrecognized option '--nope'\n", "refused");
        let by_itself = [
            "error: Invalid numeric value \"some\" for --switches.",
            "error: unrecognized --hint argument \"odd\", see --hint=help",
            "error: invalid number of nodes (-N 3-1)",
            "fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.",
        ];
        for words in by_itself {
            check(Some(1), "", &format!("sbatch: {words}\n"), "refused");
        }
        check(
            Some(1),
            "",
            "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n",
            "refused",
        );
        check(
            Some(1),
            "",
            "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, \
             user's size and/or time limits)\n",
            "refused",
        );
    }
}

//! Runs that are over without having completed.

use crate::domain::diagnosis::{Case, Evidence, Finding, Kind, Source, cause};
use crate::domain::run::Reason;

/// The last lines of a log, where nothing in it is known.
const LAST_LINES: usize = 5;

pub(super) fn explain(case: &Case<'_>) -> Finding {
    let run = case.run;
    let Some(reason) = run.reason.as_deref().and_then(Reason::from_word) else {
        return by_its_logs(case, Kind::ExitCode);
    };
    match reason {
        Reason::ExitCode => by_its_logs(case, Kind::ExitCode),
        Reason::Signal => by_its_logs(case, Kind::Killed),
        Reason::OutOfMemory => out_of_memory(case),
        Reason::TimeLimit | Reason::Deadline => by_slurm(case, Kind::TimeLimit),
        Reason::Preempted | Reason::Requeued => by_slurm(case, Kind::Preempted),
        Reason::NodeFailure | Reason::BootFailure => {
            let attempt = case.run.attempts.iter().flatten().last();
            let node = attempt.and_then(|attempt| attempt.failed_nodes.first().cloned());
            Finding { node, ..by_slurm(case, Kind::NodeFailure) }
        }
        Reason::CancelledByUser | Reason::CancelledByAdmin => by_slurm(case, Kind::Cancelled),
        Reason::LaunchFailed => {
            let finding = Finding::new(Kind::LaunchFailed, recorded(case));
            Finding {
                evidence: last_lines(case, &[Source::Scheduler, Source::Training]),
                ..finding
            }
        }
        Reason::PreparationFailed => preparation(case),
        Reason::Rejected => refused(case),
        Reason::DataChanged => Finding::new(Kind::DataChanged, recorded(case)),
        Reason::Lost | Reason::Superseded => by_slurm(case, Kind::Lost),
        Reason::Hung => {
            let evidence = last_lines(case, &[Source::Training, Source::Scheduler]);
            Finding { evidence, ..Finding::new(Kind::Hung, recorded(case)) }
        }
        Reason::NoProgress
        | Reason::NoCheckpoint
        | Reason::StoppedEarly
        | Reason::StoppedByPolicy
        | Reason::BudgetExhausted
        | Reason::EvaluationFailed => by_slurm(case, Kind::Stopped),
    }
}

/// What was recorded as its end, else its state.
fn recorded(case: &Case<'_>) -> String {
    let run = case.run;
    if run.message.is_empty() { format!("it {}", run.state) } else { run.message.clone() }
}

/// The training ended by itself: only what it printed can say why.
fn by_its_logs(case: &Case<'_>, kind: Kind) -> Finding {
    cause::find(case).unwrap_or_else(|| {
        let mut sentence = recorded(case);
        let code = case.run.attempts.iter().flatten().last().and_then(|attempt| attempt.exit_code);
        let meaning = code.and_then(code_in_words);
        sentence.push_str(&meaning.map(|words| format!(" ({words})")).unwrap_or_default());
        let evidence = last_lines(case, &[Source::Training, Source::Scheduler]);
        Finding { evidence, ..Finding::new(kind, sentence) }
    })
}

/// What shells and Python mean by an exit code.
fn code_in_words(code: i32) -> Option<&'static str> {
    Some(match code {
        126 => "a shell says so of a command that cannot be executed",
        127 => "a shell says so of a command that is not found",
        134 => "128 + 6, SIGABRT: the program gave up",
        135 => "128 + 7, SIGBUS: often shared memory that ran out",
        137 => "128 + 9, SIGKILL: mostly memory that ran out",
        139 => "128 + 11, SIGSEGV: the program crashed",
        143 => "128 + 15, SIGTERM: something asked it to end",
        _ => return None,
    })
}

fn out_of_memory(case: &Case<'_>) -> Finding {
    match cause::find(case).filter(|found| found.kind == Kind::HostOutOfMemory) {
        Some(found) => Finding { sentence: recorded(case), ..found },
        None => by_slurm(case, Kind::HostOutOfMemory),
    }
}

/// Slurm or a person ended it: the record says why, and the logs show it.
fn by_slurm(case: &Case<'_>, kind: Kind) -> Finding {
    const WORDS: [&str; 3] = ["CANCELLED AT ", "DUE TO ", "oom"];
    let mut evidence = Vec::new();
    for log in case.logs {
        let is_told = |text: &str| {
            text.contains("slurmstepd") && WORDS.iter().any(|words| text.contains(words))
        };
        let told = log.lines.iter().enumerate().filter(|(_, line)| is_told(&line.text));
        let told: Vec<usize> = told.map(|(index, _)| index).take(LAST_LINES).collect();
        evidence.extend(cause::evidence(log, &told));
    }
    Finding { evidence, ..Finding::new(kind, recorded(case)) }
}

fn preparation(case: &Case<'_>) -> Finding {
    let build = case.logs.iter().find(|log| log.source == Source::Build);
    let said = build.map(|log| {
        let is_error = |text: &str| text.to_ascii_lowercase().contains("error");
        let lines = log.lines.iter().enumerate().filter(|(_, line)| is_error(&line.text));
        let lines: Vec<usize> = lines.map(|(index, _)| index).collect();
        cause::evidence(
            log,
            lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default(),
        )
    });
    let said = said.filter(|said| !said.is_empty());
    let evidence = said.unwrap_or_else(|| last_lines(case, &[Source::Build]));
    Finding { evidence, ..Finding::new(Kind::PreparationFailed, recorded(case)) }
}

/// What sbatch says, and the key of the spec that it is about.
const REFUSALS: &[(&str, &str)] = &[
    ("Invalid partition", "the class's `partition` is not there: see `sinfo`, and the site config"),
    (
        "Invalid account",
        "`account` is not one of yours: `sacctmgr show associations user=$USER` lists them",
    ),
    ("Invalid qos", "`qos` is not one that the account may use"),
    ("Invalid feature", "no node has the features that `constraint` names"),
    ("Invalid generic resource", "the partition has no such GPUs: see `gpu_type` of the class"),
    (
        "Requested node configuration is not available",
        "no node has that many CPUs, GPUs or that much memory",
    ),
    ("Requested reservation is invalid", "`reservation` is not there, or not yours"),
    ("Invalid license", "the cluster has no such `licenses`"),
    ("Invalid node name", "`nodelist` or `exclude` names a node that is not there"),
    ("More processors requested than permitted", "ask for fewer CPUs or nodes"),
    ("Requested time limit is invalid", "`time_limit` is longer than the partition allows"),
    ("Node count specification invalid", "the partition does not give one job that many `nodes`"),
    ("Memory specification can not be satisfied", "no node has that much `memory_per_node`"),
];

fn refused(case: &Case<'_>) -> Finding {
    let message = &case.run.message;
    let mut finding = Finding::new(Kind::Rejected, format!("it was refused: {}", message.trim()));
    if let Some((_, advice)) = REFUSALS.iter().find(|(words, _)| message.contains(words)) {
        (*advice).clone_into(&mut finding.what_to_do);
    }
    finding
}

/// The last lines of the first of these logs that has any.
fn last_lines(case: &Case<'_>, sources: &[Source]) -> Vec<Evidence> {
    let of = |source: &Source| case.logs.iter().find(|log| log.source == *source);
    let logs = sources.iter().filter_map(of);
    let mut texts = logs.map(|log| {
        let lines =
            log.lines.iter().enumerate().rev().filter(|(_, line)| !line.text.trim().is_empty());
        let mut last: Vec<usize> = lines.map(|(index, _)| index).take(LAST_LINES).collect();
        last.reverse();
        cause::evidence(log, &last)
    });
    texts.find(|lines| !lines.is_empty()).unwrap_or_default()
}

//! Runs that wait: by Trainyard's own rules, or in Slurm's queue for a reason that Slurm names.

use crate::domain::diagnosis::{Case, Evidence, Finding, Kind, Outlook, advice};
use crate::domain::units::Seconds;

pub(super) fn explain(case: &Case<'_>) -> Finding {
    let run = case.run;
    let by_itself = |kind: Kind, sentence: &str| Finding {
        will_start: Some(Outlook::ByItself),
        ..Finding::new(kind, sentence)
    };
    match run.state.as_str() {
        "queued" => queued(case),
        "submitting" if run.message.is_empty() => {
            by_itself(Kind::OwnRules, "it is being submitted: sbatch has not answered yet")
        }
        "submitting" => by_itself(Kind::SchedulerSilent, &run.message),
        "backoff" => by_itself(Kind::OwnRules, &backoff(case)),
        _ if run.message.is_empty() => {
            by_itself(Kind::OwnRules, "Trainyard has not looked at it yet")
        }
        _ => by_itself(Kind::OwnRules, &run.message),
    }
}

fn backoff(case: &Case<'_>) -> String {
    let last = case.run.attempts.iter().flatten().last();
    let reason = last.and_then(|attempt| attempt.reason.as_deref()).unwrap_or("no reason");
    format!("its last attempt ended ({reason}), and it waits a little before the next one")
}

/// A reason of Slurm's, by its word.
struct Known {
    word: &'static str,
    kind: Kind,
    outlook: Outlook,
    sentence: &'static str,
    /// None where the kind's own will do.
    what_to_do: Option<&'static str>,
}

const fn passes(word: &'static str, kind: Kind, sentence: &'static str) -> Known {
    Known { word, kind, outlook: Outlook::ByItself, sentence, what_to_do: None }
}

const fn held(word: &'static str, sentence: &'static str, what_to_do: &'static str) -> Known {
    let what_to_do = Some(what_to_do);
    Known { word, kind: Kind::Held, outlook: Outlook::WhenReleased, sentence, what_to_do }
}

const fn never(word: &'static str, sentence: &'static str, what_to_do: &'static str) -> Known {
    let what_to_do = Some(what_to_do);
    Known { word, kind: Kind::NeverStarts, outlook: Outlook::Never, sentence, what_to_do }
}

const REASONS: &[Known] = &[
    passes("None", Kind::InTurn, "Slurm has not looked at it yet"),
    passes("Priority", Kind::InTurn, "jobs of a higher priority come first"),
    passes("Resources", Kind::InTurn, "it is next, and waits for nodes to become free"),
    passes("JobArrayTaskLimit", Kind::Limit, "its array runs as many tasks at once as it may"),
    passes(
        "BeginTime",
        Kind::NotYet,
        "its time to begin has not come; a job that was requeued waits so for about two minutes",
    ),
    passes("its nodes are being made ready", Kind::NotYet, "its nodes are being made ready"),
    passes("it is being requeued", Kind::NotYet, "it is on its way back into the queue"),
    held("it is held", "Slurm holds it", "`scontrol release` with its job id may release it"),
    passes("Dependency", Kind::NotYet, "it waits for the jobs that it depends on"),
    passes("Licenses", Kind::NotYet, "it waits for licenses to become free"),
    passes("Reservation", Kind::NotYet, "its reservation has not begun"),
    passes("Prolog", Kind::NotYet, "the nodes are being made ready for it"),
    passes("Cleaning", Kind::NotYet, "what its last start left is being cleaned up"),
    passes("BurstBufferResources", Kind::NotYet, "it waits for room in the burst buffer"),
    passes("BurstBufferStageIn", Kind::NotYet, "its data is being staged in"),
    passes(
        "QOSUsageThreshold",
        Kind::Limit,
        "the QOS asks for a fair-share value that you are below for now",
    ),
    passes("PartitionDown", Kind::NodesUnavailable, "its partition is down"),
    passes("PartitionInactive", Kind::NodesUnavailable, "its partition takes no jobs now"),
    passes("NodeDown", Kind::NodesUnavailable, "a node that it needs is down"),
    passes(
        "ReqNodeNotAvail",
        Kind::NodesUnavailable,
        "nodes that it needs are down, drained or reserved, often for maintenance",
    ),
    held("JobHeldUser", "you hold it", "`scontrol release` with its job id lets it start"),
    held(
        "JobHeldAdmin",
        "an administrator, or Slurm after failed starts, holds it",
        "ask the administrators to release it",
    ),
    held(
        "launch failed requeued held",
        "it could not be launched, and Slurm holds it",
        "ask the administrators; the node's log says why",
    ),
    held(
        "JobHoldMaxRequeue",
        "it was requeued too often, and Slurm holds it",
        "`scontrol release` with its job id lets it start again",
    ),
    held(
        "ReservationDeleted",
        "its reservation was deleted, and Slurm holds it",
        "cancel it and submit it without that `reservation`",
    ),
    never(
        "PartitionNodeLimit",
        "it asks for more nodes, or fewer, than its partition gives one job",
        "ask for other `nodes`, or choose another class; Slurm says the same while nodes that it needs are down",
    ),
    never(
        "PartitionTimeLimit",
        "its time limit is longer than its partition allows",
        "shorten `time_limit`, or choose another class",
    ),
    never(
        "PartitionConfig",
        "it asks for what its partition does not have",
        "ask for less, or choose another class",
    ),
    never(
        "AccountNotAllowed",
        "its account may not use the partition",
        "choose another `account` or class",
    ),
    never(
        "AccountingPolicy",
        "the accounting policy does not allow it",
        "ask the administrators which limit it is",
    ),
    never(
        "QOSNotAllowed",
        "its QOS may not use the partition, or its account not that QOS",
        "choose another `qos` or class",
    ),
    never(
        "InvalidAccount",
        "its account is not valid",
        "choose another `account`; `sacctmgr show associations user=$USER` lists yours",
    ),
    never("InvalidQOS", "its QOS is not valid", "choose another `qos`"),
    never(
        "BadConstraints",
        "no node fits what it asks for",
        "change `constraint`, the GPUs, CPUs or memory a node, or choose another class",
    ),
    never(
        "DependencyNeverSatisfied",
        "a job that it depends on did not end as it had to",
        "cancel it and submit it without that dependency",
    ),
    never(
        "MaxMemPerLimit",
        "it asks for more memory than one job is given",
        "ask for less `memory_per_node`",
    ),
    never(
        "DeadLine",
        "it cannot end before its deadline any more",
        "cancel it and submit it with a later deadline",
    ),
    never(
        "FedJobLock",
        "the clusters of the federation do not agree on it",
        "ask the administrators",
    ),
];

fn queued(case: &Case<'_>) -> Finding {
    let text = case.run.message.trim().trim_matches(['(', ')']);
    let mut finding = known(if text.is_empty() { "None" } else { text })
        .or_else(|| limit(text, case.others_running > 0))
        .unwrap_or_else(|| unknown(text));
    finding.evidence.push(Evidence::recorded(asked(case)));
    if !text.is_empty() {
        finding.evidence.insert(0, Evidence::recorded(format!("the reason that is given: {text}")));
    }
    if let Some(who) = &case.run.stale_who {
        finding.evidence.push(Evidence::recorded(format!("this may be old: {who}")));
    }
    finding
}

fn known(text: &str) -> Option<Finding> {
    // squeue writes some of its reasons as sentences, with spaces or without.
    let text = text.replace('_', " ");
    if text.starts_with("Nodes required for job are DOWN") {
        return known("ReqNodeNotAvail");
    }
    let word = text.split([',', '(', ':']).next().unwrap_or_default().trim();
    let known = REASONS.iter().find(|known| known.word == word)?;
    let what_to_do = known.what_to_do.unwrap_or_else(|| advice::for_kind(known.kind));
    Some(Finding {
        will_start: Some(known.outlook),
        what_to_do: what_to_do.to_owned(),
        ..Finding::new(known.kind, known.sentence)
    })
}

fn unknown(text: &str) -> Finding {
    let sentence = format!("it waits; the reason that is given is `{text}`");
    Finding { will_start: Some(Outlook::Unknown), ..Finding::new(Kind::UnknownReason, sentence) }
}

/// `AssocGrpNodeLimit`, `QOSMaxCpuPerUserLimit` and their like: whose limit, which kind of limit, of what.
fn limit(text: &str, others_run: bool) -> Option<Finding> {
    let word = text.split([' ', ',', '(']).next().unwrap_or_default();
    let (whose, rest) = ["Association", "Assoc", "QOS"]
        .iter()
        .find_map(|prefix| Some((*prefix, word.strip_prefix(prefix)?)))?;
    let whose = if whose == "QOS" { "its QOS" } else { "its account" };
    let what = limited(rest)?;
    let is_per_person = rest.contains("PerUser") || rest.contains("PerAccount");
    let (kind, outlook, sentence, what_to_do) = if rest.starts_with("Min") {
        let sentence = format!("it asks for less {what} than {whose} demands of a job");
        (Kind::NeverStarts, Outlook::Never, sentence, "ask for more, or choose another `qos`")
    } else if rest.contains("Min")
        && (rest.starts_with("Grp") || rest.starts_with("Max"))
        && !rest.contains("PerJob")
    {
        let sentence = format!("the {what} that {whose} may use are used up, or would be");
        let what_to_do = "wait until old use counts less, or ask for a larger share";
        (Kind::Limit, Outlook::Unknown, sentence, what_to_do)
    } else if rest.starts_with("Grp") || rest.contains("Job") && !rest.contains("PerJob") {
        let sentence = format!("all jobs under {whose} together have reached the limit of {what}");
        (Kind::Limit, Outlook::ByItself, sentence, "")
    } else if is_per_person && others_run {
        let sentence = format!("your jobs under {whose} together have reached the limit of {what}");
        (Kind::Limit, Outlook::ByItself, sentence, "")
    } else if is_per_person {
        let sentence = format!(
            "it alone asks for more {what} than {whose} gives one user: no other run of yours is running"
        );
        let what_to_do = "ask for less, or choose another class or `qos`; jobs of yours outside Trainyard count, too";
        (Kind::NeverStarts, Outlook::Never, sentence, what_to_do)
    } else {
        let sentence = format!("it asks for more {what} than {whose} gives one job");
        (
            Kind::NeverStarts,
            Outlook::Never,
            sentence,
            "ask for less, or choose another class, `account` or `qos`",
        )
    };
    let what_to_do = what_to_do.to_owned();
    Some(Finding { will_start: Some(outlook), what_to_do, ..Finding::new(kind, sentence) })
}

/// What a limit counts, in words.
fn limited(rest: &str) -> Option<&'static str> {
    const THINGS: &[(&[&str], &str)] = &[
        (&["Minutes", "Mins"], "minutes"),
        (&["Node"], "nodes"),
        (&["Cpu", "CPU"], "CPUs"),
        (&["GRES", "Gres"], "GPUs or other devices"),
        (&["Mem"], "memory"),
        (&["Wall", "Time"], "time"),
        (&["Billing"], "billing units"),
        (&["License"], "licenses"),
        (&["BB"], "burst buffer"),
        (&["Energy"], "energy"),
        (&["Job"], "jobs"),
        (&["Resource", "Unknown"], "resources"),
    ];
    let has = |words: &&[&str]| words.iter().any(|word| rest.contains(word));
    THINGS.iter().find(|(words, _)| has(words)).map(|(_, what)| *what)
}

/// What it asks for, in a line.
fn asked(case: &Case<'_>) -> String {
    let run = case.run;
    let mut text = format!(
        "it asks for {} node{} of class {}",
        run.nodes,
        if run.nodes == 1 { "" } else { "s" },
        run.class
    );
    if run.gpus_per_node > 0 {
        text.push_str(&format!(", {} GPUs on each", run.gpus_per_node));
    }
    let granted = run.attempts.iter().flatten().last();
    if let Some(limit) = granted.and_then(|attempt| attempt.time_limit_seconds) {
        text.push_str(&format!(", for {}", Seconds(limit)));
    }
    for (name, value) in [
        ("partition", granted.and_then(|attempt| attempt.partition.as_deref())),
        ("account", granted.and_then(|attempt| attempt.account.as_deref())),
        ("QOS", granted.and_then(|attempt| attempt.qos.as_deref())),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    text
}

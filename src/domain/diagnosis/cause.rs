//! The first cause among all that the logs tell.

use crate::domain::diagnosis::rules::{self, Tier};
use crate::domain::diagnosis::torchrun::{self, RootCause};
use crate::domain::diagnosis::traceback::{self, Traceback};
use crate::domain::diagnosis::{
    Case, Evidence, Exception, Finding, Kind, Line, Log, QUOTED_MAX, advice,
};

/// A traceback with more lines of its process behind it was survived.
const LINES_AFTER_MAX: usize = 200;
/// Findings of other kinds that are shown beside the cause.
const OTHERS_MAX: usize = 3;

/// Something that a log tells.
#[derive(Debug, Clone)]
struct Candidate<'a> {
    log: &'a Log,
    kind: Kind,
    tier: Tier,
    /// Positions in the log; the last one is what says it.
    proof: Vec<usize>,
    traceback: Option<Traceback>,
    /// What says it.
    words: String,
}

impl Candidate<'_> {
    /// Its first line and its place: the least is the cause. An exception says more than a line.
    fn order(&self) -> (Tier, bool, usize) {
        (self.tier, self.traceback.is_none(), self.proof.first().copied().unwrap_or_default())
    }

    fn line(&self) -> Option<&Line> {
        self.log.lines.get(*self.proof.first()?)
    }
}

/// The cause, where the logs have one.
pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let mut candidates: Vec<Candidate<'_>> = case.logs.iter().flat_map(of_log).collect();
    candidates.sort_by_key(Candidate::order);
    let root = case.logs.iter().find_map(|log| Some((log, torchrun::root_cause(&log.lines)?)));
    let root_cause = root.as_ref().map(|(_, root)| root);
    let first = first_of(&candidates, root_cause)?;
    let mut finding = Finding { evidence: evidence(first.log, &first.proof), ..said(first) };
    // torchrun's own exception does not say how the rank ended; signals have a line of their own.
    let code = root_cause.and_then(|root| root.exit_code).filter(|code| *code > 0);
    if let Some(code) = code.filter(|_| first.kind == Kind::ExitCode) {
        finding.sentence = format!("the training ended with exit code {code}");
        finding.exception = None;
    }
    let mut alike = candidates.iter().filter(|candidate| candidate.kind == first.kind);
    let by_srun = alike.find_map(|candidate| srun_said(&candidate.words));
    (finding.rank, finding.node) = whose(case, first, by_srun, root_cause);
    if let Some(Exception { kind, message, file, function, .. }) = &mut finding.exception {
        let texts = [Some(kind), Some(message), file.as_mut(), function.as_mut()];
        texts.into_iter().flatten().for_each(|text| *text = shortened(text));
    }
    finding.sentence.push_str(&by_whom(&finding));
    if let Some((log, root)) = &root {
        finding.evidence.extend(evidence(log, &root.proof));
    }
    let mut kinds = vec![finding.kind];
    for other in &candidates {
        if kinds.len() <= OTHERS_MAX && !kinds.contains(&other.kind) {
            kinds.push(other.kind);
            finding.evidence.extend(other.proof.last().and_then(|line| shown(other.log, *line)));
        }
    }
    Some(finding)
}

/// The first of those in order. A rank that lost another is not the cause where torchrun saw that one end.
fn first_of<'a, 'b>(
    candidates: &'a [Candidate<'b>],
    root: Option<&RootCause>,
) -> Option<&'a Candidate<'b>> {
    let first = candidates.first()?;
    let lost_another = first.tier == Tier::Consequence && first.kind == Kind::CollectiveError;
    let rank = first.line().and_then(|line| line.rank);
    let is_another = rank.zip(root.and_then(|root| root.rank)).is_some_and(|(own, of)| own != of);
    let mut told = candidates.iter().filter(|one| one.kind == Kind::ExitCode);
    Some(if lost_another && is_another { told.next().unwrap_or(first) } else { first })
}

fn of_log(log: &Log) -> Vec<Candidate<'_>> {
    let mut candidates = Vec::new();
    let mut is_taken = vec![false; log.lines.len()];
    // torchrun tells of all ranks that failed, and of the first one last.
    let root = torchrun::root_cause(&log.lines).and_then(|root| root.proof.first().copied());
    for stream in log.streams() {
        let lines: Vec<&Line> = stream.iter().filter_map(|index| log.lines.get(*index)).collect();
        for traceback in traceback::find(&lines) {
            let places = stream.get(traceback.start..traceback.end).unwrap_or_default();
            for at in places {
                is_taken[*at] = true;
            }
            let was_survived = lines.len() - traceback.end.min(lines.len()) > LINES_AFTER_MAX;
            let is_told = lines.get(traceback.start).is_some_and(|line| torchrun::tells(line));
            let is_of_others = is_told && places.first().copied() < root;
            if !was_survived && !is_of_others {
                candidates.push(of_traceback(log, &stream, traceback));
            }
        }
    }
    for (index, line) in log.lines.iter().enumerate().filter(|(index, _)| !is_taken[*index]) {
        if let Some((kind, tier)) = rules::of_line(&line.text) {
            let (proof, words) = (vec![index], line.text.clone());
            candidates.push(Candidate { log, kind, tier, proof, traceback: None, words });
        }
    }
    candidates
}

fn of_traceback<'a>(log: &'a Log, stream: &[usize], traceback: Traceback) -> Candidate<'a> {
    let judged =
        traceback.words.iter().find_map(|words| Some((rules::of_exception(words)?, words)));
    let ((kind, tier), words) = match judged {
        Some(judged) => judged,
        None => ((Kind::PythonException, Tier::Cause), &traceback.words[0]),
    };
    let words = words.lines().next().unwrap_or_default().to_owned();
    let mut proof: Vec<usize> =
        traceback.proof.iter().filter_map(|at| stream.get(*at).copied()).collect();
    proof.sort_unstable();
    Candidate { log, kind, tier, proof, words, traceback: Some(traceback) }
}

/// What it comes to, in a sentence that does not say yet by whom.
fn said(candidate: &Candidate<'_>) -> Finding {
    // torchrun tells of a signal so.
    let words = candidate.words.trim_start();
    let quoted = shortened(words.strip_prefix("traceback : ").unwrap_or(words));
    let sentence = match advice::in_words(candidate.kind) {
        Some(words) => format!("{words}: {quoted}"),
        None => quoted,
    };
    let exception = candidate.traceback.as_ref().map(|traceback| traceback.exception.clone());
    Finding { exception, ..Finding::new(candidate.kind, sentence) }
}

/// The rank and the node, as far as labels, torchrun or srun tell.
fn whose(
    case: &Case<'_>,
    candidate: &Candidate<'_>,
    by_srun: Option<(&str, u32)>,
    root: Option<&RootCause>,
) -> (Option<u32>, Option<String>) {
    let nodes = case.run.attempts.iter().flatten().last().map_or(&[][..], |a| a.nodes.as_slice());
    let line = candidate.line();
    let labelled = line.and_then(|line| line.rank).or(by_srun.map(|(_, task)| task));
    let local = line.and_then(|line| line.local_rank);
    // How torchrun numbers nodes is its own affair.
    let by_local = local.filter(|_| case.run.world_size == case.run.processes_per_node);
    let is_same = |root: &&RootCause| local.is_none() || root.local_rank == local;
    let of_root = root.filter(is_same).and_then(|root| root.rank);
    let only = (case.run.world_size == 1).then_some(0);
    let rank = labelled.or(by_local).or(of_root).or(only);
    let of_rank = rank.map(|rank| rank / case.run.processes_per_node.max(1));
    let index = line.and_then(|line| line.node).or(of_rank);
    let by_place = index.and_then(|index| nodes.get(usize::try_from(index).ok()?)).cloned();
    let node = by_srun.map(|(node, _)| node.to_owned()).or(by_place);
    (rank, node.or(root.and_then(|root| root.host.clone())))
}

/// `srun: error: n2: task 3: Killed` as its node and its task.
fn srun_said(line: &str) -> Option<(&str, u32)> {
    let (_, rest) = line.split_once("srun: error: ")?;
    let (node, rest) = rest.split_once(": task ")?;
    Some((node, rest.split_once(':')?.0.parse().ok()?))
}

fn by_whom(finding: &Finding) -> String {
    let mut text = String::new();
    if let Some((file, line)) = finding.exception.as_ref().and_then(|e| e.file.as_ref().zip(e.line))
    {
        text.push_str(&format!(", at {file}:{line}"));
    }
    if let Some(rank) = finding.rank {
        text.push_str(&format!(", by rank {rank}"));
    }
    if let Some(node) = &finding.node {
        text.push_str(&format!(" on {node}"));
    }
    text
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

pub(super) fn evidence(log: &Log, proof: &[usize]) -> Vec<Evidence> {
    proof.iter().filter_map(|index| shown(log, *index)).collect()
}

fn shown(log: &Log, index: usize) -> Option<Evidence> {
    let line = log.lines.get(index)?;
    Some(Evidence { source: log.source, line: line.number, text: shortened(line.text.trim_end()) })
}

//! What torchrun says at its end: which rank failed first, and where.

use crate::domain::diagnosis::Line;

/// The first failure that an agent saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RootCause {
    pub(super) rank: Option<u32>,
    /// Its number on its node.
    pub(super) local_rank: Option<u32>,
    pub(super) host: Option<String>,
    pub(super) exit_code: Option<i32>,
    /// Lines of the log.
    pub(super) proof: Vec<usize>,
}

const HEADING: &str = "Root Cause (first observed failure):";
/// Lines of the block.
const LINES_MAX: usize = 8;

/// Whether a traceback that begins so is told by torchrun, of a training whose function is wrapped in torch's `record`.
pub(super) fn tells(heading: &Line) -> bool {
    heading.text.trim_start().starts_with("traceback : ")
}

/// The block of the agent that was printed first.
pub(super) fn root_cause(lines: &[Line]) -> Option<RootCause> {
    let start = lines.iter().position(|line| line.text.trim() == HEADING)?;
    let node = lines.get(start)?.node;
    let mut cause = RootCause { proof: vec![start], ..RootCause::default() };
    let of_agent = lines.iter().enumerate().skip(start + 1).filter(|(_, line)| line.node == node);
    for (index, line) in of_agent.take(LINES_MAX) {
        let Some((key, value)) = line.text.split_once(" : ").or(line.text.split_once(": ")) else {
            continue;
        };
        let first = value.split_whitespace().next().unwrap_or_default();
        match key.trim() {
            "rank" => {
                cause.rank = first.parse().ok();
                let local = value.split_once("(local_rank: ").map(|(_, rest)| rest);
                cause.local_rank = local.and_then(|rest| rest.trim_end_matches(')').parse().ok());
            }
            "host" => cause.host = Some(first.to_owned()),
            // Evidence of its own.
            "exitcode" => cause.exit_code = first.parse().ok(),
            _ => continue,
        }
        cause.proof.push(index);
    }
    Some(cause)
}

//! What one rank printed: where it stands, and how it is taken out of what all printed.

use std::collections::VecDeque;

use crate::domain::resolved::{Resolved, Target};
use crate::domain::spec::Launcher;

/// Where the lines of one rank stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankLog {
    /// In a log that is nobody else's.
    Whole,
    /// Among those of the others, with its number before each.
    Labelled,
    /// In a log of its own, beside the one of all.
    Own,
}

/// Why a rank's lines cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRankLog {
    #[error("there is no rank {rank}: the world has {world_size}, from 0 on")]
    NoSuchRank { rank: u32, world_size: u32 },
    #[error("the lines of the ranks that {0} starts stand in one log without their numbers")]
    Mixed(&'static str),
}

impl RankLog {
    /// Where the lines of a rank of such a run stand.
    ///
    /// # Errors
    /// When the run has no such rank, or nothing tells its lines from others'.
    pub fn of(resolved: &Resolved, rank: u32) -> Result<Self, NoRankLog> {
        let distributed = &resolved.distributed;
        let (launcher, world_size) = (distributed.launcher, distributed.world_size);
        if rank >= world_size {
            return Err(NoRankLog::NoSuchRank { rank, world_size });
        }
        let is_labelled = resolved.compute.target != Target::Local && launcher.has_task_per_rank();
        if launcher == Launcher::None {
            Ok(Self::Whole)
        } else if is_labelled {
            Ok(Self::Labelled)
        } else if distributed.rank_logs {
            Ok(Self::Own)
        } else if world_size == 1 {
            Ok(Self::Whole)
        } else {
            Err(NoRankLog::Mixed(launcher.as_str()))
        }
    }
}

/// Takes the lines of one rank out of those of all, which come in stretches that end anywhere.
#[derive(Debug)]
pub struct RankLines {
    rank: u32,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// Until the log's end is reached, where only its last lines are wanted: those, and how many.
    last: Option<(usize, VecDeque<Vec<u8>>)>,
}

impl RankLines {
    /// Of all lines, or of the last so many that are there.
    pub fn new(rank: u32, last: Option<u64>) -> Self {
        let last =
            last.map(|lines| (usize::try_from(lines).unwrap_or(usize::MAX), VecDeque::new()));
        Self { rank, rest: Vec::new(), last }
    }

    /// The rank's own lines of the next stretch, without its number.
    pub fn take(&mut self, stretch: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(stretch);
        let end = memchr::memrchr(b'\n', &self.rest).map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        self.own(&whole)
    }

    /// What was held back as long as more was there: the last lines, once.
    pub fn caught_up(&mut self) -> Vec<u8> {
        self.last.take().map(|(_, lines)| lines.into_iter().flatten().collect()).unwrap_or_default()
    }

    /// The last line, which has no end.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.rest);
        self.own(&rest)
    }

    fn own(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = labelled(line, self.rank) else { continue };
            let Some((most, lines)) = &mut self.last else {
                out.extend_from_slice(text);
                continue;
            };
            lines.push_back(text.to_vec());
            if lines.len() > *most {
                lines.pop_front();
            }
        }
        out
    }
}

/// A line of this rank, without the label that srun puts before it: `3: text`, with blanks before short numbers.
fn labelled(line: &[u8], rank: u32) -> Option<&[u8]> {
    let line = line.trim_ascii_start();
    let (label, text) = line.split_at_checked(memchr::memchr(b':', line)?)?;
    let is_number = label.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(label).ok().filter(|_| is_number)?.parse::<u32>().ok()?;
    let text = text.strip_prefix(b":")?;
    (number == rank).then(|| text.strip_prefix(b" ").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken of a log that comes in stretches of so many bytes.
    fn taken(log: &[u8], rank: u32, last: Option<u64>, stretch: usize) -> String {
        let mut lines = RankLines::new(rank, last);
        let mut out: Vec<u8> = log.chunks(stretch).flat_map(|some| lines.take(some)).collect();
        let rest = lines.finish();
        out.extend(lines.caught_up());
        out.extend(rest);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_rank_s_lines_are_found_wherever_a_stretch_ends() {
        let log = b" 0: a\n 1: b\n10: c\nsrun: error: x\n 1:\n 1: 10%\r20%\n 0: d\n 1:  e";
        for stretch in [1, 2, 7, 100] {
            assert_eq!(taken(log, 1, None, stretch), "b\n\n10%\r20%\n e", "{stretch}");
            assert_eq!(taken(log, 10, None, stretch), "c\n");
            assert_eq!(taken(log, 2, None, stretch), "");
            assert_eq!(taken(log, 0, Some(1), stretch), "d\n");
            assert_eq!(taken(log, 0, Some(0), stretch), "");
            assert_eq!(taken(log, 1, Some(9), stretch), "b\n\n10%\r20%\n e");
        }
    }

    #[test]
    fn what_comes_after_the_last_lines_follows_them() {
        let mut lines = RankLines::new(3, Some(1));
        assert_eq!(lines.take(b"3: a\n3: b\n"), b"");
        assert_eq!(lines.caught_up(), b"b\n");
        assert_eq!((lines.take(b"3: c\n"), lines.caught_up()), (b"c\n".to_vec(), Vec::new()));
    }
}

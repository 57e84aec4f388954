//! The end of a log as lines that are safe to show.

use std::collections::BTreeMap;

use crate::domain::diagnosis::Source;
use crate::domain::spec::{Launcher, TargetKind};
use crate::domain::text::is_dangerous;

/// Lines that are looked at, counted from the end: a log may be nothing but line ends.
const LINES_MAX: usize = 50_000;
/// What is kept of one line.
const LINE_BYTES_MAX: usize = 4 << 10;

/// The last bytes of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    pub bytes: Vec<u8>,
    /// How many lines end before them; none where they were too many to count.
    pub lines_before: Option<u64>,
}

/// What a launcher puts before each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    None,
    /// srun numbers tasks, and each is a rank.
    Ranks,
    /// srun numbers tasks, and each is a node's agent.
    Nodes,
}

impl Labels {
    /// Of what a training prints, by the words of a run's view: srun labels what it starts.
    pub fn of(target: &str, launcher: &str) -> Self {
        match Launcher::from_word(launcher) {
            _ if target != TargetKind::Slurm.as_str() => Self::None,
            Some(Launcher::None) | None => Self::None,
            Some(launcher) if launcher.has_task_per_rank() => Self::Ranks,
            Some(_) => Self::Nodes,
        }
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub number: Option<u64>,
    pub rank: Option<u32>,
    /// The agent that printed it, or started what did.
    pub node: Option<u32>,
    /// The process of that agent which printed it, by torchrun's number: its rank only where there is one node.
    pub local_rank: Option<u32>,
    /// Without what the launcher put before it, and safe for a terminal.
    pub text: String,
}

/// A log, from its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub source: Source,
    pub lines: Vec<Line>,
}

impl Log {
    pub fn read(source: Source, tail: &Tail, labels: Labels) -> Self {
        let bytes = tail.bytes.strip_suffix(b"\n").unwrap_or(&tail.bytes);
        if bytes.is_empty() {
            return Self { source, lines: Vec::new() };
        }
        let total = memchr::memchr_iter(b'\n', bytes).count() + 1;
        let left_out = total.saturating_sub(LINES_MAX);
        let lines = bytes.split(|byte| *byte == b'\n').enumerate().skip(left_out);
        let line = |(index, bytes): (usize, &[u8])| {
            let number = tail.lines_before.map(|before| before + index as u64 + 1);
            labelled(number, &shown(bytes), labels)
        };
        Self { source, lines: lines.map(line).collect() }
    }

    /// The lines of each rank and agent by themselves: those of several are mixed in a log.
    pub(super) fn streams(&self) -> Vec<Vec<usize>> {
        let mut streams: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, line) in self.lines.iter().enumerate() {
            streams.entry((line.node, line.local_rank, line.rank)).or_default().push(index);
        }
        streams.into_values().collect()
    }
}

/// A line as a terminal would have left it: what was written over by a progress bar is gone, colours are, and what is left
/// of escape sequences is harmless.
fn shown(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let bytes = bytes.rsplit(|byte| *byte == b'\r').next().unwrap_or(bytes);
    let cut = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let text = String::from_utf8_lossy(cut);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(c) = rest.chars().next() {
        if let Some(after) = after_sequence(rest) {
            rest = after;
            continue;
        }
        out.push(match c {
            '\t' => ' ',
            c if is_dangerous(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        });
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    if bytes.len() > cut.len() {
        out.push('…');
    }
    out
}

/// What follows `ESC [ … final` at the start of a text.
fn after_sequence(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !matches!(c, '\u{20}'..='\u{3f}'))?;
    let last = parameters.as_bytes().get(end)?;
    (b'@'..=b'~').contains(last).then(|| parameters.get(end + 1..)).flatten()
}

/// Takes off `1: ` of srun, `[default0]:` of a torchrun that was told `--tee`, and `[rank2]: ` of torch, in that order.
fn labelled(number: Option<u64>, text: &str, labels: Labels) -> Line {
    let (task, text) = match labels {
        Labels::None => (None, text),
        Labels::Ranks | Labels::Nodes => srun_label(text),
    };
    let (local_rank, text) = bracketed(text, "default");
    let (rank, text) = torch_label(text);
    let (task_rank, node) = match labels {
        Labels::None => (None, None),
        Labels::Ranks => (task, None),
        Labels::Nodes => (None, task),
    };
    Line { number, rank: rank.or(task_rank), node, local_rank, text: text.to_owned() }
}

fn srun_label(text: &str) -> (Option<u32>, &str) {
    let label = text.trim_start_matches(' ').split_once(':');
    let task = label.and_then(|(task, rest)| Some((parsed(task)?, rest)));
    // An empty line has no space behind its label.
    task.map_or((None, text), |(task, rest)| (Some(task), rest.strip_prefix(' ').unwrap_or(rest)))
}

fn torch_label(text: &str) -> (Option<u32>, &str) {
    let (rank, rest) = bracketed(text, "rank");
    (rank, rank.and_then(|_| rest.strip_prefix(' ')).unwrap_or(rest))
}

/// `[WORD3]:` at the start of a text.
fn bracketed<'a>(text: &'a str, word: &str) -> (Option<u32>, &'a str) {
    let label = text.strip_prefix('[').and_then(|rest| rest.strip_prefix(word)?.split_once("]:"));
    let number = label.and_then(|(number, rest)| Some((parsed(number)?, rest)));
    number.map_or((None, text), |(number, rest)| (Some(number), rest))
}

/// A number of digits alone.
fn parsed(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_srun_starts_is_labelled() {
        for (launcher, labels) in [
            ("none", Labels::None),
            ("srun", Labels::Ranks),
            ("mpi", Labels::Ranks),
            ("jax", Labels::Ranks),
            ("torchrun", Labels::Nodes),
            ("accelerate", Labels::Nodes),
            ("deepspeed", Labels::Nodes),
        ] {
            assert_eq!(Labels::of("slurm", launcher), labels, "{launcher}");
            assert_eq!(Labels::of("local", launcher), Labels::None, "{launcher}");
        }
    }

    fn lines(bytes: &[u8], labels: Labels) -> Vec<Line> {
        let tail = Tail { bytes: bytes.to_vec(), lines_before: Some(10) };
        Log::read(Source::Training, &tail, labels).lines
    }

    #[test]
    fn what_a_terminal_would_obey_is_gone() {
        let text = |bytes: &[u8]| lines(bytes, Labels::None).pop().unwrap().text;
        assert_eq!(text(b"\x1b[1;31mred\x1b[0m\tx\n"), "red x");
        assert_eq!(text(b"10%\r50%\r100%\r\n"), "100%");
        assert_eq!(text(b"\x1b]0;title\x07"), "\u{fffd}]0;title\u{fffd}");
        assert_eq!(text(b"a\0b\xff\x7f"), "a\u{fffd}b\u{fffd}\u{fffd}");
        assert_eq!(text("\u{202e}evil\u{9b}2J".as_bytes()), "\u{fffd}evil\u{fffd}2J");
        assert_eq!(text(b"\x1b["), "\u{fffd}[");
        assert_eq!(text(&vec![b'x'; 1 << 20]).chars().count(), LINE_BYTES_MAX + 1);
    }

    #[test]
    fn lines_are_numbered_as_in_the_whole_log() {
        let numbers: Vec<_> = lines(b"a\n\nb", Labels::None)
            .into_iter()
            .map(|l| (l.number.unwrap(), l.text))
            .collect();
        assert_eq!(numbers, [(11, "a".into()), (12, String::new()), (13, "b".into())]);
        let many = lines(&vec![b'\n'; LINES_MAX * 2], Labels::None);
        assert_eq!(many.len(), LINES_MAX);
        assert_eq!(many.last().unwrap().number, Some(10 + 2 * LINES_MAX as u64));
        assert_eq!(lines(b"", Labels::None), []);
    }

    #[test]
    fn labels_say_whose_a_line_is() {
        let check = |text: &str, labels: Labels, expected: (Option<u32>, Option<u32>, &str)| {
            let line = lines(text.as_bytes(), labels).pop().unwrap();
            assert_eq!((line.node, line.rank, line.text.as_str()), expected, "{text}");
        };
        check(" 3: x: y", Labels::Ranks, (None, Some(3), "x: y"));
        check("3:", Labels::Ranks, (None, Some(3), ""));
        check("1: [rank7]:   File", Labels::Nodes, (Some(1), Some(7), "  File"));
        check("3: x", Labels::None, (None, None, "3: x"));
        check("[rank0]: x", Labels::None, (None, Some(0), "x"));
        check("srun: error", Labels::Ranks, (None, None, "srun: error"));
        check("99999999999: x", Labels::Ranks, (None, None, "99999999999: x"));
        check("1: [default0]:[rank2]: x", Labels::Nodes, (Some(1), Some(2), "x"));
        check("[default0]:  File", Labels::None, (None, None, "  File"));
        check("[default]: x", Labels::None, (None, None, "[default]: x"));
        let numbers = |text: &str| lines(text.as_bytes(), Labels::Nodes).pop().unwrap().local_rank;
        assert_eq!((numbers("1: [default3]:x"), numbers("1: [rank3]: x")), (Some(3), None));
    }
}

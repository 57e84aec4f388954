//! Python's tracebacks, in the lines of one process.

use crate::domain::diagnosis::{Exception, Line};

/// A traceback, or several of which each led to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Traceback {
    /// The one that ended it.
    pub(super) exception: Exception,
    /// The final lines of all of them, the newest first, with what follows them: what tells the cause.
    pub(super) words: Vec<String>,
    /// Positions in the stream: the innermost frame, what its exception says, and what that one came of.
    pub(super) proof: Vec<usize>,
    /// The positions of its first line, and behind its last one.
    pub(super) start: usize,
    pub(super) end: usize,
}

const HEADER: &str = "Traceback (most recent call last):";
/// Between a traceback and the one that it led to.
const BRIDGES: [&str; 2] = [
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
];
/// A process of a data loader sends its own along.
const ORIGINAL: &str = "Original Traceback";
/// Lines of a message that are looked at.
const MESSAGE_LINES_MAX: usize = 6;

/// All tracebacks of one stream of lines, in their order.
pub(super) fn find(lines: &[&Line]) -> Vec<Traceback> {
    let mut found: Vec<Traceback> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(mut next) = starts(lines, at).then(|| read(lines, at)).flatten() else {
            at += 1;
            continue;
        };
        at = next.end;
        match found.last_mut() {
            Some(last) if leads_to(lines, last.end, &next) => {
                next.words.append(&mut last.words);
                next.proof.append(&mut last.proof);
                next.start = last.start;
                *last = next;
            }
            Some(_) | None => found.push(next),
        }
    }
    found
}

fn text<'a>(lines: &[&'a Line], at: usize) -> &'a str {
    lines.get(at).map_or("", |line| line.text.as_str())
}

/// Whether one begins here. That of a syntax error in the program itself has no heading.
fn starts(lines: &[&Line], at: usize) -> bool {
    let line = text(lines, at);
    line.ends_with(HEADER) || frame(line).is_some_and(|frame| frame.function.is_none())
}

/// Whether the traceback that ends here led to the next one.
fn leads_to(lines: &[&Line], end: usize, next: &Traceback) -> bool {
    let between = lines.get(end..next.start).unwrap_or_default();
    let is_bridge = |line: &&Line| BRIDGES.contains(&line.text.trim());
    text(lines, end).starts_with(ORIGINAL) || between.iter().take(3).any(is_bridge)
}

#[derive(Debug, Clone, Copy)]
struct Frame<'a> {
    file: &'a str,
    line: u64,
    function: Option<&'a str>,
}

impl Frame<'_> {
    /// Whether it is code of the training, and of no library.
    fn is_own(&self) -> bool {
        let foreign =
            ["/site-packages/", "/dist-packages/", "/lib/python3", "<frozen ", "<string>"];
        !foreign.iter().any(|part| self.file.contains(part)) && !self.file.ends_with("/torchrun")
    }
}

/// `  File "train.py", line 12, in main`
fn frame(line: &str) -> Option<Frame<'_>> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at_checked(digits)?;
    let function = rest.strip_prefix(", in ").map(str::trim);
    // Anything else behind the number is another program's form.
    if function.is_none() && !rest.is_empty() {
        return None;
    }
    Some(Frame { file, line: number.parse().ok()?, function })
}

/// Reads the one that begins here. All of it is moved in as far as its heading is: so torchrun tells it.
fn read(lines: &[&Line], start: usize) -> Option<Traceback> {
    let heading = text(lines, start);
    let has_heading = heading.ends_with(HEADER);
    let indent =
        if has_heading { heading.len() - heading.trim_start_matches(' ').len() } else { 0 };
    let text = |at: usize| {
        let line = text(lines, at);
        let (margin, rest) = line.split_at_checked(indent).unwrap_or(("", line));
        if margin.trim_start_matches(' ').is_empty() { rest } else { line }
    };
    let mut own = None;
    let mut innermost = None;
    let mut at = start + usize::from(has_heading);
    while at < lines.len() {
        let line = text(at);
        if let Some(frame) = frame(line) {
            innermost = Some((at, frame));
            if frame.is_own() {
                own = innermost;
            }
        } else if !is_within(line) {
            break;
        }
        at += 1;
    }
    let (kind, message) = exception_line(text(at))?;
    let place = own.or(innermost);
    if !has_heading && !kind.ends_with("Error") {
        return None;
    }
    let more = (at + 1..lines.len())
        .take(MESSAGE_LINES_MAX)
        .take_while(|next| text(*next).starts_with(' ') && frame(text(*next)).is_none())
        .count();
    let words = (at..=at + more).map(text).collect::<Vec<_>>().join("\n");
    let exception = Exception {
        kind: kind.to_owned(),
        message: message.to_owned(),
        file: place.map(|(_, frame)| frame.file.to_owned()),
        line: place.map(|(_, frame)| frame.line),
        function: place.and_then(|(_, frame)| frame.function).map(str::to_owned),
    };
    let proof = place.map(|(line, _)| line).into_iter().chain(at..=at + more.min(1)).collect();
    Some(Traceback { exception, words: vec![words], proof, start, end: at + more + 1 })
}

/// Whether a line belongs to the frames.
fn is_within(line: &str) -> bool {
    line.starts_with(' ') || line.starts_with("[Previous line repeated")
}

/// `ValueError: no` as its type and its message.
fn exception_line(line: &str) -> Option<(&str, &str)> {
    let (kind, message) =
        line.split_once(':').map_or((line, ""), |(kind, rest)| (kind, rest.trim()));
    let is_name = |word: &str| {
        let mut chars = word.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_')
    };
    kind.split('.').all(is_name).then_some((kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Traceback> {
        let line = |text: &str| Line {
            number: None,
            rank: None,
            node: None,
            local_rank: None,
            text: text.to_owned(),
        };
        let lines: Vec<Line> = text.lines().map(line).collect();
        find(&lines.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_place_is_the_trainings_own() {
        let all = found(
            "noise\nTraceback (most recent call last):\n  File \"/w/train.py\", line 12, in main\n    f()\n  \
             File \"/v/lib/python3.11/site-packages/x.py\", line 9, in f\n    raise\nValueError: a: b\nafter\n",
        );
        let exception = &all[0].exception;
        assert_eq!((exception.kind.as_str(), exception.message.as_str()), ("ValueError", "a: b"));
        assert_eq!((exception.file.as_deref(), exception.line), (Some("/w/train.py"), Some(12)));
        assert_eq!((exception.function.as_deref(), &all[0].proof), (Some("main"), &vec![2, 6]));
        assert_eq!((all.len(), all[0].end), (1, 7));
    }

    #[test]
    fn one_that_is_moved_in_is_read() {
        let all = found(
            "  traceback : Traceback (most recent call last):\n    File \"/w/train.py\", line 12, in main\n      f()\n  \
             DataError: no\n  \n====\n",
        );
        let exception = &all[0].exception;
        assert_eq!((exception.kind.as_str(), exception.line), ("DataError", Some(12)));
        assert_eq!(exception.message, "no");
    }

    #[test]
    fn what_is_no_whole_traceback_is_none() {
        for text in [
            "Traceback (most recent call last):",
            "Traceback (most recent call last):\n  File \"x\", line 1, in f",
            "Traceback (most recent call last):\nnot an exception",
            "  File \"x\", line 1\nand more",
            "File \"x\", line 99999999999999999999999",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn exceptions_without_a_message_and_of_modules_are_read() {
        let all = found("Traceback (most recent call last):\nMemoryError\n");
        assert_eq!(
            (all[0].exception.kind.as_str(), all[0].exception.file.as_ref()),
            ("MemoryError", None)
        );
        assert_eq!(exception_line("a.b_c.D: x"), Some(("a.b_c.D", "x")));
        assert_eq!(exception_line("two words: x"), None);
        assert_eq!(exception_line(""), None);
    }
}

//! Text that others wrote, made safe for a terminal; and times and numbers as people read them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::domain::number::word;
use crate::domain::text::is_dangerous;
use crate::domain::units::Seconds;

/// User text on a terminal: control characters and direction marks are shown, not obeyed.
#[derive(Debug, Clone, Copy)]
pub(super) struct TerminalText<'a>(pub(super) &'a str);

impl fmt::Display for TerminalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_dangerous(c) { write!(f, "{}", c.escape_unicode())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// The same for text of several lines: line ends pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct TerminalLines<'a>(pub(super) &'a str);

impl fmt::Display for TerminalLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.split('\n').enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            TerminalText(line).fmt(f)?;
        }
        Ok(())
    }
}

/// Text of several lines on one: what Slurm says comes in lines.
pub(super) fn one_line(text: &str) -> String {
    TerminalText(&text.replace('\n', "; ")).to_string()
}

/// A path on a terminal.
pub(super) fn path(path: &std::path::Path) -> String {
    TerminalText(&path.to_string_lossy()).to_string()
}

/// Log bytes for a terminal: colours, tabs and line ends pass, every other escape is shown.
pub(super) fn log_for_terminal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour_sequence(rest) {
            out.push_str(rest.get(..length).unwrap_or_default());
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        if matches!(c, '\n' | '\r' | '\t') || !is_dangerous(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

/// The length of `ESC [ digits ; digits m` at the start of a text.
fn colour_sequence(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    (parameters.as_bytes().get(end) == Some(&b'm')).then_some(2 + end + 1)
}

/// A moment in the reader's own time zone.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A length of time in two units at most: `2d3h`, `5m12s`, `7s`; below ten seconds with tenths.
pub(super) fn length(seconds: f64) -> String {
    const COARSE_SECONDS: u64 = 3600;
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite and not negative"
    )]
    let whole = seconds as u64;
    let shown = match whole {
        0..COARSE_SECONDS => whole,
        COARSE_SECONDS..86_400 => whole - whole % 60,
        _ => whole - whole % 3600,
    };
    Seconds(shown).to_string()
}

/// How long something has been there.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let since: SignedDuration = now.duration_since(at);
    length(since.as_secs_f64().max(0.0))
}

/// How long ago something was.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", age(at, now))
}

/// A measured value: as many digits as tell something.
pub(super) fn value(number: f64) -> String {
    if let Some(word) = word(number) {
        return word.to_owned();
    }
    let size = number.abs();
    if number == 0.0 || (1e-3..1e6).contains(&size) {
        let text = format!("{number:.4}");
        let short = text.trim_end_matches('0').trim_end_matches('.');
        return short.to_owned();
    }
    format!("{number:.3e}")
}

/// How many points are in which state: `3 running, 5 queued`.
pub(super) fn counted(states: &BTreeMap<String, u32>) -> String {
    let mut counts: Vec<(&String, &u32)> = states.iter().collect();
    counts.sort_by(|one, other| other.1.cmp(one.1));
    let words: Vec<String> =
        counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    words.join(", ")
}

/// A parameter's value: text as it is, everything else as JSON.
pub(super) fn spelled(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    TerminalText(&text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_shown_not_obeyed() {
        let shown = TerminalText("a\u{1b}]52;c;x\u{7}b\u{202e}c\nd").to_string();
        assert_eq!(shown, "a\\u{1b}]52;c;x\\u{7}b\\u{202e}c\\u{a}d");
        assert_eq!(TerminalLines("a\n\u{1b}b").to_string(), "a\n\\u{1b}b");
        for c in ['\u{061C}', '\u{200E}', '\u{2028}', '\u{2029}', '\u{202A}', '\u{FEFF}'] {
            assert!(!TerminalText(&c.to_string()).to_string().contains(c), "{c:?}");
        }
    }

    #[test]
    fn logs_keep_their_colours_and_lose_their_tricks() {
        let check = |text: &str, shown: &str| assert_eq!(log_for_terminal(text.as_bytes()), shown);
        check("\u{1b}[1;31mred\u{1b}[0m\n", "\u{1b}[1;31mred\u{1b}[0m\n");
        check("50%\r60%\r\n", "50%\r60%\r\n");
        check("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}");
        check("\u{1b}[2J", "\\u{1b}[2J");
        check("\u{1b}[", "\\u{1b}[");
        assert_eq!(log_for_terminal(b"\xff\n"), "\u{fffd}\n");
    }

    #[test]
    fn lengths_are_short() {
        let check = |seconds: f64, shown: &str| assert_eq!(length(seconds), shown);
        check(0.04, "0.0s");
        check(7.25, "7.2s");
        check(312.0, "5m12s");
        check(3_725.0, "1h2m");
        check(183_600.0, "2d3h");
        check(f64::NAN, "-");
    }

    #[test]
    fn values_show_what_tells_something() {
        let check = |number: f64, shown: &str| assert_eq!(value(number), shown);
        check(0.0, "0");
        check(0.25, "0.25");
        check(f64::NAN, "nan");
        check(f64::NEG_INFINITY, "-inf");
        check(1e-4, "1.000e-4");
        check(12345.0, "12345");
        check(-0.5, "-0.5");
    }
}

//! What a training reports: JSON lines such as `{"step": 10, "loss": 0.3}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::number::of_word;

/// Longer lines are skipped: they are no metrics.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Values of one line that are kept.
pub const VALUES_PER_LINE_MAX: usize = 256;
/// Longer names are skipped.
pub const NAME_BYTES_MAX: usize = 128;

/// How far the training says it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub step: Option<i64>,
    pub steps: Option<i64>,
    pub epoch: Option<f64>,
    pub epochs: Option<f64>,
}

impl Progress {
    /// The share that is done, 0 to 1, when the training says what the whole is.
    pub fn fraction(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a share of steps needs no exact integers")]
        let of_steps = self.step.zip(self.steps).map(|(step, steps)| step as f64 / steps as f64);
        let of_epochs = || self.epoch.zip(self.epochs).map(|(epoch, epochs)| epoch / epochs);
        of_steps
            .or_else(of_epochs)
            .filter(|share| share.is_finite())
            .map(|share| share.clamp(0.0, 1.0))
    }

    /// Takes what a newer line says; what it does not say stays.
    pub fn update(&mut self, newer: Self) {
        self.step = newer.step.or(self.step);
        self.steps = newer.steps.or(self.steps);
        self.epoch = newer.epoch.or(self.epoch);
        self.epochs = newer.epochs.or(self.epochs);
    }
}

/// One line that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricLine {
    /// The line's own step.
    pub step: Option<i64>,
    pub progress: Progress,
    /// The numbers by name, those of a training that diverges too: NaN and infinite ones.
    pub values: BTreeMap<String, f64>,
}

impl MetricLine {
    /// Reads one line; what is no JSON object with numbers is `None`.
    pub fn parse(line: &str) -> Option<Self> {
        /// Keys that tell progress or time, not a metric.
        const NOT_METRICS: &[&str] = &["step", "steps", "epoch", "epochs", "time", "timestamp"];
        if line.len() > LINE_BYTES_MAX {
            return None;
        }
        let line = line.trim();
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).or_else(|_| serde_json::from_str(&with_words(line))).ok()?;
        let number = |key: &str| object.get(key).and_then(serde_json::Value::as_f64);
        #[expect(clippy::cast_possible_truncation, reason = "a step written as 10.0 is 10")]
        let whole = |key: &str| {
            object
                .get(key)
                .and_then(serde_json::Value::as_i64)
                .or_else(|| number(key).map(|number| number as i64))
        };
        let progress = Progress {
            step: whole("step"),
            steps: whole("steps"),
            epoch: number("epoch"),
            epochs: number("epochs"),
        };
        let values = object
            .iter()
            .filter(|(name, _)| {
                !NOT_METRICS.contains(&name.as_str())
                    && !name.is_empty()
                    && name.len() <= NAME_BYTES_MAX
            })
            .filter_map(|(name, value)| {
                let word = || value.as_str().and_then(of_word);
                Some((name.clone(), value.as_f64().or_else(word)?))
            })
            .take(VALUES_PER_LINE_MAX)
            .collect();
        Some(Self { step: progress.step, progress, values })
    }
}

/// The line with `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON does not know, as texts.
fn with_words(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            out.extend(["\"", word, "\""]);
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        // An escape and what it escapes stay together.
        let length = if in_string && c == '\\' {
            1 + rest.chars().nth(1).map_or(0, char::len_utf8)
        } else {
            c.len_utf8()
        };
        in_string ^= c == '"';
        out.push_str(rest.get(..length).unwrap_or(rest));
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// The whole lines of a stretch of a file, and how many bytes they are. A line without its end is left for later, unless
/// nothing more will come.
pub fn whole_lines(
    bytes: &[u8],
    is_last: bool,
) -> (impl Iterator<Item = std::borrow::Cow<'_, str>>, usize) {
    let end = if is_last {
        bytes.len()
    } else {
        bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    };
    let lines = bytes.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
    (lines.filter(|line| !line.is_empty()).map(String::from_utf8_lossy), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_values_and_progress() {
        let line = MetricLine::parse(
            r#"{"step": 10, "steps": 40, "loss": 0.5, "note": "x", "time": 1.0}"#,
        )
        .expect("a line");
        assert_eq!(line.step, Some(10));
        assert_eq!(line.progress.fraction(), Some(0.25));
        assert_eq!(line.values.into_iter().collect::<Vec<_>>(), vec![("loss".to_owned(), 0.5)]);
        for wrong in ["", "[1]", "{", "loss=1", &format!("{{\"a\": \"{}\"}}", "x".repeat(70_000))] {
            assert_eq!(MetricLine::parse(wrong), None, "{}", wrong.get(..20).unwrap_or(wrong));
        }
    }

    #[test]
    fn a_diverged_training_tells_that_it_has() {
        let check = |line: &str, values: &str| {
            let line = MetricLine::parse(line).expect("a line");
            assert_eq!((line.step, format!("{:?}", line.values).as_str()), (Some(3), values));
        };
        check(
            r#"{"step": 3, "loss": NaN, "a": -Infinity, "NaN \" NaN": 1}"#,
            r#"{"NaN \" NaN": 1.0, "a": -inf, "loss": NaN}"#,
        );
        check(
            r#"{"step": 3, "loss": "nan", "a": "Infinity", "note": "none", "b": null}"#,
            r#"{"a": inf, "loss": NaN}"#,
        );
    }

    #[test]
    fn a_torn_line_is_left_for_later() {
        let (lines, taken) = whole_lines(b"{\"a\":1}\n{\"a\":2}\n{\"a", false);
        assert_eq!(lines.collect::<Vec<_>>(), vec!["{\"a\":1}", "{\"a\":2}"]);
        assert_eq!(taken, 16);
        assert_eq!(whole_lines(b"no end", false).1, 0);
        assert_eq!(whole_lines(b"no end", true).1, 6);
    }

    #[test]
    fn progress_never_leaves_its_bounds() {
        let check = |step, steps, share| {
            let progress = Progress { step, steps, ..Progress::default() };
            assert_eq!(progress.fraction(), share, "{step:?}/{steps:?}");
        };
        check(Some(50), Some(40), Some(1.0));
        check(Some(-1), Some(40), Some(0.0));
        check(Some(0), Some(0), None);
        check(None, Some(40), None);
    }
}

//! Durations, time limits and memory sizes, in Slurm's and in people's spellings.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::document::Node;
use crate::domain::keys::{FromNode, wrong_kind};
use crate::domain::problem::{At, Problem};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// No limit and no interval is longer than a year; a longer one is a slip of the unit.
pub const SECONDS_MAX: u64 = 366 * DAY;

/// A length of time in whole seconds, written `90s`, `5m`, `1d12h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seconds(pub u64);

/// A wall-clock limit: as [`Seconds`], or as Slurm writes it: `30` (minutes), `30:00`, `12:00:00`, `1-12`, `1-12:00:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeLimit(pub Seconds);

/// Memory in MiB, Slurm's own unit; `G`, `GB` and `GiB` all mean 1024 MiB, as Slurm reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mebibytes(pub u64);

impl Seconds {
    /// Reads `90s`, `5m`, `12h`, `1d12h`, `2w`; nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit = match rest.get(..letters)? {
                "s" | "sec" | "second" | "seconds" => 1,
                "m" | "min" | "minute" | "minutes" => MINUTE,
                "h" | "hour" | "hours" => HOUR,
                "d" | "day" | "days" => DAY,
                "w" | "week" | "weeks" => 7 * DAY,
                _ => return None,
            };
            total = total.checked_add(number.checked_mul(unit)?)?;
            rest = rest.get(letters..)?.trim_start();
        }
        (total <= SECONDS_MAX).then_some(Self(total))
    }
}

impl fmt::Display for Seconds {
    /// The shortest human spelling: `1d12h`, `90s` as `1m30s`, zero as `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let parts = [(DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm'), (1, 's')];
        let mut left = self.0;
        for (size, unit) in parts {
            if left >= size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl TimeLimit {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let limit =
            Seconds::parse(text).or_else(|| slurm_time(text)).filter(|limit| limit.0 > 0)?;
        (limit.0 <= SECONDS_MAX).then_some(Self(limit))
    }

    /// Slurm's spelling, `D-HH:MM:SS`.
    pub fn slurm(self) -> String {
        let Seconds(s) = self.0;
        format!("{}-{:02}:{:02}:{:02}", s / DAY, s % DAY / HOUR, s % HOUR / MINUTE, s % MINUTE)
    }
}

/// sbatch(1): "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours", "days-hours:minutes" and
/// "days-hours:minutes:seconds".
fn slurm_time(text: &str) -> Option<Seconds> {
    let number = |part: &str| -> Option<u64> {
        let digits =
            !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    };
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(number(days)?), clock),
        None => (None, text),
    };
    let parts = clock.split(':').map(number).collect::<Option<Vec<u64>>>()?;
    let seconds = match (days, parts.as_slice()) {
        (None, [m]) => m * MINUTE,
        (None, [m, s]) => m * MINUTE + s,
        (None, [h, m, s]) => h * HOUR + m * MINUTE + s,
        (Some(d), [h]) => d * DAY + h * HOUR,
        (Some(d), [h, m]) => d * DAY + h * HOUR + m * MINUTE,
        (Some(d), [h, m, s]) => d * DAY + h * HOUR + m * MINUTE + s,
        _ => return None,
    };
    Some(Seconds(seconds))
}

impl Mebibytes {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text.get(..digits)?.parse().ok()?;
        let mebibytes = match text.get(digits..)?.trim().to_ascii_uppercase().as_str() {
            "K" | "KB" | "KIB" => number.div_ceil(1024),
            "" | "M" | "MB" | "MIB" => number,
            "G" | "GB" | "GIB" => number.checked_mul(1 << 10)?,
            "T" | "TB" | "TIB" => number.checked_mul(1 << 20)?,
            _ => return None,
        };
        (mebibytes > 0).then_some(Self(mebibytes))
    }
}

impl fmt::Display for Mebibytes {
    /// As Slurm takes it: whole gigabytes as `500G`, everything else as `1500M`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1024) {
            write!(f, "{}G", self.0 / 1024)
        } else {
            write!(f, "{}M", self.0)
        }
    }
}

/// Reads a string through `parse`, or says what it should look like.
fn from_text<T>(
    node: &At<Node>,
    path: &str,
    problems: &mut Vec<Problem>,
    (what, example): (&str, &str),
    parse: fn(&str) -> Option<T>,
) -> Option<T> {
    let Node::Text(text) = &node.value else {
        wrong_kind::<T>(node, path, &format!("a string such as {example}"), problems);
        return None;
    };
    let parsed = parse(text);
    if parsed.is_none() {
        problems.push(
            Problem::at(node.place, format!("`{path}`: `{text}` is no {what}"))
                .help(format!("write {example}")),
        );
    }
    parsed
}

/// A number of bytes as people read it: `512 B`, `1.5 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        let Self(bytes) = self;
        let mut rest = *bytes;
        let mut unit = None;
        for next in UNITS {
            if rest < 1024 {
                break;
            }
            unit = Some((next, rest));
            rest /= 1024;
        }
        match unit {
            None => write!(f, "{bytes} B"),
            Some((unit, before)) => {
                write!(f, "{}.{} {unit}", before / 1024, before % 1024 * 10 / 1024)
            }
        }
    }
}

impl FromNode for Seconds {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        from_text(node, path, problems, ("duration", "\"90s\", \"5m\" or \"1d12h\""), Self::parse)
    }
}

impl FromNode for TimeLimit {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        from_text(
            node,
            path,
            problems,
            ("time limit", "\"90m\", \"1d12h\" or \"1-12:00:00\""),
            Self::parse,
        )
    }
}

impl FromNode for Mebibytes {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        from_text(node, path, problems, ("memory size", "\"500G\" or \"64000M\""), Self::parse)
    }
}

/// In the schemas all of these are strings.
macro_rules! string_schema {
    ($($type:ident: $description:literal),* $(,)?) => { $(
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool { true }
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($type).into() }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description })
            }
        }
    )* };
}
string_schema! {
    Seconds: "a duration: 90s, 5m, 1d12h",
    TimeLimit: "a time limit: 90m, 1d12h, or Slurm's 1-12:00:00",
    Mebibytes: "a memory size: 500G, 64000M",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_human_spelling() {
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(Seconds::parse(text), seconds.map(Seconds), "{text:?}");
        };
        check("90s", Some(90));
        check("5m", Some(300));
        check("12h", Some(43_200));
        check("1d12h", Some(129_600));
        check("1h 30min", Some(5_400));
        check("0s", Some(0));
        check("30", None);
        check("", None);
        check("h", None);
        check("-5m", None);
        check("5 parsecs", None);
        check("99999999999999999999h", None);
        check("9999999999w", None);
    }

    #[test]
    fn time_limits_in_slurms_spelling() {
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(TimeLimit::parse(text).map(|limit| limit.0.0), seconds, "{text:?}");
        };
        check("30", Some(30 * MINUTE)); // minutes, says sbatch(1)
        check("30:10", Some(30 * MINUTE + 10));
        check("12:00:00", Some(12 * HOUR));
        check("1-12", Some(DAY + 12 * HOUR));
        check("2-12:30", Some(2 * DAY + 12 * HOUR + 30 * MINUTE));
        check("1-12:00:00", Some(DAY + 12 * HOUR));
        check("12h", Some(12 * HOUR));
        check("0", None);
        check("UNLIMITED", None);
        check("1-", None);
        check("1:2:3:4", None);
        check("1--2", None);
        check("400-00:00:00", None);
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for seconds in [1, 59, 60, 90, 3_600, 86_399, 86_400, 129_600, SECONDS_MAX] {
            assert_eq!(Seconds::parse(&Seconds(seconds).to_string()), Some(Seconds(seconds)));
            let limit = TimeLimit(Seconds(seconds));
            assert_eq!(TimeLimit::parse(&limit.slurm()), Some(limit));
        }
        assert_eq!(TimeLimit(Seconds(129_600)).slurm(), "1-12:00:00");
    }

    #[test]
    fn bytes_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }

    #[test]
    fn memory_is_binary_as_in_slurm() {
        let check = |text: &str, mebibytes: Option<u64>| {
            assert_eq!(Mebibytes::parse(text), mebibytes.map(Mebibytes), "{text:?}");
        };
        check("500G", Some(512_000));
        check("500 GiB", Some(512_000));
        check("64000M", Some(64_000));
        check("2T", Some(2 << 20));
        check("64000", Some(64_000));
        check("1K", Some(1));
        check("0G", None);
        check("G", None);
        check("5X", None);
        assert_eq!(Mebibytes(512_000).to_string(), "500G");
        assert_eq!(Mebibytes(1_500).to_string(), "1500M");
    }
}

//! How Slurm writes times, limits, exit codes and nothing at all, in every release.

use jiff::Timestamp;

/// The value, unless it is one of Slurm's words for none.
pub(super) fn present(text: &str) -> Option<&str> {
    let text = text.trim();
    let none = matches!(
        text,
        "" | "(null)"
            | "N/A"
            | "n/a"
            | "NONE"
            | "None"
            | "Unknown"
            | "INVALID"
            | "NOT_SET"
            | "None assigned"
    );
    (!none).then_some(text)
}

pub(super) fn text(text: &str) -> Option<String> {
    present(text).map(str::to_owned)
}

/// Epoch seconds, which `SLURM_TIME_FORMAT=%s` asks for. Slurm writes 0 for a time that is not known.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let seconds: i64 = present(text)?.parse().ok()?;
    Timestamp::from_second(seconds).ok().filter(|_| seconds > 0)
}

/// A time limit in seconds, from squeue's `1-12:00:00`, `10:00`, `UNLIMITED`.
pub(super) fn limit(text: &str) -> Option<u64> {
    let text = present(text)?;
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let days: u64 = days.parse().ok()?;
    let seconds = clock.split(':').try_fold(0_u64, |total, part| {
        let part: u64 = part.parse().ok()?;
        total.checked_mul(60)?.checked_add(part)
    })?;
    days.checked_mul(86_400)?.checked_add(seconds)
}

/// A time limit in seconds, from sacct's minutes.
pub(super) fn minutes(text: &str) -> Option<u64> {
    present(text)?.parse::<u64>().ok()?.checked_mul(60)
}

/// Exit code and signal, from `3:0`, or from the wait status (`768`) that squeue shows up to 22.05.
pub(super) fn exit(text: &str) -> (Option<i32>, Option<i32>) {
    let Some(text) = present(text) else { return (None, None) };
    let (code, signal) = match text.split_once(':') {
        Some((code, signal)) => (code.parse().ok(), signal.parse().ok()),
        None => match text.parse::<i32>() {
            // What a signal ended has no exit code, whatever stands in its place: 4021 is signal 53.
            Ok(status) if status & 0x7f != 0 && status > 0 => (None, Some(status & 0x7f)),
            Ok(status) if status >= 0 => (Some(status >> 8 & 0xff), None),
            _ => (None, None),
        },
    };
    let signal = signal.filter(|signal: &i32| *signal > 0);
    // A job that a signal ended has no exit code of its own.
    (code.filter(|code: &i32| signal.is_none() || *code != 0), signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_every_release() {
        let check = |text: &str, code, signal| assert_eq!(exit(text), (code, signal), "{text}");
        check("0:0", Some(0), None);
        check("3:0", Some(3), None);
        check("0:9", None, Some(9));
        check("0:15", None, Some(15));
        check("0", Some(0), None);
        check("768", Some(3), None);
        check("9", None, Some(9));
        check("4021", None, Some(53));
        check("", None, None);
        check("x:y", None, None);
        check("-1", None, None);
    }

    #[test]
    fn times_and_limits() {
        assert_eq!(time("1795239181").map(Timestamp::as_second), Some(1_795_239_181));
        for none in ["N/A", "NONE", "Unknown", "None", "0", "", "2026-01-01T00:00:00", "-5"] {
            assert_eq!(time(none), None, "{none}");
        }
        let check = |text: &str, seconds| assert_eq!(limit(text), seconds, "{text}");
        check("10:00", Some(600));
        check("1:00:00", Some(3_600));
        check("1-12:00:00", Some(129_600));
        check("UNLIMITED", None);
        check("INVALID", None);
        check("x-1:00", None);
        assert_eq!((minutes("600"), minutes("UNLIMITED")), (Some(36_000), None));
    }
}

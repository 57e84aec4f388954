//! What Slurm gave a job, as it writes it: `billing=144,cpu=16,gres/gpu=8,mem=16000M,node=2`.

/// The parts of a TRES string that Trainyard records. What cannot be read is left out; there is no failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tres {
    pub cpus: Option<u64>,
    /// MiB.
    pub memory: Option<u64>,
    pub gpus: Option<u64>,
    pub nodes: Option<u64>,
    pub billing: Option<u64>,
}

impl Tres {
    pub fn parse(text: &str) -> Self {
        let mut tres = Self::default();
        // `gres/gpu` counts all of them; `gres/gpu:TYPE` counts the same ones again.
        let mut typed: Option<u64> = None;
        for (key, value) in text.trim().split(',').filter_map(|part| part.split_once('=')) {
            let number = || value.parse::<u64>().ok();
            match key {
                "cpu" => tres.cpus = number(),
                "mem" => tres.memory = mebibytes(value),
                "node" => tres.nodes = number(),
                "billing" => tres.billing = number(),
                "gres/gpu" => tres.gpus = number(),
                _ if key.starts_with("gres/gpu:") => {
                    let more = number().unwrap_or_default();
                    typed = Some(typed.unwrap_or_default().saturating_add(more));
                }
                _ => {}
            }
        }
        tres.gpus = tres.gpus.or(typed);
        tres
    }
}

/// `16000M`, `7.50G`, `1T`; MiB where no unit is written.
fn mebibytes(text: &str) -> Option<u64> {
    /// Digits behind the point that count.
    const DECIMALS_MAX: usize = 6;
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let part = part.get(..part.len().min(DECIMALS_MAX))?;
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let part: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let scaled = whole.parse::<u128>().ok()?.checked_mul(scale)?.checked_add(part)?;
    let kibibytes: u128 = match unit {
        "K" => 1,
        "" | "M" => 1 << 10,
        "G" => 1 << 20,
        "T" => 1 << 30,
        "P" => 1 << 40,
        _ => return None,
    };
    u64::try_from(scaled.checked_mul(kibibytes)? / scale / 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_read() {
        let check = |text: &str, cpus, memory, gpus| {
            let tres = Tres::parse(text);
            assert_eq!((tres.cpus, tres.memory, tres.gpus), (cpus, memory, gpus), "{text}");
        };
        let whole = "billing=144,cpu=16,gres/gpu=8,mem=16000M,node=2";
        check(whole, Some(16), Some(16_000), Some(8));
        assert_eq!((Tres::parse(whole).nodes, Tres::parse(whole).billing), (Some(2), Some(144)));
        check("cpu=4,gres/gpu:h100=8,gres/gpu=8", Some(4), None, Some(8));
        check("gres/gpu:h100=4,gres/gpu:a100=2", None, None, Some(6));
        check("mem=7.50G", None, Some(7_680), None);
        check("mem=512", None, Some(512), None);
        check("mem=2T,cpu=1", Some(1), Some(2 << 20), None);
        check("mem=2048K", None, Some(2), None);
        for nothing in
            ["", "(null)", "N/A", "cpu", "cpu=", "cpu=x,mem=?", "mem=G", "=,=,", "mem=1.2.3G"]
        {
            check(nothing, None, None, None);
        }
        check("mem=99999999999999999999999P,cpu=1", Some(1), None, None);
    }
}

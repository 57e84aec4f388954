//! Generic resources of a node, as Slurm writes them, as far as they are GPUs.

/// GPUs of one type on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gpus {
    /// `None` where the site's GRES has no type.
    pub kind: Option<String>,
    pub count: u32,
}

/// The GPUs in `gpu:a100:4(S:0-1),gpu:1g.5gb:2,craynetwork:4`.
pub fn gpus(gres: &str) -> Vec<Gpus> {
    let mut gpus: Vec<Gpus> = Vec::new();
    for words in without_parentheses(gres).split(',') {
        let mut words = words.split(':').filter(|word| *word != "no_consume");
        if words.next() != Some("gpu") {
            continue;
        }
        let (kind, count) = match (words.next(), words.next()) {
            (None, _) => (None, Some(1)),
            (Some(word), None) => match amount(word) {
                Some(count) => (None, Some(count)),
                None => (Some(word.to_owned()), Some(1)),
            },
            (Some(kind), Some(count)) => (Some(kind.to_owned()), amount(count)),
        };
        let count: u32 = count.unwrap_or(0);
        match gpus.iter_mut().find(|known| known.kind == kind) {
            _ if count == 0 => {}
            Some(known) => known.count = known.count.saturating_add(count),
            None => gpus.push(Gpus { kind, count }),
        }
    }
    gpus
}

/// A count of GRES: slurm.conf may say `2K`, and an answer may.
fn amount(text: &str) -> Option<u32> {
    const SUFFIXES: [(char, u32); 3] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let split = SUFFIXES.iter().find_map(|(suffix, factor)| {
        let number = text.strip_suffix([*suffix, suffix.to_ascii_lowercase()])?;
        Some((number, *factor))
    });
    let (number, factor) = split.unwrap_or((text, 1));
    number.parse::<u32>().ok().map(|number| number.saturating_mul(factor))
}

/// Drops where the devices are, `(S:0,1)`, whose commas would part them.
fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    let mut kept = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_found_among_all_spellings_of_gres() {
        let check = |text: &str, expected: &[(&str, u32)]| {
            let found = gpus(text);
            let found: Vec<_> =
                found.iter().map(|gpus| (gpus.kind.as_deref().unwrap_or(""), gpus.count)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("(null)", &[]);
        check("", &[]);
        check("gpu:4", &[("", 4)]);
        check("gpu", &[("", 1)]);
        check("gpu:a100", &[("a100", 1)]);
        check("gpu:a100:2(S:0-1)", &[("a100", 2)]);
        check("gpu:a100:2(S:0,1),gpu:v100:1(S:0)", &[("a100", 2), ("v100", 1)]);
        check("gpu:a100:2,gpu:a100:2", &[("a100", 4)]);
        check("craynetwork:4,gpu:no_consume:2,shard:8", &[("", 2)]);
        check("gpu:1g.5gb:7", &[("1g.5gb", 7)]);
        check("gpu:2K,gpu:a100:1k", &[("", 2048), ("a100", 1024)]);
        check("gpu:1M,gpu:a100:9G", &[("", 1 << 20), ("a100", u32::MAX)]);
        // A type, and no count.
        check("gpu:gtx1080G,gpu:K,gpu:K:2", &[("gtx1080G", 1), ("K", 3)]);
        check("gpu:a100:0,gpu:x:y,gpux:3", &[]);
        check("gpu:a100:4294967295,gpu:a100:9", &[("a100", u32::MAX)]);
    }
}

//! The step that a name tells.

/// Words before the number that is the step.
pub const STEP_WORDS: &[&str] = &["step", "steps", "iter", "iteration", "iterations", "update"];
/// Words before a number that is something else.
pub const OTHER_WORDS: &[&str] =
    &["epoch", "ep", "loss", "val", "acc", "v", "version", "hpc_ckpt", "rank", "of"];
/// Names are split here; `0.25` stays one word, and is no number that counts.
const SEPARATORS: &[char] = &['-', '_', '=', ' '];

/// The step in the name of a checkpoint: the number after `step`, `iter` and the like, else the last number that is a
/// word of its own and does not count something else. None where there is none, or it is larger than can be counted.
pub fn step_of(name: &[u8]) -> Option<i64> {
    let name = std::str::from_utf8(name).ok()?;
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    if stem.starts_with("hpc_ckpt") {
        // Lightning counts these on a signal; they are no steps.
        return None;
    }
    let words: Vec<&str> = stem.split(SEPARATORS).filter(|word| !word.is_empty()).collect();
    let numbered = words.iter().enumerate().rev().find_map(|(index, word)| {
        let (letters, digits) = split(word);
        let before = if letters.is_empty() { *words.get(index.checked_sub(1)?)? } else { letters };
        (!digits.is_empty() && is_one_of(before, STEP_WORDS)).then_some(digits)
    });
    let bare = || {
        words.iter().enumerate().rev().find_map(|(index, word)| {
            let (letters, digits) = split(word);
            let before = index.checked_sub(1).and_then(|index| words.get(index)).copied();
            let counts_another = before.is_some_and(|before| is_one_of(before, OTHER_WORDS));
            (letters.is_empty() && !digits.is_empty() && !counts_another).then_some(digits)
        })
    };
    numbered.or_else(bare)?.parse().ok()
}

/// Endings of names that are no part of what they count.
pub const ENDINGS: &[&str] =
    &[".ckpt", ".nemo", ".pth", ".pt", ".safetensors", ".npz", ".json", ".tar"];

/// A word's letters and the digits behind them; no digits where other characters follow.
fn split(word: &str) -> (&str, &str) {
    let at = word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len());
    let (letters, digits) = word.split_at_checked(at).unwrap_or((word, ""));
    if digits.chars().all(|c| c.is_ascii_digit()) { (letters, digits) } else { (letters, "") }
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

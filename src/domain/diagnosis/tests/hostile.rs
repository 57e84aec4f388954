//! Logs that mean harm, or nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use crate::domain::diagnosis::tests::{explained, recorded, training};
use crate::domain::diagnosis::{EVIDENCE_MAX, Explanation, Labels};
use crate::domain::text::is_dangerous;

#[track_caller]
fn check_harmless(explained: &Explanation) {
    let exception = explained.exception.iter();
    let words = exception.flat_map(|e| [Some(&e.kind), Some(&e.message), e.file.as_ref()]);
    let texts = explained.evidence.iter().map(|evidence| &evidence.text);
    for text in texts.chain([&explained.sentence]).chain(words.flatten()) {
        assert!(!text.chars().any(is_dangerous), "{text:?}");
        assert!(text.chars().count() < 3_000, "{}", text.len());
    }
    assert!(explained.evidence.len() <= EVIDENCE_MAX);
}

#[test]
fn no_log_reaches_a_terminal_or_grows_without_end() {
    let long = "x".repeat(4 << 20);
    let frames = "  File \"\u{1b}[2J\", line 1, in \u{202e}f\n".repeat(50_000);
    for text in [
        format!("Traceback (most recent call last):\n  File \"\u{1b}]0;x\u{7}\", line 3, in f\nE\u{9b}: {long}"),
        format!("Traceback (most recent call last):\n{frames}ValueError: \u{1b}[2J\0{long}"),
        "Traceback (most recent call last):\n".repeat(60_000),
        "\n".repeat(2 << 20),
        "0: ".repeat(1 << 20),
        "[rank4294967295]: ValueError\n4294967295: x\n".repeat(1_000),
        "Root Cause (first observed failure):\n  rank : \u{1b}[2J\n  host : \u{202e}\n  exitcode : 99999999999999".into(),
        long,
    ] {
        for labels in [Labels::None, Labels::Ranks, Labels::Nodes] {
            check_harmless(&explained(json!({}), &[training(text.clone().into(), labels)]));
        }
    }
}

/// Pieces of what is looked for, so that random logs come near it.
const PIECES: &[&[u8]] = &[
    b"Traceback (most recent call last):\n",
    b"  File \"/w/train.py\", line 12, in main\n",
    b"  File \"",
    b"\", line ",
    b"ValueError: no\n",
    b"MemoryError\n",
    b"The above exception was the direct cause of the following exception:\n",
    b"Original Traceback (most recent call last):\n",
    b"Root Cause (first observed failure):\n",
    b"  rank      : 1 (local_rank: 1)\n",
    b"srun: error: n2: task 3: Killed\n",
    b"Watchdog caught collective operation timeout\n",
    b"[rank1]: ",
    b"3: ",
    b"\r",
    b"\n",
    b"\n\n",
    b"\x1b[31m",
    b"\x1b",
    b"\xff\xfe",
    b"\0",
    "\u{202e}".as_bytes(),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_log_says_there_is_an_answer(
        pieces in vec(0..PIECES.len(), 0..60),
        noise in vec(any::<u8>(), 0..40),
        labels in 0..3usize,
    ) {
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| PIECES[*piece]).copied().collect();
        let middle = bytes.len() / 2;
        bytes.splice(middle..middle, noise);
        let labels = [Labels::None, Labels::Ranks, Labels::Nodes][labels];
        check_harmless(&explained(json!({}), &[training(bytes, labels)]));
    }

    #[test]
    fn a_log_that_was_cut_anywhere_still_has_an_answer(at in 0..3_000usize) {
        let mut bytes = recorded("ranks_exception");
        bytes.truncate(at);
        check_harmless(&explained(json!({}), &[training(bytes, Labels::Nodes)]));
    }
}

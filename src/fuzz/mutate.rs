//! Damage: what transmission, other releases and people with bad intentions do to a text.

/// A small generator (xorshift*): everything follows from its seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and zero would stay zero.
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`, which is not zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from((self.next() >> 16) % end as u64).expect("it is below a length")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    pub(super) fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Letters and digits, as of a nonce.
    pub(super) fn word(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
        (0..length).map(|_| char::from(LETTERS[self.below(LETTERS.len())])).collect()
    }
}

/// Inputs do not grow beyond this.
const BYTES_MAX: usize = 64 << 10;

/// What parsers are sensitive to: boundaries, guesses at nonces and tokens, numbers at the edges, brackets, words of Slurm.
pub(super) const TOKENS: &[&str] = &[
    "|NONCE|",
    "NONCE",
    "|",
    "||",
    "|n0nce|",
    "\n",
    "\r\n",
    "\n1|NONCE|1|N/A|RUNNING|0|0|",
    "42-llama.1.tyaaaaaaaaaaaaaaaaaaaa",
    "tyaaaaaaaaaaaaaaaaaaaa",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{ffff}",
    "é",
    "e\u{301}",
    "0",
    "-1",
    "+1",
    "1e999",
    "NaN",
    "Infinity",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999",
    "[",
    "]",
    "[[",
    "]]",
    "[0-999999999999]",
    "[1-65536]",
    "n[1-3,05-07]",
    "{",
    "}",
    "{}",
    "{{",
    "=",
    "==",
    ".",
    "a.b.c.d = 1\n",
    "\"",
    "\"\"\"",
    "'''",
    "\\",
    "\\u0000",
    "\\uD800",
    "#",
    ",",
    ":",
    "-",
    "_",
    "+",
    " by 0",
    "CANCELLED by 4294967296",
    "COMPLETED",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_ME+",
    "EXPEDITING",
    "HIBERNATING",
    "(null)",
    "N/A",
    "Unknown",
    "None assigned",
    "UNLIMITED",
    "allocation",
    "1-00:00:00",
    "w",
    "gres/gpu=",
    "gpu:a100:4(S:0-1)",
    "0:9",
    "123;cluster",
];

/// One text of the corpus with one to eight damages.
pub(super) fn damaged(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut text = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(8) {
        damage(&mut text, corpus, random);
        text.truncate(BYTES_MAX);
    }
    text
}

fn damage(text: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(12) {
        0 if at < text.len() => text[at] ^= 1 << random.below(8),
        1 if at < text.len() => {
            text[at] = *random.one_of(&[&0, &0xff, &0x80, &b'\n', &b'|']);
        }
        2 => text.truncate(at),
        3 => drop(text.drain(..at)),
        4 => {
            let end = at + random.below(text.len() - at + 1);
            text.drain(at..end);
        }
        5 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            text.splice(at..at, other[from..to].iter().copied());
        }
        6 => lines(text, random),
        7 => number(text, at, random),
        8 => {
            // Something again and again, up to a few thousand times.
            let end = (at + 1 + random.below(12)).min(text.len());
            let piece = text[at..end].repeat(1 << random.below(12));
            text.splice(at..at, piece);
        }
        9 => {
            let bytes: Vec<u8> = (0..=random.below(6)).map(|_| random.byte()).collect();
            text.splice(at..at, bytes);
        }
        _ => {
            let token = random.one_of(TOKENS);
            text.splice(at..at, token.bytes());
        }
    }
}

/// A line twice, not at all, or elsewhere.
fn lines(text: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<Vec<u8>> =
        text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (from, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(3) {
        0 => {
            let line = lines[from].clone();
            lines.insert(to, line);
        }
        1 => drop(lines.remove(from)),
        _ => lines.swap(from, to),
    }
    *text = lines.concat();
}

/// Another number in the place of the next one.
fn number(text: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some(start) = text[at..].iter().position(u8::is_ascii_digit).map(|next| at + next) else {
        return;
    };
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let numbers: Vec<&&str> =
        TOKENS.iter().filter(|token| token.bytes().any(|byte| byte.is_ascii_digit())).collect();
    let new = numbers[random.below(numbers.len())];
    text.splice(start..start + digits, new.bytes());
}

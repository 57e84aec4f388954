//! What is fed: texts that mean something to bash, sbatch, TOML, terminals or file systems.

/// A program that leaves a file behind. No text may start it.
pub(crate) const CANARY: &str = "ty-canary";

/// Each of these goes into every field. None holds `/`: paths are told what they are made of elsewhere.
const TEXTS: &[&str] = &[
    "\n#SBATCH --uid=0\n",
    "x\n#SBATCH --comment=evil",
    "#SBATCH --uid=0",
    "x\r\n#SBATCH --uid=0\r",
    "\r",
    "\n",
    "x\n",
    "\nEOF\nty-canary\n",
    "$(ty-canary)",
    "`ty-canary`",
    "\"$(ty-canary)\"",
    "'$(ty-canary)'",
    "'; ty-canary; '",
    "\"; ty-canary; \"",
    ") ty-canary (",
    "; ty-canary",
    "| ty-canary",
    "&& ty-canary &",
    "<(ty-canary)",
    "x > ty-canary",
    "${x:-$(ty-canary)}",
    "$((1+1))",
    "$x $HOME ${HOME} $1 $$",
    "'",
    "\"",
    "''",
    "\"\"",
    "\\",
    "\\\\\"",
    "\\'",
    "\\n\\0\\x41",
    "-",
    "--",
    "-x",
    "--uid=0",
    "#",
    "a #b",
    " # b",
    ",",
    "a,b,,c",
    "%",
    "%j %u %% %s%n",
    "*",
    "?[a-z]* {a,b}",
    "[!x]",
    "~",
    "~root",
    "=",
    "a=b=c",
    "!",
    "!! !x",
    " ",
    "  two  spaces  ",
    "\t",
    "x\ty",
    "é",
    "e\u{301}\u{300}",
    "\u{202e}evil\u{202c}",
    "\u{2067}x\u{2069}",
    "\u{200b}\u{200d}\u{feff}",
    "\u{2028}\u{2029}",
    "\u{ffff}\u{fdd0}\u{10ffff}",
    "日本語 😀",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{1b}[31mred",
    "\u{9b}2J",
    "\u{7f}\u{8}",
    "\u{85}",
    "a\u{0}b",
    "\u{0}",
    "{",
    "}",
    "{}",
    "{{",
    "}}",
    "{outptu",
    "{nonsense}",
    "%}",
    "{% raw %}{{ 1 }}",
    ".",
    "..",
    "0",
    "true",
    "1e999",
    "(x)&(y)|z",
    "a;b",
    "EOF",
    "",
];

/// All texts of our own choice, the longest among them.
pub(crate) fn all() -> Vec<String> {
    let mut all: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    all.extend(["x".repeat(64 << 10), "' ".repeat(32 << 10), "é".repeat(2_000), "x".repeat(200)]);
    all
}

/// More of them, out of pieces of these: as many as the campaign wants.
pub(super) fn mixed(count: usize) -> Vec<String> {
    let pieces: Vec<String> = all().into_iter().filter(|text| text.len() < 50).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % end as u64).unwrap()
    };
    (0..count)
        .map(|_| (0..2 + below(6)).map(|_| pieces[below(pieces.len())].as_str()).collect())
        .collect()
}

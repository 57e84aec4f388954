//! What sbatch makes of a script: options out of `#SBATCH` lines up to the first line that is no comment.

/// Every option that sbatch would read, in order.
pub(super) fn options(script: &str) -> Vec<String> {
    let mut options = Vec::new();
    for line in script.lines() {
        if let Some(rest) = line.strip_prefix("#SBATCH") {
            options.extend(words(rest));
        } else if !line.starts_with('#') {
            break;
        }
    }
    options
}

/// Both kinds of quotes group, a backslash escapes everywhere, an unquoted `#` begins a comment, white space separates.
fn words(line: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut current: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => current.get_or_insert_default().extend(rest.next()),
            (_, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            ('#', None) => break,
            (_, None) if c.is_ascii_whitespace() => found.extend(current.take()),
            _ => current.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "a quote is not closed: {line}");
    found.extend(current);
    found
}

#[test]
fn it_reads_as_sbatch_does() {
    let script = "#!/bin/bash\n#SBATCH --a=\"b \\\"c\\\" \\\\\" -N2 # --x\n# SBATCH --no\n#SBATCH --b=''#y\n\n#SBATCH --late\n";
    assert_eq!(options(script), ["--a=b \"c\" \\", "-N2", "--b="]);
}

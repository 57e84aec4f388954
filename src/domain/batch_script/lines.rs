//! The lines of a script: what sbatch reads, and what bash runs.

/// One stretch of the script, with the number of its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
}

#[derive(Debug, Default)]
pub(super) struct Script {
    /// What follows `#SBATCH`.
    pub(super) directives: Vec<Line>,
    /// Directives that stand after the first command.
    pub(super) ignored: Vec<Line>,
    /// Commands, each with all the lines that it spans.
    pub(super) statements: Vec<Line>,
}

const SHELLS: &[&str] = &["sh", "bash", "dash", "ksh", "zsh"];

/// Reads the lines; `None` for what is no shell script.
pub(super) fn read(text: &str) -> Option<Script> {
    let mut script = Script::default();
    let mut lines = text.lines().enumerate();
    let interpreter = lines.next()?.1.strip_prefix("#!")?;
    let is_shell = |word: &str| SHELLS.contains(&word.rsplit('/').next().unwrap_or(word));
    if !interpreter.split_whitespace().take(2).any(is_shell) {
        return None;
    }
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        if let Some(words) = line.strip_prefix("#SBATCH") {
            let line = Line { number, text: words.trim().to_owned() };
            let to = if script.statements.is_empty() {
                &mut script.directives
            } else {
                &mut script.ignored
            };
            to.push(line);
            continue;
        }
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut open = Open::default();
        open.read(line);
        let mut statement = line.to_owned();
        // What never closes takes all that follows with it.
        while open.goes_on()
            && let Some((_, more)) = lines.next()
        {
            statement.push('\n');
            statement.push_str(more);
            open.read(more);
        }
        script.statements.push(Line { number, text: statement });
    }
    Some(script)
}

/// What of a command is not closed at the end of a line.
#[derive(Debug, Default)]
struct Open {
    quote: Option<char>,
    /// Loops, conditions and braces.
    blocks: usize,
    parentheses: usize,
    /// The words that end the here-documents that were begun, and whether tabs may stand before them.
    documents: Vec<(String, bool)>,
    /// The line ends in a backslash or an operator.
    continues: bool,
}

impl Open {
    fn goes_on(&self) -> bool {
        self.continues
            || self.quote.is_some()
            || self.blocks > 0
            || self.parentheses > 0
            || !self.documents.is_empty()
    }

    fn read(&mut self, line: &str) {
        if self.quote.is_none()
            && let Some((end, tabs)) = self.documents.first()
        {
            if (if *tabs { line.trim_start_matches('\t') } else { line }) == end {
                self.documents.remove(0);
            }
            return;
        }
        self.continues = false;
        let mut word = String::new();
        let mut commands = true;
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            match (self.quote, c) {
                (Some(quote), _) if c == quote => self.quote = None,
                (Some('"') | None, '\\') => {
                    self.continues = rest.is_empty() && self.quote.is_none();
                    rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or("");
                    word.push('\\');
                }
                (Some(_), _) => {}
                (None, '\'' | '"' | '`') => {
                    self.quote = Some(c);
                    word.push(c);
                }
                (None, '#') if word.is_empty() => break,
                (None, '<') if rest.starts_with('<') && !rest.starts_with("<<") => {
                    rest = self.document(rest.get(1..).unwrap_or_default());
                }
                // A here-string is none.
                (None, '<') => rest = rest.trim_start_matches('<'),
                (None, c) if c.is_whitespace() || ";&|()".contains(c) => {
                    commands = self.word(&std::mem::take(&mut word), commands);
                    self.operator(c, &mut commands);
                }
                (None, c) => word.push(c),
            }
        }
        self.word(&word, commands);
        let end = line.trim_end();
        self.continues |= self.quote.is_none()
            && (end.ends_with('|') || end.ends_with("&&"))
            && !end.trim_start().starts_with('#');
    }

    fn operator(&mut self, c: char, commands: &mut bool) {
        match c {
            '(' => self.parentheses += 1,
            // Without an opening one it ends a pattern of `case`.
            ')' => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        *commands |= !c.is_whitespace();
    }

    /// Counts a reserved word; gives whether the next word may be one.
    fn word(&mut self, word: &str, commands: bool) -> bool {
        match word {
            "" => commands,
            "{" => {
                self.blocks += 1;
                true
            }
            "if" | "while" | "until" if commands => {
                self.blocks += 1;
                true
            }
            "for" | "select" | "case" if commands => {
                self.blocks += 1;
                false
            }
            "fi" | "done" | "esac" | "}" if commands => {
                self.blocks = self.blocks.saturating_sub(1);
                false
            }
            "then" | "do" | "else" | "elif" | "!" | "time" if commands => true,
            _ => false,
        }
    }

    /// Reads the word after `<<`; gives what follows it.
    fn document<'a>(&mut self, after: &'a str) -> &'a str {
        let tabs = after.starts_with('-');
        let after = after.trim_start_matches('-').trim_start();
        let end =
            after.find(|c: char| c.is_whitespace() || ";&|()<>".contains(c)).unwrap_or(after.len());
        let (word, rest) = after.split_at(end);
        let word: String = word.chars().filter(|c| !"'\"\\".contains(*c)).collect();
        // `1 << 2` is arithmetic.
        if word.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            self.documents.push((word, tabs));
        }
        rest
    }
}

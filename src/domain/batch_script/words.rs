//! The words of a command, as far as they are known before it runs.

use std::collections::BTreeMap;

/// Variables of the script, with their values where these are known before it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Constants {
    values: BTreeMap<String, Option<String>>,
    /// Something that nobody has read may have set any variable.
    is_anything_set: bool,
}

/// Variables, or beginnings of their names, that a job has from elsewhere.
const ELSEWHERE: &[&str] = &[
    "BASH",
    "CONDA",
    "CUDA",
    "EBROOT",
    "HOST",
    "LD_",
    "LOADED",
    "MODULE",
    "PATH",
    "PMI",
    "PWD",
    "PYTHON",
    "RANK",
    "ROCM",
    "SLURM",
    "TMP",
    "TRAINYARD",
    "VIRTUAL_ENV",
    "WORLD_SIZE",
];

impl Constants {
    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        self.values.insert(name.to_owned(), value);
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }

    /// Whether the script has given a value to it that is not known.
    fn is_open(&self, name: &str) -> bool {
        self.values.contains_key(name)
            || self.is_anything_set
            || ELSEWHERE.iter().any(|start| name.starts_with(start))
    }

    /// After commands that are not followed here, what they may have set is not known.
    pub(super) fn follow(&mut self, statement: &str) {
        let sets_anything = |word: &str| matches!(word, "source" | "." | "eval");
        if statement.split(|c: char| c.is_whitespace() || ";&|".contains(c)).any(sets_anything) {
            self.values.values_mut().for_each(|value| *value = None);
            self.is_anything_set = true;
        }
        for part in statement.split([';', '\n', '|', '&', '<', '>', '(', ')']) {
            let mut names_follow = false;
            for word in part.split(|c: char| !(c.is_alphanumeric() || "_=+".contains(c))) {
                let name = word.split(['=', '+']).next().unwrap_or_default();
                if is_name(name) && (names_follow || word.contains('=')) {
                    self.set(name, None);
                }
                names_follow |= NAMES_FOLLOW.contains(&word);
            }
        }
    }
}

/// Commands that give values to the variables they name.
const NAMES_FOLLOW: &[&str] = &[
    "declare",
    "for",
    "getopts",
    "local",
    "mapfile",
    "printf",
    "read",
    "readarray",
    "select",
    "unset",
];

pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One word of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// As it stands in the script.
    pub(super) raw: String,
    /// What bash makes of it; `None` where that is known only in the job.
    pub(super) text: Option<String>,
}

impl Word {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text.as_deref() == Some(text)
    }

    /// NAME and value of an assignment.
    pub(super) fn assignment(&self) -> Option<(&str, Option<&str>)> {
        let (name, _) = self.raw.split_once('=')?;
        let value = self.text.as_deref().and_then(|text| Some(text.split_once('=')?.1));
        is_name(name).then_some((name, value))
    }

    /// Whether a `~` is a home here: at the beginning of a value, and of each path of one.
    fn is_path_next(&self) -> bool {
        self.raw.strip_suffix('=').is_some_and(is_name)
            || (self.raw.ends_with(':') && self.assignment().is_some())
    }
}

/// The words of a statement; `None` for what is more than one simple command.
pub(super) fn command(statement: &str, known: &Constants) -> Option<Vec<Word>> {
    let mut reader = Reader { rest: statement, known, words: Vec::new(), current: None };
    reader.read()?;
    reader.end();
    Some(reader.words)
}

struct Reader<'a> {
    rest: &'a str,
    known: &'a Constants,
    words: Vec<Word>,
    current: Option<Word>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    fn word(&mut self) -> &mut Word {
        self.current.get_or_insert_with(|| Word { raw: String::new(), text: Some(String::new()) })
    }

    fn end(&mut self) {
        self.words.extend(self.current.take());
    }

    fn push(&mut self, c: char) {
        let word = self.word();
        word.raw.push(c);
        if let Some(text) = &mut word.text {
            text.push(c);
        }
    }

    fn open(&mut self, raw: &str) {
        let word = self.word();
        word.raw.push_str(raw);
        word.text = None;
    }

    fn read(&mut self) -> Option<()> {
        while let Some(c) = self.next() {
            match c {
                ' ' | '\t' => self.end(),
                '\\' => match self.next()? {
                    '\n' => {}
                    escaped => self.push(escaped),
                },
                '\'' => {
                    self.word();
                    loop {
                        match self.next()? {
                            '\'' => break,
                            c => self.push(c),
                        }
                    }
                }
                '"' => {
                    self.word();
                    self.quoted(true)?;
                }
                // Quotes of another kind.
                '$' if self.rest.starts_with(['\'', '"']) => return None,
                '$' => self.expand(false)?,
                '`' => self.backticks()?,
                '#' if self.current.is_none() => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = self.rest.get(end..)?;
                }
                '~' if self.current.as_ref().is_none_or(Word::is_path_next) => self.home(),
                '(' if self.current.as_ref().is_some_and(|word| {
                    word.assignment().is_some_and(|(_, value)| value == Some(""))
                }) =>
                {
                    let inside = self.until(')')?;
                    self.open(&format!("({inside})"));
                }
                '|' | '&' | ';' | '<' | '>' | '(' | ')' | '\n' => return None,
                '*' | '?' | '[' => self.open(c.encode_utf8(&mut [0; 4])),
                '{' if self.braces_expand() => self.open("{"),
                c => self.push(c),
            }
        }
        Some(())
    }

    fn braces_expand(&self) -> bool {
        let inside = self.rest.split(['}', ' ', '\n']).next().unwrap_or_default();
        inside.contains(',') || inside.contains("..")
    }

    fn home(&mut self) {
        let home = self.known.get("HOME");
        match home.filter(|_| self.rest.is_empty() || self.rest.starts_with(['/', ':', ' ', '\t']))
        {
            Some(home) => home.to_owned().chars().for_each(|c| self.push(c)),
            None => self.open("~"),
        }
    }

    /// What stands in double quotes, to the closing one or to the end of a default.
    fn quoted(&mut self, closes: bool) -> Option<()> {
        loop {
            match self.next() {
                None if closes => return None,
                Some('"') if closes => return Some(()),
                None => return Some(()),
                Some('"') => {}
                Some('\\') => match self.next()? {
                    '\n' => {}
                    c if "$`\"\\".contains(c) => self.push(c),
                    c => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                Some('$') => self.expand(true)?,
                Some('`') => self.backticks()?,
                Some(c) => self.push(c),
            }
        }
    }

    fn backticks(&mut self) -> Option<()> {
        let end = self.rest.find('`')?;
        let inside = format!("`{}`", self.rest.get(..end)?);
        self.rest = self.rest.get(end + 1..)?;
        self.open(&inside);
        Some(())
    }

    /// All up to the parenthesis or brace that closes.
    fn until(&mut self, closes: char) -> Option<String> {
        let opens = if closes == ')' { '(' } else { '{' };
        let (mut depth, mut quote, mut inside) = (0, None, String::new());
        loop {
            let c = self.next()?;
            match quote {
                None if c == closes && depth == 0 => return Some(inside),
                None if c == closes => depth -= 1,
                None if c == opens => depth += 1,
                None if c == '\'' || c == '"' => quote = Some(c),
                Some(open) if c == open => quote = None,
                None | Some(_) => {}
            }
            inside.push(c);
        }
    }

    /// What follows a `$`.
    fn expand(&mut self, is_quoted: bool) -> Option<()> {
        if self.rest.starts_with('(') {
            self.next();
            let inside = self.until(')')?;
            self.open(&format!("$({inside})"));
            return Some(());
        }
        let (raw, value) = if self.rest.starts_with('{') {
            self.next();
            let inside = self.until('}')?;
            (format!("${{{inside}}}"), self.parameter(&inside))
        } else {
            let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let name = self.rest.get(..end.unwrap_or(self.rest.len()))?.to_owned();
            self.rest = self.rest.get(name.len()..)?;
            if name.is_empty() && self.rest.starts_with(|c: char| "@*#?$!-".contains(c)) {
                let special = self.next()?;
                (format!("${special}"), None)
            } else if name.is_empty() {
                ("$".to_owned(), Some("$".to_owned()))
            } else {
                (format!("${name}"), self.known.get(&name).map(str::to_owned))
            }
        };
        match value {
            Some(value) if is_quoted => self.insert(&raw, &value),
            Some(value) if value.contains(['*', '?', '[', '\\']) => self.open(&raw),
            Some(value) => self.split(&raw, &value),
            None => self.open(&raw),
        }
        Some(())
    }

    fn insert(&mut self, raw: &str, value: &str) {
        let word = self.word();
        word.raw.push_str(raw);
        if let Some(text) = &mut word.text {
            text.push_str(value);
        }
    }

    /// A value without quotes around it is several words where it has spaces, and none where it is empty. The value of an
    /// assignment is always one.
    fn split(&mut self, raw: &str, value: &str) {
        if self.current.as_ref().is_some_and(|word| word.assignment().is_some()) {
            return self.insert(raw, value);
        }
        for (index, part) in value.split([' ', '\t', '\n']).enumerate() {
            if index > 0 {
                self.end();
            }
            if !part.is_empty() {
                self.insert(raw, part);
            }
        }
    }

    /// The value of what stands between `${` and `}`.
    fn parameter(&self, inside: &str) -> Option<String> {
        if is_name(inside) {
            return self.known.get(inside).map(str::to_owned);
        }
        let (name, default) = inside.split_once('-')?;
        let (name, or_empty) = name.strip_suffix(':').map_or((name, false), |name| (name, true));
        if !is_name(name) || default.contains('\'') {
            return None;
        }
        if let Some(value) = self.known.get(name) {
            if !(or_empty && value.is_empty()) {
                return Some(value.to_owned());
            }
        } else if self.known.is_open(name) {
            return None;
        }
        let mut reader =
            Reader { rest: default, known: self.known, words: Vec::new(), current: None };
        reader.word();
        reader.quoted(false)?;
        reader.current?.text
    }
}

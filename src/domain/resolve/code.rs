//! Where the code comes from, and what is captured of it.

use std::path::PathBuf;

use globset::GlobBuilder;

use crate::domain::code::{ArchiveDigest, ArchiveUrl, Capture, CodeSource, is_archive};
use crate::domain::problem::{At, Place, Problem};
use crate::domain::resolve::{Expectation, Expected, Resolver};
use crate::domain::resolved::{Code, Program};
use crate::domain::spec::WorkStyle;

/// Linux gives a new program about 2 MiB for arguments and environment; half of it is left for what others add.
const COMMAND_BYTES_MAX: usize = 1 << 20;

/// Globs of one list; each is tried on every file.
const GLOBS_MAX: usize = 100;

impl Resolver<'_> {
    pub(super) fn code(&mut self, program: Option<Program>) -> Option<Code> {
        let spec = self.spec.code.as_ref();
        let asked = spec.and_then(|code| code.path.as_ref());
        let place = asked.map(|path| path.place);
        let entry_place = spec.and_then(|code| code.entry_point.as_ref()).map(|entry| entry.place);
        let source = self.source(asked);
        let entry_point = match &program {
            Some(Program::EntryPoint(path)) => Some((path.clone(), entry_place)),
            Some(Program::Command(_)) | None => None,
        };
        if let Some(source) = &source {
            self.expect_source(source, place, entry_point.as_ref());
        }
        let include = self.globs(spec.and_then(|code| code.include.as_deref()));
        let exclude = self.globs(spec.and_then(|code| code.exclude.as_deref()));
        let args = self.args(self.args_style());
        let bytes: usize = args.iter().map(|word| word.to_string().len() + 1).sum();
        if bytes > COMMAND_BYTES_MAX {
            let message = format!(
                "`args` are {bytes} bytes long, more than the {COMMAND_BYTES_MAX} a program can be given"
            );
            self.problems.push(Problem::nowhere(message));
        }
        let source = source?;
        let code = Code {
            path: shown(&source),
            kind: source.kind(),
            work: spec
                .and_then(|code| code.work.as_ref())
                .map_or(WorkStyle::default(), |work| work.value),
            program: program?,
            args,
        };
        self.capture = Some(Capture { place, source, include, exclude, entry_point });
        Some(code)
    }

    fn source(&mut self, asked: Option<&At<String>>) -> Option<CodeSource> {
        let digest = self.archive_digest();
        let text = asked.map_or(".", |path| path.value.as_str());
        if text.contains("://") {
            return match ArchiveUrl::parse(text) {
                Ok(url) => Some(CodeSource::Address { url, digest }),
                Err(error) => {
                    let problem = Problem::new(asked.map(|path| path.place), error.to_string());
                    self.problems.push(problem);
                    None
                }
            };
        }
        let path = self.beside_spec(text);
        if is_archive(text) {
            return Some(CodeSource::Archive { path, digest });
        }
        if let Some(digest) = self.spec.code.as_ref().and_then(|code| code.digest.as_ref()) {
            let message = "`code.digest` is of an archive, and `code.path` is a directory";
            self.at(digest.place, message);
        }
        Some(CodeSource::Directory(path))
    }

    fn archive_digest(&mut self) -> Option<ArchiveDigest> {
        let asked = self.spec.code.as_ref()?.digest.as_ref()?;
        let digest = ArchiveDigest::parse(&asked.value);
        if digest.is_none() {
            let message = format!("`{}` is no digest", asked.value.escape_debug());
            let help = "write `sha256:` or `blake3:` and 64 hexadecimal digits, as sha256sum and b3sum print them";
            self.problems.push(Problem::at(asked.place, message).help(help));
        }
        digest
    }

    /// What can be seen from here before anything is captured.
    fn expect_source(
        &mut self,
        source: &CodeSource,
        place: Option<Place>,
        entry_point: Option<&(String, Option<Place>)>,
    ) {
        match source {
            CodeSource::Directory(path) => {
                let what = Expected::CodeDirectory;
                self.expectations.push(Expectation { place, what, path: path.clone() });
                if let Some((name, place)) = entry_point {
                    let (place, what) = (*place, Expected::EntryPoint);
                    self.expectations.push(Expectation { place, what, path: path.join(name) });
                }
            }
            CodeSource::Archive { path, .. } => {
                let what = Expected::CodeArchive;
                self.expectations.push(Expectation { place, what, path: path.clone() });
            }
            CodeSource::Address { .. } => {}
        }
    }

    fn globs(&mut self, asked: Option<&[At<String>]>) -> Vec<String> {
        let asked = asked.unwrap_or_default();
        if let Some(over) = asked.get(GLOBS_MAX) {
            self.at(over.place, format!("more than {GLOBS_MAX} globs"));
        }
        for glob in asked {
            if let Err(error) = GlobBuilder::new(&glob.value).literal_separator(true).build() {
                let message =
                    format!("`{}` is no glob: {}", glob.value.escape_debug(), error.kind());
                self.at(glob.place, message);
            }
        }
        asked.iter().take(GLOBS_MAX).map(|glob| glob.value.clone()).collect()
    }
}

fn shown(source: &CodeSource) -> PathBuf {
    match source {
        CodeSource::Directory(path) | CodeSource::Archive { path, .. } => path.clone(),
        CodeSource::Address { url, .. } => PathBuf::from(url.to_string()),
    }
}

//! What `include` and `exclude` mean: a glob without `/` is of names anywhere, one with `/` of paths from the top, and one
//! that fits a directory is of all that is in it.

use std::io;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// What nobody means by code: other tools' own, and what Python makes of it again.
const NEVER: &[&str] = &[".git", ".hg", ".svn", "__pycache__"];

#[derive(Debug, Clone)]
pub(super) struct Globs {
    include: GlobSet,
    exclude: GlobSet,
    asks: bool,
}

impl Globs {
    pub(super) fn new(include: &[String], exclude: &[String]) -> io::Result<Self> {
        Ok(Self { include: set(include)?, exclude: set(exclude)?, asks: !include.is_empty() })
    }

    /// Whether files are asked for that would not be taken.
    pub(super) fn asks_for_more(&self) -> bool {
        self.asks
    }

    pub(super) fn includes(&self, path: &str) -> bool {
        self.include.is_match(path)
    }

    /// Whether a path is left out, by what the spec says.
    pub(super) fn excludes(&self, path: &str) -> bool {
        self.exclude.is_match(path) && !self.includes(path)
    }

    /// Whether a directory of that name is never looked into.
    pub(super) fn is_never(name: &str) -> bool {
        NEVER.contains(&name)
    }
}

fn set(globs: &[String]) -> io::Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let trimmed = glob.strip_prefix("./").unwrap_or(glob).trim_end_matches('/');
        let anchored = match trimmed.strip_prefix('/') {
            Some(from_top) => from_top.to_owned(),
            None if trimmed.contains('/') => trimmed.to_owned(),
            None => format!("**/{trimmed}"),
        };
        for pattern in [format!("{anchored}/**"), anchored] {
            let built = GlobBuilder::new(&pattern).literal_separator(true).build();
            set.add(built.map_err(io::Error::other)?);
        }
    }
    set.build().map_err(io::Error::other)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::hands::code) fn globs(include: &[&str], exclude: &[&str]) -> Globs {
        let owned =
            |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        Globs::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn a_glob_fits_names_paths_and_what_is_below() {
        let check = |glob: &str, yes: &[&str], no: &[&str]| {
            let globs = globs(&[], &[glob]);
            for (paths, expected) in [(yes, true), (no, false)] {
                for path in paths {
                    assert_eq!(globs.excludes(path), expected, "{glob} {path}");
                }
            }
        };
        check("*.pt", &["a.pt", "d/e/a.pt"], &["a.py", "pt"]);
        check("data", &["data", "data/x", "a/data/x"], &["data2", "mydata/x"]);
        check("data/", &["data/x"], &["x"]);
        check("/data", &["data/x"], &["a/data/x"]);
        check("a/b*", &["a/b", "a/bc/d"], &["x/a/b", "a/c"]);
        check("./a/*", &["a/b", "a/b/c"], &["b"]);
        check("**/x", &["x", "a/b/x", "x/y"], &["xy"]);
    }

    #[test]
    fn what_is_included_is_not_left_out() {
        let globs = globs(&["keep.pt"], &["*.pt"]);
        assert!(globs.asks_for_more());
        assert_eq!((globs.excludes("keep.pt"), globs.excludes("other.pt")), (false, true));
    }
}

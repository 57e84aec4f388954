//! Capturing requirements: the file that a spec names, with all that it includes.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::domain::requirements::{
    CapturedRequirements, REQUIREMENTS_BYTES_MAX, REQUIREMENTS_FILES_MAX, What, file_name, lines,
};

/// Reads requirements as they are now. What is wrong with them, and where, is told in the error.
pub fn capture_requirements(path: &Path) -> Result<CapturedRequirements, String> {
    let mut known: Vec<PathBuf> = vec![path.to_owned()];
    let mut captured = CapturedRequirements::default();
    let mut bytes_left = REQUIREMENTS_BYTES_MAX;
    while let Some(path) = known.get(captured.files.len()).cloned() {
        let text = read(&path, bytes_left)?;
        bytes_left -= text.len();
        let mut rewritten = String::with_capacity(text.len());
        for line in lines(&text) {
            let (flag, file) = match line.what {
                What::Plain => {
                    rewritten.push_str(line.text);
                    continue;
                }
                What::Secret => {
                    return Err(format!(
                        "{}:{}: an address holds a password or a token, which would be recorded: name a variable of \
                         your environment, `${{TOKEN}}`, or use ~/.netrc",
                        path.display(),
                        line.number
                    ));
                }
                What::Refused(why) => {
                    let shown = line.text.trim().escape_debug();
                    return Err(format!("{}:{}: `{shown}` {why}", path.display(), line.number));
                }
                What::Include { flag, file } => (flag, file),
            };
            let included = path.parent().unwrap_or(Path::new("/")).join(file);
            let included = included.canonicalize().map_err(|error| {
                let (of, at) = (path.display(), line.number);
                format!("{of}:{at}: cannot read {}, which it includes: {error}", included.display())
            })?;
            let at = known.iter().position(|path| *path == included).unwrap_or_else(|| {
                known.push(included);
                known.len() - 1
            });
            rewritten.push_str(&format!("{flag} {}\n", file_name(at)));
        }
        if known.len() > REQUIREMENTS_FILES_MAX {
            return Err(format!(
                "{} includes more than {REQUIREMENTS_FILES_MAX} files",
                path.display()
            ));
        }
        captured.files.push(rewritten);
    }
    Ok(captured)
}

fn read(path: &Path, bytes_max: usize) -> Result<String, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let read = || -> io::Result<usize> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let file = std::fs::File::open(path)?;
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)
    };
    let mut read = read;
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("there is no file {shown}"));
        }
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
        Ok(_) => {}
    }
    if bytes.len() > bytes_max {
        return Err(format!(
            "{shown}: requirements are at most {REQUIREMENTS_BYTES_MAX} bytes, with all they include"
        ));
    }
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_included_is_captured_once_and_under_a_name_of_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs_err::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs_err::write(dir.path().join(name), text).unwrap();
        };
        write("requirements.txt", "-r sub/base.txt\nsix\n-c pins.txt");
        write("sub/base.txt", "idna\n-c ../pins.txt\n-r ../requirements.txt\n");
        write("pins.txt", "six==1.16.0\n");
        let asked = dir.path().canonicalize().unwrap().join("requirements.txt");
        let captured = capture_requirements(&asked).unwrap();
        let files = ["-r 1.txt\nsix\n-c 2.txt\n", "idna\n-c 2.txt\n-r 0.txt\n", "six==1.16.0\n"];
        assert_eq!(captured.files, files);

        let check = |text: &str, expected: &str| {
            write("requirements.txt", text);
            let error = capture_requirements(&asked).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("six\n-e .\n", "requirements.txt:2: `-e .` is a path of this machine");
        check("-r missing.txt", "requirements.txt:1: cannot read");
        check("-i https://me:hunter2@h/simple", "requirements.txt:1: an address holds a password");
        assert!(!capture_requirements(&asked).unwrap_err().contains("hunter2"));
        check(&"x".repeat(REQUIREMENTS_BYTES_MAX + 1), "at most 1048576 bytes");
        let many = (0..REQUIREMENTS_FILES_MAX).map(|n| format!("-r {n}.txt"));
        let many = many.collect::<Vec<_>>().join("\n");
        (0..REQUIREMENTS_FILES_MAX).for_each(|n| write(&format!("{n}.txt"), ""));
        check(&many, "includes more than 64 files");
        fs_err::write(&asked, b"\xff").unwrap();
        assert!(capture_requirements(&asked).unwrap_err().contains("not UTF-8"));
        let error = capture_requirements(dir.path()).unwrap_err();
        assert!(error.contains("no regular file"), "{error}");
    }
}

//! The claim of a submission: a symbolic link whose content names who may train for it.

use std::io;
use std::path::Path;

use crate::domain::ids::{JobKey, Token};
use crate::domain::run::Revocation;
use crate::domain::run_files::RunFiles;
use crate::files::durable;

/// What the daemon takes a claim with. No job key can be written like that.
const REVOKED: &str = "revoked";

/// Takes a submission's claim with `revoked`, or finds who has it.
pub(super) fn revoke(run_dir: &Path, token: &Token) -> io::Result<Revocation> {
    let files = RunFiles::of(run_dir);
    let (claims, claim) = (files.claims(), files.claim(token));
    if files.point().is_some() {
        // Its script makes it, which has not started.
        fs_err::create_dir_all(&claims)?;
        durable::sync(files.shared())?;
    }
    let made = fs_err::os::unix::fs::symlink(REVOKED, &claim);
    // A network file system may tell the one who made the link that it existed, so only its content counts.
    let content = match (fs_err::read_link(&claim), made) {
        (Ok(content), _) => content,
        (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
    };
    match read(&claim, &content)? {
        None => {
            durable::sync(&claims)?;
            Ok(Revocation::Won)
        }
        Some(owner) => Ok(Revocation::ClaimedBy(owner)),
    }
}

/// The job that has a submission's claim; `None` when none has it, or it is revoked.
pub(super) fn owner(run_dir: &Path, token: &Token) -> io::Result<Option<JobKey>> {
    let claim = RunFiles::of(run_dir).claim(token);
    match fs_err::read_link(&claim) {
        Ok(content) => read(&claim, &content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whom the content of a claim names; nobody when it is revoked.
fn read(claim: &Path, content: &Path) -> io::Result<Option<JobKey>> {
    let content = content.to_string_lossy();
    if content == REVOKED {
        return Ok(None);
    }
    let odd = |error| {
        let why = format!("the claim `{}` is odd: {error}", claim.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    };
    content.parse::<JobKey>().map(Some).map_err(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_has_the_claim_for_ever() {
        let run_dir = tempfile::tempdir().unwrap();
        let claims = run_dir.path().join("claims");
        let token = Token::from_bits(1);
        let missing = revoke(run_dir.path(), &token).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);

        fs_err::create_dir(&claims).unwrap();
        for _ in 0..2 {
            assert_eq!(revoke(run_dir.path(), &token).unwrap(), Revocation::Won);
        }

        let claimed = Token::from_bits(2);
        fs_err::os::unix::fs::symlink("local:7", claims.join(claimed.as_str())).unwrap();
        let job: JobKey = "local:7".parse().unwrap();
        assert_eq!(revoke(run_dir.path(), &claimed).unwrap(), Revocation::ClaimedBy(job.clone()));
        assert_eq!(owner(run_dir.path(), &claimed).unwrap(), Some(job));
        assert_eq!(owner(run_dir.path(), &token).unwrap(), None);
        assert_eq!(owner(run_dir.path(), &Token::from_bits(5)).unwrap(), None);

        let odd = Token::from_bits(3);
        fs_err::os::unix::fs::symlink("/etc/passwd", claims.join(odd.as_str())).unwrap();
        for error in
            [revoke(run_dir.path(), &odd).unwrap_err(), owner(run_dir.path(), &odd).unwrap_err()]
        {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }

        let point = RunFiles::point_dir(run_dir.path(), 3);
        let element = Token::from_bits(6).element(0);
        assert_eq!(owner(&point, &element).unwrap(), None);
        for _ in 0..2 {
            assert_eq!(
                revoke(&point, &element).unwrap(),
                Revocation::Won,
                "before it has a directory"
            );
        }
        assert_eq!(fs_err::read_link(point.join(element.as_str())).unwrap(), Path::new(REVOKED));

        let file = Token::from_bits(4);
        fs_err::write(claims.join(file.as_str()), "revoked").unwrap();
        assert!(revoke(run_dir.path(), &file).is_err(), "a file is no claim");
    }
}

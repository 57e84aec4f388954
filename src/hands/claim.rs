//! The claim of a submission: a symbolic link whose content names who may train for it.

use std::io;
use std::path::Path;

use crate::domain::ids::{JobKey, Token};
use crate::domain::run::Revocation;
use crate::files::durable;

/// What the daemon takes a claim with. No job key can be written like that.
const REVOKED: &str = "revoked";

/// Takes a submission's claim with `revoked`, or finds who has it.
pub(super) fn revoke(run_dir: &Path, token: &Token) -> io::Result<Revocation> {
    let claims = run_dir.join("claims");
    let claim = claims.join(token.as_str());
    let made = fs_err::os::unix::fs::symlink(REVOKED, &claim);
    // A network file system may tell the one who made the link that it existed, so only its content counts.
    let content = match (fs_err::read_link(&claim), made) {
        (Ok(content), _) => content,
        (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
    };
    let content = content.to_string_lossy();
    if content == REVOKED {
        durable::sync_dir(&claims)?;
        return Ok(Revocation::Won);
    }
    let odd = |error| {
        let why = format!("the claim `{}` is odd: {error}", claim.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    };
    content.parse::<JobKey>().map(Revocation::ClaimedBy).map_err(odd)
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
        let owner = "local:7".parse().unwrap();
        assert_eq!(revoke(run_dir.path(), &claimed).unwrap(), Revocation::ClaimedBy(owner));

        let odd = Token::from_bits(3);
        fs_err::os::unix::fs::symlink("/etc/passwd", claims.join(odd.as_str())).unwrap();
        let error = revoke(run_dir.path(), &odd).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);

        let file = Token::from_bits(4);
        fs_err::write(claims.join(file.as_str()), "revoked").unwrap();
        assert!(revoke(run_dir.path(), &file).is_err(), "a file is no claim");
    }
}

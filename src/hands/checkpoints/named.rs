//! What lies beside checkpoints: whatever names one of them, and what removals have left.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::domain::checkpoint::{Kind, layout};
use crate::hands::checkpoints::{Place, Walk};

/// Links of one directory that are read.
const LINKS_MAX: usize = 32;

impl Walk {
    /// Notes what a directory's pointer and its links name, and what removals have left there.
    pub(super) fn names(&mut self, place: &Place<'_>) {
        let mut named = |target: &Path, by: String| {
            let target = place.path.join(target).to_string_lossy().into_owned();
            self.walked.named.entry(target).or_insert(by);
        };
        if let Some(pointer) = &place.pointer
            && let Some(target) = pointer.target(place.listing)
        {
            let by = format!("`{}` names it", String::from_utf8_lossy(&pointer.name));
            named(Path::new(OsStr::from_bytes(&target)), by);
        }
        for name in place.listing.of(Kind::Link).take(LINKS_MAX) {
            self.walked.calls += 1;
            // One that was removed meanwhile names nothing.
            if let Ok(target) = fs_err::read_link(place.path.join(OsStr::from_bytes(name))) {
                let by = format!("the link `{}` leads to it", String::from_utf8_lossy(name));
                named(&target, by);
            }
        }
        let names = place.listing.entries.iter().map(|entry| &*entry.name);
        let removed = names.filter(|name| name.starts_with(layout::REMOVED.as_bytes()));
        let paths = removed.map(|name| place.path.join(OsStr::from_bytes(name)));
        self.walked.leftovers.extend(paths);
    }
}

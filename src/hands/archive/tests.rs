//! Copies that are whole, and those that are not made.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let shard = world.at("run/checkpoints/sub/checkpoint-5/a/shard.bin");
        fs_err::create_dir_all(shard.parent().unwrap()).unwrap();
        fs_err::write(&shard, vec![7; 3 * BLOCK_BYTES + 5]).unwrap();
        fs_err::write(world.at("run/checkpoints/sub/checkpoint-5/empty"), "").unwrap();
        symlink("a/shard.bin", world.at("run/checkpoints/sub/checkpoint-5/link")).unwrap();
        fs_err::write(world.at("run/checkpoints/step-6.pt"), "six").unwrap();
        fs_err::create_dir(world.at("archive")).unwrap();
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn order(&self, name: &str) -> ArchiveOrder {
        ArchiveOrder {
            directory: self.at("run/checkpoints"),
            run_dir: self.at("run"),
            path: self.at("run/checkpoints").join(name),
            archive: self.at("archive"),
            place: Path::new("7-x").join(name),
        }
    }

    fn whole(&self, name: &str) -> io::Result<PathBuf> {
        let (order, mut done) = (self.order(name), None);
        loop {
            match archive(&order, done)? {
                Archived::Whole(place) => return Ok(place),
                Archived::UpTo(next) => done = Some(next),
            }
        }
    }

    fn archived(&self) -> Vec<String> {
        let entries = WalkDir::new(self.at("archive")).sort_by_file_name().min_depth(1);
        let name = |path: &Path| path.strip_prefix(self.at("archive")).unwrap().to_owned();
        entries.into_iter().map(|it| name(it.unwrap().path()).display().to_string()).collect()
    }
}

#[test]
fn a_copy_is_what_the_original_is() {
    let world = World::new();
    for name in ["sub/checkpoint-5", "step-6.pt"] {
        let place = world.whole(name).unwrap();
        assert_eq!(place, world.at("archive/7-x").join(name));
        let (original, copy) = (list(&world.order(name).path).unwrap(), list(&place).unwrap());
        assert!(are_same(&original, &copy), "{name}");
        assert_eq!(world.whole(name).unwrap(), place, "the same is not copied twice");
    }
    assert_eq!(
        world.archived(),
        [
            "7-x",
            "7-x/step-6.pt",
            "7-x/sub",
            "7-x/sub/checkpoint-5",
            "7-x/sub/checkpoint-5/a",
            "7-x/sub/checkpoint-5/a/shard.bin",
            "7-x/sub/checkpoint-5/empty",
            "7-x/sub/checkpoint-5/link"
        ]
    );
    let shard = fs_err::read(world.at("archive/7-x/sub/checkpoint-5/a/shard.bin")).unwrap();
    assert!(shard == vec![7; 3 * BLOCK_BYTES + 5]);
    // Saved anew, as after a training that began from an earlier one.
    fs_err::write(world.at("run/checkpoints/step-6.pt"), "anew").unwrap();
    assert_eq!(world.whole("step-6.pt").unwrap(), world.at("archive/7-x/step-6.pt.2"));
    assert_eq!(fs_err::read_to_string(world.at("archive/7-x/step-6.pt")).unwrap(), "six");
}

#[test]
fn a_file_is_copied_on_from_where_it_was_left() {
    let world = World::new();
    let source = world.at("run/checkpoints/sub/checkpoint-5/a/shard.bin");
    let target = world.at("archive/shard.bin");
    let (mut from, mut calls) = (0, 0);
    let past = Instant::now();
    while let Some(next) = copy_on(&source, &target, from, past).unwrap() {
        assert_eq!(next, (from + BLOCK_BYTES as u64).min(3 * BLOCK_BYTES as u64 + 5));
        (from, calls) = (next, calls + 1);
    }
    assert_eq!(calls, 4);
    assert!(fs_err::read(source).unwrap() == fs_err::read(target).unwrap());
}

#[test]
fn a_copy_that_fails_leaves_the_original_and_nothing_else() {
    let world = World::new();
    // Nothing can be made in a file: as in an archive that is full.
    fs_err::create_dir(world.at("archive/7-x")).unwrap();
    fs_err::write(world.at("archive/7-x/sub"), "in the way").unwrap();
    assert!(world.whole("sub/checkpoint-5").is_err());
    nix::unistd::mkfifo(
        &world.at("run/checkpoints/sub/checkpoint-5/pipe"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    fs_err::remove_file(world.at("archive/7-x/sub")).unwrap();
    let error = world.whole("sub/checkpoint-5").unwrap_err();
    assert!(error.to_string().contains("neither a file nor a directory"), "{error}");
    fs_err::remove_file(world.at("run/checkpoints/sub/checkpoint-5/pipe")).unwrap();
    assert!(world.at("run/checkpoints/sub/checkpoint-5/a/shard.bin").is_file());
    assert_eq!(world.archived(), ["7-x"]);
    assert!(world.whole("sub/checkpoint-5").is_ok());
}

#[test]
fn what_an_interrupted_copy_has_left_is_made_anew() {
    let world = World::new();
    fs_err::create_dir_all(world.at("archive/7-x/.trainyard-copying.step-6.pt")).unwrap();
    world.whole("step-6.pt").unwrap();
    assert_eq!(world.archived(), ["7-x", "7-x/step-6.pt"]);
}

#[test]
fn an_archive_that_is_not_there_or_in_the_run_is_refused() {
    let world = World::new();
    let check = |archive_path: &str, told: &str| {
        let order = ArchiveOrder { archive: world.at(archive_path), ..world.order("step-6.pt") };
        let error = archive(&order, None).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    };
    check("unmounted", "unmounted");
    assert!(!world.at("unmounted").exists());
    symlink(world.at("run/checkpoints"), world.at("alias")).unwrap();
    check("alias", "lies inside the run");
    check("run", "lies inside the run");
}

#[test]
fn a_file_keeps_its_mode_and_its_time() {
    let world = World::new();
    let source = world.at("run/checkpoints/step-6.pt");
    fs_err::set_permissions(&source, std::fs::Permissions::from_mode(0o440)).unwrap();
    let place = world.whole("step-6.pt").unwrap();
    let (was, is) = (source.metadata().unwrap(), place.metadata().unwrap());
    assert_eq!(is.permissions().mode() & 0o777, 0o440);
    assert_eq!(is.modified().unwrap(), was.modified().unwrap());
}

//! Scratch on a node: what is removed there, and what is left alone.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::world::{World, wait_until};

fn host() -> String {
    nix::unistd::gethostname().unwrap().into_string().unwrap()
}

/// The scratch of an earlier job, as it was so many minutes ago.
fn left(world: &World, name: &str, host: &str, minutes: u64) -> PathBuf {
    let folder = world.path(&format!("tmp/{name}"));
    fs::create_dir_all(folder.join("data.x/deep")).unwrap();
    fs::set_permissions(folder.join("data.x/deep"), readonly()).unwrap();
    fs::write(folder.join(".held"), format!("{host}\n")).unwrap();
    age(&folder, minutes);
    folder
}

fn readonly() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o500)
}

fn age(folder: &std::path::Path, minutes: u64) {
    let then = SystemTime::now() - Duration::from_mins(minutes);
    let file = File::options().write(true).open(folder.join(".held")).unwrap();
    file.set_times(FileTimes::new().set_modified(then)).unwrap();
}

#[test]
fn what_a_killed_job_left_on_the_node_is_removed_and_what_is_in_use_is_not() {
    // The record and the clearing have time enough.
    let world = World::new("until [[ -e $HOME/seen ]]; do sleep 0.05; done");
    let dead = left(&world, "trainyard.tydead", &host(), 61);
    let young = left(&world, "trainyard.tyyoung", &host(), 30);
    let elsewhere = left(&world, "trainyard.tyelsewhere", "another-node", 600);
    let held = left(&world, "trainyard.tyheld", &host(), 600);
    let lock = File::open(held.join(".held")).unwrap();
    lock.lock_shared().unwrap();
    let other = left(&world, "something.else", &host(), 600);
    let unmarked = left(&world, "trainyard.tyunmarked", &host(), 600);
    fs::remove_file(unmarked.join(".held")).unwrap();
    let aside = left(&world, "aside", &host(), 600);
    let link = world.path("tmp/trainyard.tylink");
    symlink(&aside, &link).unwrap();
    let child = world.start();
    wait_until(|| !dead.exists());
    world.write("seen", "");
    assert!(child.wait_with_output().unwrap().status.success());
    for kept in [young, elsewhere, held, other, unmarked, aside, link] {
        assert!(kept.exists(), "{}", kept.display());
    }
    let own = world.path(&format!("tmp/trainyard.{}", super::world::TOKEN));
    assert!(!own.exists());
}

#[test]
fn scratch_is_held_by_every_job_that_has_it() {
    let world = World::new("echo ready; until [[ -e $HOME/seen ]]; do sleep 0.05; done");
    let child = world.start();
    wait_until(|| world.log().contains("ready"));
    let own = world.path(&format!("tmp/trainyard.{}", super::world::TOKEN));
    assert_eq!(fs::read_to_string(own.join(".held")).unwrap(), format!("{}\n", host()));
    let lock = File::open(own.join(".held")).unwrap();
    assert!(lock.try_lock().is_err(), "nobody may remove it");
    // Another job that comes to see it as old leaves it.
    age(&own, 600);
    let mut later = World::new("");
    later.set("TMPDIR", &world.path("tmp").display().to_string());
    later.job_name = later.job_name.replace("tyabc", "tyzzz");
    assert_eq!(later.run().code, Some(0));
    assert!(own.exists());
    world.write("seen", "");
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(!own.exists());
}

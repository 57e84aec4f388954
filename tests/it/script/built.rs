//! The environment that was built of requirements: how the script that builds it reads, and when the job trusts it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use trainyard::domain::requirements::CapturedRequirements;
use trainyard::domain::resolved::Requirements;
use trainyard::script::render_build;

use super::world::{World, spec};

fn requirements(pip_args: &[&str]) -> Requirements {
    let pip_args = pip_args.iter().map(|word| (*word).to_owned()).collect();
    Requirements { path: "/home/ada/requirements.txt".into(), pip_args, build_on: None }
}

fn captured() -> CapturedRequirements {
    CapturedRequirements { files: vec!["six\n".into()] }
}

#[test]
fn the_builders_script_reads_well_and_bash_and_shellcheck_agree() {
    let mut spec = spec();
    spec.environment.requirements = Some(requirements(&["--pre", "it's $(touch here)"]));
    spec.environment.modules = vec!["python/3.12".into()];
    spec.script.prologue = vec![". /etc/profile.d/modules.sh".into()];
    insta::assert_snapshot!(render_build(&spec, &captured()));
    let directory = tempfile::tempdir().unwrap();
    spec.script.prologue.clear();
    for modules in [vec!["python/3.12".to_owned()], Vec::new()] {
        spec.environment.modules = modules;
        let file = directory.path().join("build.sh");
        fs::write(&file, render_build(&spec, &captured())).unwrap();
        for program in ["shellcheck", "bash"] {
            let mut command = Command::new(program);
            let command = if program == "bash" { command.arg("-n") } else { &mut command };
            let said = command.arg(&file).output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
        }
    }
}

/// A world whose run was given an environment for this Python.
fn world(python: &str) -> World {
    let mut world = World::new("python; echo \"$VIRTUAL_ENV\"");
    world.spec.environment.requirements = Some(requirements(&[]));
    let real = world.path("store/builds/a");
    world.write(
        "store/builds/a/bin/activate",
        &format!("VIRTUAL_ENV={0}; export VIRTUAL_ENV PATH={0}/bin:$PATH", real.display()),
    );
    world.write(
        "store/builds/a/bin/python",
        "#!/bin/bash\n[[ $1 != -c ]] || { echo 3.11.7; exit; }\necho own python\n",
    );
    fs::set_permissions(real.join("bin/python"), fs::Permissions::from_mode(0o755)).unwrap();
    let machine = nix::sys::utsname::uname().unwrap().machine().to_str().unwrap().to_owned();
    world.write(
        "store/builds/a/complete",
        &format!("python\t{python}\nmachine\t{machine}\nnewer\tx\n"),
    );
    fs::create_dir_all(world.in_run("environment")).unwrap();
    symlink(&real, world.in_run("environment/venv")).unwrap();
    world
}

#[test]
fn an_environment_is_activated_where_it_is_whole_and_fits() {
    // What is installed does not depend on Python's last number.
    for python in ["3.11.7", "3.11.2"] {
        let world = world(python);
        let ended = world.run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let real = world.path("store/builds/a").display().to_string();
        assert_eq!(world.log(), format!("own python\n{real}\n"));
    }
}

#[test]
fn one_that_is_not_whole_or_for_another_machine_is_told() {
    let broken = |python: &str, change: &dyn Fn(&World), told: &str| {
        let world = world(python);
        change(&world);
        world.run().launch_failed(&world, told);
    };
    let nothing = |_: &World| {};
    broken("3.12.1", &nothing, "was built for python 3.12, and here on");
    let complete = |world: &World| world.path("store/builds/a/complete");
    broken("3.11.7", &|world| fs::remove_file(complete(world)).unwrap(), "is not whole");
    broken(
        "3.11.7",
        &|world| fs::write(complete(world), "machine\tvax\n").unwrap(),
        "was built for machine vax",
    );
    let link = |world: &World| world.in_run("environment/venv");
    broken("3.11.7", &|world| fs::remove_file(link(world)).unwrap(), "is not whole");
    let python = |world: &World| world.path("store/builds/a/bin/python");
    broken("3.11.7", &|world| fs::remove_file(python(world)).unwrap(), "does not work");

    let mut by_hand = world("3.11.7");
    by_hand.job_name = "something".into();
    let ended = by_hand.run();
    assert!(
        ended.stderr.contains("submitted by hand, this script has no environment"),
        "{ended:?}"
    );
}

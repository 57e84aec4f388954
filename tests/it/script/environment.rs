//! The site's code, modules, conda and virtual environments: each judged by what it left behind.

use std::fs;
use std::os::unix::fs::symlink;

use trainyard::domain::inbox::ScriptEventKind::{Ended, Launched, Started};

use super::world::{World, word};

/// A `module` that loads what begins with `cuda`, and like old versions never reports failure.
const OLD_MODULE: &str = "module() { case $2 in cuda*) \
    export LOADEDMODULES=${LOADEDMODULES:+$LOADEDMODULES:}$2/12.4 MARK=loaded ;; esac; echo \"module $*\"; }";

#[test]
fn the_sites_code_runs_around_the_training() {
    let mut world = World::new("echo \"$A $B\"; exit 5");
    world.spec.script.prologue = vec![
        "false; echo $nobody_set_this\nexport A=first\nreturn 3\n".into(),
        "cat <<X\nheld\nX\nexport B=$A-second; false".into(),
    ];
    world.spec.script.epilogue = vec!["echo epilogue >&2; return 4".into()];
    let ended = world.run();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(world.log(), "first first-second\n");
    assert!(ended.stderr.contains("epilogue ended with status 4"), "{ended:?}");
    assert_eq!(world.kinds(), [Started, Launched, Ended]);
}

#[test]
fn site_code_that_ends_the_script_is_named() {
    for code in ["exit 1", "exit 0", "set -u; echo $undefined_here", "set -e; false"] {
        let mut world = World::new("echo trained");
        world.spec.script.prologue = vec![code.into()];
        world.run().launch_failed(&world, "the site's prologue ended the script");
        assert_eq!(world.log(), "");
    }
    let mut world = World::new("exit 6");
    world.spec.script.epilogue = vec!["exit 1".into()];
    assert_eq!(world.run().code, Some(6));
    assert_eq!(world.marker(1).unwrap().exit_code, Some(6));
}

#[test]
fn site_code_cannot_upset_the_script() {
    let mut world = World::new("echo trained");
    let code = "set -euCf; shopt -s nocasematch; IFS=.; trap 'echo mine' EXIT TERM; cd /; token=x; main() { :; }";
    world.spec.script.prologue = vec![code.into()];
    let ended = world.run();
    assert_eq!((ended.code, world.log().as_str()), (Some(0), "trained\n"), "{ended:?}");
    assert_eq!(world.kinds(), [Started, Launched, Ended]);
    assert!(world.marker(1).is_some());
}

#[test]
fn modules_are_loaded_in_order_and_judged_by_what_is_loaded() {
    let mut world = World::new("echo \"$LOADEDMODULES $MARK\"");
    world.spec.script.prologue = vec![OLD_MODULE.into()];
    world.spec.environment.modules = vec!["cuda".into(), "cuda-extra".into()];
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.log(), "cuda/12.4:cuda-extra/12.4 loaded\n");

    let mut world = World::new("echo trained");
    world.spec.script.prologue = vec![OLD_MODULE.into()];
    world.spec.environment.modules = vec!["cuda".into(), "cud".into()];
    world.run().launch_failed(&world, "but the module is not loaded");

    world = World::new("echo trained");
    world.spec.script.prologue = vec!["module() { return 1; }; LMOD_VERSION=8".into()];
    world.spec.environment.modules = vec!["gcc/12".into()];
    world.run().launch_failed(&world, "the module `gcc/12` cannot be loaded");

    // Lmod loads an alias under another name, and its status can be believed.
    world.spec.script.prologue =
        vec!["module() { export LOADEDMODULES=gcc/12.3; }; LMOD_VERSION=8".into()];
    world.job_name = world.job_name.replace(".1.", ".2.");
    assert_eq!(world.run().code, Some(0));

    let mut world = World::new("echo trained");
    world.spec.script.prologue = vec!["module() { exit 9; }".into()];
    world.spec.environment.modules = vec!["a'b".into()];
    world.run().launch_failed(&world, "loading the module `a'b` ended the script (exit code 9)");
}

#[test]
fn without_a_module_command_the_site_is_named() {
    let mut world = World::new("echo trained");
    world.spec.environment.modules = vec!["cuda".into()];
    world.run().launch_failed(&world, "there is no `module` command on ");
}

#[test]
fn a_conda_environment_must_be_the_active_one() {
    const CONDA: &str = "conda() { case $2 in torch | /e/torch) export CONDA_PREFIX=/e/torch ;; \
        base) export CONDA_PREFIX=/opt/conda CONDA_DEFAULT_ENV=base ;; exit) exit 1 ;; *) return 0 ;; esac; }";
    let run = |environment: &str, from_path: bool| {
        let mut world = World::new("echo \"$CONDA_PREFIX\"");
        world.write("conda/etc/profile.d/conda.sh", CONDA);
        world.spec.environment.conda = Some(environment.into());
        if from_path {
            world.install("conda", &format!("[[ $* == 'shell.bash hook' ]] && echo '{CONDA}'"));
        } else {
            world.spec.environment.conda_root = Some(world.path("conda").display().to_string());
        }
        let ended = world.run();
        (world, ended)
    };
    for from_path in [true, false] {
        for (environment, prefix) in
            [("torch", "/e/torch"), ("/e/torch", "/e/torch"), ("base", "/opt/conda")]
        {
            let (world, ended) = run(environment, from_path);
            if environment.starts_with('/') {
                continue; // compared as directories, which these are not
            }
            assert_eq!(ended.code, Some(0), "{environment} {ended:?}");
            assert_eq!(world.log(), format!("{prefix}\n"));
        }
        let (world, ended) = run("gone", from_path);
        ended.launch_failed(&world, "the conda environment `gone` cannot be activated");
        let (world, ended) = run("exit", from_path);
        ended.launch_failed(&world, "activating the conda environment ended the script");
    }

    let mut world = World::new("echo trained");
    world.spec.environment.conda = Some("torch".into());
    world.run().launch_failed(&world, "there is no `conda` on ");
    let mut world = World::new("echo trained");
    world.spec.environment.conda = Some("torch".into());
    world.spec.environment.conda_root = Some("/no/conda".into());
    world.run().launch_failed(&world, "/no/conda/etc/profile.d/conda.sh cannot be read");
}

#[test]
fn a_virtual_environment_must_bring_its_python() {
    let venv = |activate: &str| {
        let mut world = World::new("command -v python; echo \"$VIRTUAL_ENV\"");
        let path = world.path("my venv").display().to_string();
        world.write("my venv/bin/activate", &activate.replace("HERE", &path));
        symlink("/bin/true", world.path("my venv/bin/python")).unwrap();
        world.spec.environment.venv = Some(path.clone());
        (world, path)
    };
    let (world, path) =
        venv("VIRTUAL_ENV='HERE'; export VIRTUAL_ENV; PATH=\"$VIRTUAL_ENV/bin:$PATH\"");
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.log(), format!("{path}/bin/python\n{path}\n"));

    for broken in ["", "export VIRTUAL_ENV='HERE'", "PATH='HERE/bin':$PATH; VIRTUAL_ENV=/moved"] {
        let (world, path) = venv(broken);
        world.run().launch_failed(&world, &format!("the virtual environment {path} does not work"));
    }
    let (world, _) = venv("exit 1");
    world.run().launch_failed(&world, "activating the virtual environment ended the script");
    let (world, path) = venv("");
    fs::remove_file(world.path("my venv/bin/activate")).unwrap();
    world.run().launch_failed(&world, &format!("there is no virtual environment at {path}"));
}

#[test]
fn variables_reach_the_training_and_not_the_script() {
    let mut world = World::new("echo \"$ty_code $WHERE $PYTHONUNBUFFERED\"; exit 2");
    world.spec.environment.variables = vec![
        ("ty_code".into(), word("0")),
        ("WHERE".into(), word("{checkpoints}/{name}-{id}")),
        ("PYTHONUNBUFFERED".into(), word("0")),
        ("PATH".into(), word("/usr/bin:/bin")),
        ("LD_PRELOAD".into(), word("")),
    ];
    assert_eq!(world.run().code, Some(2));
    let checkpoints = world.in_run("checkpoints").display().to_string();
    assert_eq!(world.log(), format!("0 {checkpoints}/demo-42 0\n"));

    // The training's PATH is where its program is looked for; the script keeps its own.
    let mut world = World::new("");
    world.spec.environment.variables = vec![("PATH".into(), word("/nowhere"))];
    world.run().launch_failed(&world, "`bash` cannot be executed");
    assert_eq!(world.inbox().len(), 2);
}

#[test]
fn scratch_is_made_where_the_site_says() {
    let mut world =
        World::new("echo \"$TRAINYARD_LOCAL_SCRATCH\"; [[ -d $TRAINYARD_LOCAL_SCRATCH ]]");
    let asked = world.path("my scratch/$SLURM_JOB_ID/$USER/$(id)").display().to_string();
    world.spec.compute.local_scratch = Some(asked.clone());
    world.set("USER", "ada");
    assert_eq!(world.run().code, Some(0));
    let made = asked.replace("$SLURM_JOB_ID", "7").replace("$USER", "ada");
    assert_eq!(world.log(), format!("{made}\n"));
    assert!(fs::exists(made).unwrap(), "it is the site's to clean up");

    let mut world = World::new("");
    world.spec.compute.local_scratch = Some("/proc/nowhere".into());
    world.run().launch_failed(&world, "cannot make the local scratch directory /proc/nowhere");

    let world = World::new("");
    let token = super::world::TOKEN;
    symlink("/", world.path("tmp").join(format!("trainyard.{token}"))).unwrap();
    world.run().launch_failed(&world, "belongs to somebody else");
}

#[test]
fn temporary_files_are_in_the_scratch_whatever_the_machine_says() {
    let token = super::world::TOKEN;
    let training = "echo \"$TMPDIR\"; [[ $TMPDIR == \"$TRAINYARD_LOCAL_SCRATCH\" ]]";
    let world = World::new(training);
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.log(), format!("{}/trainyard.{token}\n", world.path("tmp").display()));

    let mut world = World::new(training);
    let asked = world.path("scratch").display().to_string();
    world.spec.compute.local_scratch = Some(asked.clone());
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.log(), format!("{asked}\n"));

    // A TMPDIR that is missing, or relative, is nobody's.
    for unusable in ["/nonexistent/tmp", "tmp"] {
        let mut world = World::new(training);
        // Its own name, since /tmp is everybody's.
        let letters = nix::unistd::getpid().to_string().replace(['0', '1', '8', '9'], "z");
        world.job_name = format!("42-demo.1.ty{letters:a>20}");
        world.set("TMPDIR", unusable);
        assert_eq!(world.run().code, Some(0));
        assert!(world.log().starts_with("/tmp/trainyard.ty"), "{}", world.log());
    }

    let mut world = World::new("echo \"$TMPDIR\"");
    world.spec.environment.variables = vec![("TMPDIR".into(), word("/of/the/spec"))];
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.log(), "/of/the/spec\n");
}

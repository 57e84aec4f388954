//! Checkpoints of each format as they are taken away, interrupted anywhere, and what is none.

use std::os::unix::fs::symlink;

use super::*;
use crate::domain::checkpoint::Walked;
use crate::domain::checkpoint::samples::archive;
use crate::hands::checkpoints::walk;

/// Names and what is in them.
type Files = Vec<(&'static str, Vec<u8>)>;

/// Two complete checkpoints of a format, of steps 10 and 20.
fn formats() -> Vec<(&'static str, Files)> {
    let metadata = || b"\x80\x04\x95 what is where \x94.".to_vec();
    let weights = || archive(90);
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            "dcp",
            vec![
                ("10/__0_0.distcp", weights()),
                ("10/.metadata", metadata()),
                ("20/__0_0.distcp", weights()),
                ("20/.metadata", metadata()),
            ],
        ),
        (
            "huggingface",
            vec![
                ("checkpoint-10/model.bin", weights()),
                ("checkpoint-10/trainer_state.json", text("{}")),
                ("checkpoint-20/model.bin", weights()),
                ("checkpoint-20/trainer_state.json", text("{}")),
            ],
        ),
        (
            "deepspeed",
            vec![
                ("global_step10/mp_rank_00_model_states.pt", weights()),
                ("global_step20/mp_rank_00_model_states.pt", weights()),
                ("latest", text("global_step20")),
            ],
        ),
        (
            "megatron",
            vec![
                ("iter_0000010/mp_rank_00/model_optim_rng.pt", weights()),
                ("iter_0000020/mp_rank_00/model_optim_rng.pt", weights()),
                ("latest_checkpointed_iteration.txt", text("20")),
            ],
        ),
        ("lightning", vec![("step=10.ckpt", weights()), ("step=20.ckpt", weights())]),
        (
            "nemo",
            vec![
                ("m-step=10/weights/__0_0.distcp", weights()),
                ("m-step=10/weights/.metadata", metadata()),
                ("m-step=10/context/model.yaml", text("a: 1")),
                ("m-step=20/weights/__0_0.distcp", weights()),
                ("m-step=20/weights/.metadata", metadata()),
                ("m-step=20/context/model.yaml", text("a: 1")),
            ],
        ),
        ("file", vec![("sub/step-10.pt", weights()), ("sub/step-20.pt", weights())]),
    ]
}

fn saved(dir: &Path, files: &[(&str, Vec<u8>)]) {
    for (name, content) in files {
        let path = dir.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }
}

/// The steps of what is complete, lowest first.
fn complete(walked: &Walked) -> Vec<i64> {
    let mut steps: Vec<i64> =
        walked.found.iter().filter(|one| one.lacks.is_none()).filter_map(|one| one.step).collect();
    steps.sort_unstable();
    steps
}

fn doomed(walked: &Walked, step: i64) -> Doomed {
    let one = walked.found.iter().find(|one| one.step == Some(step)).unwrap();
    Doomed { path: PathBuf::from(&one.path), is_directory: one.is_directory }
}

/// At no moment is half a checkpoint there under a name that anybody takes for one, whatever is removed of it first.
#[test]
fn a_removal_that_is_interrupted_leaves_no_half_checkpoint_and_is_finished() {
    for (format, files) in formats() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        saved(top, &files);
        let before = walk(top, None).unwrap();
        assert_eq!(complete(&before), [10, 20], "{format}: {before:?}");
        let hidden = hide(top, &[doomed(&before, 10)]).pop().unwrap().unwrap();
        // From here on nothing of it counts, with any part of it missing.
        for entry in walkdir::WalkDir::new(&hidden).contents_first(true) {
            let walked = walk(top, None).unwrap();
            assert_eq!(complete(&walked), [20], "{format}: {walked:?}");
            assert_eq!(walked.found.len(), 1, "{format}: {walked:?}");
            assert_eq!(walked.leftovers, [hidden.as_path()], "{format}");
            let entry = entry.unwrap();
            if entry.file_type().is_dir() {
                fs_err::remove_dir(entry.path()).unwrap();
            } else {
                fs_err::remove_file(entry.path()).unwrap();
            }
        }
        saved(top, &files);
        let again = walk(top, None).unwrap();
        let hidden = hide(top, &[doomed(&again, 10)]).pop().unwrap().unwrap();
        for _ in 0..2 {
            remove(top, &hidden).unwrap();
            assert!(!hidden.exists(), "{format}");
        }
        let after = walk(top, None).unwrap();
        assert_eq!((complete(&after), after.leftovers), (vec![20], Vec::new()), "{format}");
    }
}

#[test]
fn what_is_something_else_by_now_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let top = at("checkpoints");
    saved(&top, &[("a/step-1.pt", archive(9)), ("b/step-1.pt", archive(9)), ("step-3/x", vec![])]);
    saved(dir.path(), &[("precious/step-1.pt", archive(9))]);
    let doomed = |path: PathBuf, is_directory| Doomed { path, is_directory };
    // The directory that it lay in leads elsewhere by now; so does the name itself.
    fs_err::remove_dir_all(top.join("a")).unwrap();
    symlink(at("precious"), top.join("a")).unwrap();
    fs_err::remove_file(top.join("b/step-1.pt")).unwrap();
    symlink(at("precious/step-1.pt"), top.join("b/step-1.pt")).unwrap();
    let tried = [
        doomed(top.join("a/step-1.pt"), false),
        doomed(top.join("b/step-1.pt"), false),
        doomed(top.join("step-3"), false),
        doomed(top.join("../precious"), true),
        doomed(at("precious"), true),
        doomed(top.clone(), true),
        doomed(top.join("none"), true),
    ];
    for (one, told) in tried.iter().zip(hide(&top, &tried)) {
        assert!(told.is_err(), "{one:?}: {told:?}");
    }
    assert!(at("precious/step-1.pt").is_file() && top.join("step-3/x").is_file());
    assert!(top.join("b/step-1.pt").is_symlink());
    for named in [top.join("step-3"), at("precious"), top.clone()] {
        assert!(remove(&top, &named).is_err(), "{named:?}");
    }
    assert!(at("precious/step-1.pt").is_file() && top.join("step-3/x").is_file());
}

#[test]
fn the_checkpoint_directory_itself_may_be_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, top) = (dir.path().join("fast"), dir.path().join("checkpoints"));
    saved(&real, &[("step-1.pt", archive(9))]);
    symlink(&real, &top).unwrap();
    let one = Doomed { path: top.join("step-1.pt"), is_directory: false };
    let hidden = hide(&top, &[one]).pop().unwrap().unwrap();
    remove(&top, &hidden).unwrap();
    assert_eq!(fs_err::read_dir(&real).unwrap().count(), 0);
}

#[test]
fn what_a_pointer_or_a_link_names_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    saved(
        top,
        &[("step-1.pt", archive(9)), ("step-2.pt", archive(9)), ("latest", b"step-1.pt".to_vec())],
    );
    symlink("step-2.pt", top.join("best")).unwrap();
    let told: Vec<String> = walk(top, None).unwrap().named.into_values().collect();
    assert_eq!(told, ["`latest` names it", "the link `best` leads to it"]);
}

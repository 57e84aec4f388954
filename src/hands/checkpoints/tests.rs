//! Checkpoints as their writers leave them, whole and cut off anywhere; and what a look at many costs.

use std::os::unix::net::UnixListener;

use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::*;
use crate::domain::checkpoint::samples::{archive, tensors};

/// What a writer does, in its order.
enum Act {
    Make(&'static str),
    Write(&'static str, Vec<u8>),
    Rename(&'static str, &'static str),
    Remove(&'static str),
}
use Act::{Make, Remove, Rename, Write};

impl Act {
    /// A file that is opened and not written to is there, too.
    fn cost(&self) -> usize {
        match self {
            Write(_, content) => 1 + content.len(),
            Make(_) | Rename(..) | Remove(_) => 1,
        }
    }

    fn up_to(&self, dir: &Path, cost: usize) {
        match self {
            Make(name) => fs_err::create_dir_all(dir.join(name)).unwrap(),
            Write(name, content) => fs_err::write(dir.join(name), &content[..cost - 1]).unwrap(),
            Rename(from, to) => fs_err::rename(dir.join(from), dir.join(to)).unwrap(),
            Remove(name) => fs_err::remove_file(dir.join(name)).unwrap(),
        }
    }
}

/// Does the acts until so much is spent.
fn perform(dir: &Path, acts: &[Act], mut left: usize) {
    for act in acts {
        if left == 0 {
            return;
        }
        let cost = act.cost().min(left);
        act.up_to(dir, cost);
        left -= cost;
    }
}

fn metadata() -> Vec<u8> {
    b"\x80\x04\x95 what is where \x94.".to_vec()
}

/// A torch checkpoint in a directory.
fn distributed(names: [&'static str; 3]) -> Vec<Act> {
    let [shard, temporary, marker] = names;
    vec![Write(shard, archive(90)), Write(temporary, metadata()), Rename(temporary, marker)]
}

fn dcp() -> Vec<Act> {
    let mut acts = vec![Make("20"), Write("20/__1_0.distcp", archive(50))];
    acts.extend(distributed(["20/__0_0.distcp", "20/.metadata.tmp", "20/.metadata"]));
    acts
}

fn huggingface() -> Vec<Act> {
    let index = br#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#;
    vec![
        Make("checkpoint-20"),
        Write("checkpoint-20/m-1.safetensors", tensors(60)),
        Write("checkpoint-20/m-2.safetensors", tensors(40)),
        Write("checkpoint-20/model.safetensors.index.json", index.to_vec()),
        Write("checkpoint-20/optimizer.pt", archive(50)),
        Write("checkpoint-20/trainer_state.json", br#"{"global_step": 20}"#.to_vec()),
    ]
}

fn deepspeed() -> Vec<Act> {
    vec![
        Make("global_step20"),
        Write("global_step20/mp_rank_00_model_states.pt", archive(50)),
        Write("global_step20/zero_pp_rank_0_mp_rank_00_optim_states.pt", archive(50)),
        Write("latest", b"global_step20".to_vec()),
    ]
}

fn megatron() -> Vec<Act> {
    vec![
        Make("iter_0000020/mp_rank_00"),
        Write("iter_0000020/mp_rank_00/model_optim_rng.pt", archive(50)),
        Make("iter_0000020/mp_rank_01"),
        Write("iter_0000020/mp_rank_01/model_optim_rng.pt", archive(50)),
        Write("latest_checkpointed_iteration.txt", b"20".to_vec()),
    ]
}

fn megatron_distributed() -> Vec<Act> {
    let mut acts = vec![Make("iter_0000020"), Write("iter_0000020/common.pt", archive(20))];
    acts.extend(distributed([
        "iter_0000020/__0_0.distcp",
        "iter_0000020/.metadata.tmp",
        "iter_0000020/.metadata",
    ]));
    acts.push(Write("iter_0000020/metadata.json", b"{}".to_vec()));
    acts.push(Write("latest_checkpointed_iteration.txt", b"20".to_vec()));
    acts
}

fn lightning() -> Vec<Act> {
    vec![Write("step=20.ckpt.tmp", archive(200)), Rename("step=20.ckpt.tmp", "step=20.ckpt")]
}

fn lightning_in_place() -> Vec<Act> {
    vec![Write("step=20.ckpt", archive(200))]
}

fn lightning_sharded() -> Vec<Act> {
    let mut acts = vec![Make("step=20.ckpt")];
    acts.extend(distributed([
        "step=20.ckpt/__0_0.distcp",
        "step=20.ckpt/.metadata.tmp",
        "step=20.ckpt/.metadata",
    ]));
    acts.push(Write("step=20.ckpt/meta.pt", archive(30)));
    acts
}

fn nemo() -> Vec<Act> {
    let mut acts = vec![
        Write("m-step=20-unfinished", Vec::new()),
        Make("m-step=20/weights"),
        Make("m-step=20/context"),
        Write("m-step=20/context/model.yaml", b"a: 1".to_vec()),
    ];
    acts.extend(distributed([
        "m-step=20/weights/__0_0.distcp",
        "m-step=20/weights/.metadata.tmp",
        "m-step=20/weights/.metadata",
    ]));
    acts.push(Remove("m-step=20-unfinished"));
    acts
}

fn nemo_file() -> Vec<Act> {
    let mut tar = vec![b'n'; 9_000];
    tar.resize(10_240, 0);
    vec![Write("m-step=20.nemo", tar)]
}

fn file() -> Vec<Act> {
    vec![Write("step-20.pt", archive(200))]
}

fn file_of_tensors() -> Vec<Act> {
    vec![Write("step-20.safetensors", tensors(200))]
}

fn file_of_text() -> Vec<Act> {
    vec![Write("step-20.json", br#"{"step": 20, "model": {"w": [1.5, 2.5]}}"#.to_vec())]
}

type Layout = (Format, fn() -> Vec<Act>);

const LAYOUTS: &[Layout] = &[
    (Format::Dcp, dcp),
    (Format::Huggingface, huggingface),
    (Format::Deepspeed, deepspeed),
    (Format::Megatron, megatron),
    (Format::Megatron, megatron_distributed),
    (Format::Lightning, lightning),
    (Format::Lightning, lightning_in_place),
    (Format::Lightning, lightning_sharded),
    (Format::Nemo, nemo),
    (Format::Nemo, nemo_file),
    (Format::File, file),
    (Format::File, file_of_tensors),
    (Format::File, file_of_text),
];

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn walked(dir: &TempDir) -> Walked {
    walk(dir.path(), None).unwrap()
}

#[test]
fn a_checkpoint_that_is_written_to_its_end_is_complete() {
    for (format, acts) in LAYOUTS {
        let dir = tempfile::tempdir().unwrap();
        perform(dir.path(), &acts(), usize::MAX);
        let Walked { found, cut, .. } = walked(&dir);
        let [one] = found.as_slice() else { panic!("{format}: {found:?}") };
        assert_eq!((one.format, one.step, &one.lacks, cut), (*format, Some(20), &None, None));
        assert!(one.modified.is_some(), "{one:?}");
    }
}

#[test]
fn a_checkpoint_that_was_cut_off_is_never_complete() {
    const CUTS: usize = 10;
    let mut dice = Dice(20);
    for (format, acts) in LAYOUTS {
        let acts = acts();
        let whole: usize = acts.iter().map(Act::cost).sum();
        // Between any two acts, in the middle of one, and just before the end.
        let between = acts.iter().scan(0, |spent, act| {
            *spent += act.cost();
            Some(*spent)
        });
        let mut cuts: Vec<usize> = between.filter(|spent| *spent < whole).collect();
        cuts.extend((0..CUTS).map(|_| dice.below(whole)));
        cuts.push(whole - 1);
        for cut in cuts {
            let dir = tempfile::tempdir().unwrap();
            perform(dir.path(), &acts, cut);
            for one in walked(&dir).found {
                assert_eq!(one.format, *format);
                assert!(one.lacks.is_some(), "{format} cut at {cut} of {whole}: {one:?}");
            }
        }
    }
}

#[test]
fn the_newest_being_cut_off_leaves_those_before_it_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    perform(dir.path(), &deepspeed(), usize::MAX);
    let next = dir.path().join("global_step30");
    fs_err::create_dir(&next).unwrap();
    fs_err::write(next.join("mp_rank_00_model_states.pt"), archive(50)).unwrap();
    let rows = |dir: &TempDir| {
        let mut found = walked(dir).found;
        found.sort_by_key(|one| one.step);
        found.into_iter().map(|one| (one.step, one.lacks.is_none())).collect::<Vec<_>>()
    };
    assert_eq!(rows(&dir), vec![(Some(20), true), (Some(30), false)]);
    // Saved under the same name again, and cut off: its marker is older than a shard.
    let dir = tempfile::tempdir().unwrap();
    perform(dir.path(), &dcp(), usize::MAX);
    let marker = fs_err::File::options().write(true).open(dir.path().join("20/.metadata")).unwrap();
    let earlier = marker.metadata().unwrap().modified().unwrap() - Duration::from_mins(1);
    marker.file().set_modified(earlier).unwrap();
    assert_eq!(rows(&dir), vec![(Some(20), false)]);
}

#[test]
fn they_are_found_wherever_they_lie_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    fs_err::write(at("lightning_logs/version_0/checkpoints/epoch=1-step=5.ckpt"), archive(9))
        .unwrap();
    fs_err::write(at("step_7/last.ckpt"), archive(9)).unwrap();
    fs_err::write(at("step_7/model.pt"), archive(9)).unwrap();
    fs_err::write(at("a/b/c/d/e/step-9.pt"), archive(9)).unwrap();
    fs_err::write(at("config.json"), "{}").unwrap();
    fs_err::write(at("metrics.jsonl"), "{}").unwrap();
    fs_err::write(at(".hidden/step-8.pt"), archive(9)).unwrap();
    let mut found: Vec<_> =
        walked(&dir).found.into_iter().map(|one| (one.step, one.files)).collect();
    found.sort_unstable();
    assert_eq!(found, vec![(Some(5), Some(1)), (Some(7), Some(1))]);
    assert_eq!(walk(&at("nowhere/at/all"), None).unwrap().found, []);
}

#[test]
fn hostile_entries_are_neither_followed_nor_opened() {
    use fs_err::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    perform(outside.path(), &dcp(), usize::MAX);
    perform(outside.path(), &file(), usize::MAX);
    symlink(outside.path().join("20"), dir.path().join("20")).unwrap();
    symlink(outside.path().join("step-20.pt"), dir.path().join("step-20.pt")).unwrap();
    symlink(dir.path(), dir.path().join("round")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("step-21.pt"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(dir.path().join("step-22.pt")).unwrap();
    assert_eq!(walked(&dir).found, Vec::new());
    // Markers that are links or pipes are no markers.
    fs_err::create_dir(dir.path().join("30")).unwrap();
    fs_err::write(dir.path().join("30/__0_0.distcp"), archive(9)).unwrap();
    symlink(outside.path().join("20/.metadata"), dir.path().join("30/.metadata")).unwrap();
    fs_err::create_dir(dir.path().join("checkpoint-40")).unwrap();
    fs_err::write(dir.path().join("checkpoint-40/model.safetensors"), tensors(9)).unwrap();
    nix::unistd::mkfifo(&dir.path().join("checkpoint-40/trainer_state.json"), Mode::S_IRWXU)
        .unwrap();
    // Names that are no text, and as long as they can be.
    let odd = OsStr::from_bytes(b"step-\xff\x1b[2J.ckpt");
    fs_err::write(dir.path().join(odd), archive(9)).unwrap();
    fs_err::write(dir.path().join(format!("step-{}.ckpt", "9".repeat(240))), archive(9)).unwrap();
    let found = walked(&dir).found;
    let lacking = found.iter().filter(|one| one.lacks.is_some()).count();
    assert_eq!((found.len(), lacking), (4, 2), "{found:#?}");
    let link = outside.path().join("link");
    symlink(outside.path(), &link).unwrap();
    assert_eq!(walk(&link, None).unwrap().found.len(), 2, "the directory itself may be a link");
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    perform(dir.path(), &dcp(), usize::MAX);
    perform(dir.path(), &file(), usize::MAX);
    fs_err::write(dir.path().join("20/.metadata.tmp"), "").unwrap();
    let states: Vec<bool> = walked(&dir).found.iter().map(|one| one.lacks.is_none()).collect();
    assert_eq!(states.len(), 2);
    assert_eq!(states.iter().filter(|is| **is).count(), 1);
}

/// As many checkpoints of a format, with so many files each.
fn many(format: Format, checkpoints: usize, files: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    // Links are made much faster than files.
    let shared = dir.path().join(".shard");
    fs_err::write(&shared, "s").unwrap();
    for step in 1..=checkpoints {
        let is_dcp = format == Format::Dcp;
        let name = if is_dcp { format!("step_{step}") } else { format!("global_step{step}") };
        let shard = |n| {
            if is_dcp {
                format!("__{n}_0.distcp")
            } else {
                format!("zero_pp_rank_{n}_optim_states.pt")
            }
        };
        let path = dir.path().join(name);
        fs_err::create_dir(&path).unwrap();
        for n in 0..files {
            fs_err::hard_link(&shared, path.join(shard(n))).unwrap();
        }
        if is_dcp {
            fs_err::write(path.join(".metadata"), metadata()).unwrap();
        }
    }
    if format == Format::Deepspeed {
        fs_err::write(dir.path().join("latest"), format!("global_step{checkpoints}")).unwrap();
    }
    dir
}

#[test]
fn a_hundred_large_checkpoints_cost_four_hundred_calls() {
    const CALLS_OF_ALL: usize = 400;
    for format in [Format::Dcp, Format::Deepspeed] {
        let dir = many(format, 100, 95);
        let walk = Walk::new(None).all(dir.path()).unwrap();
        let complete = walk.walked.found.iter().filter(|one| one.lacks.is_none()).count();
        assert_eq!((walk.walked.found.len(), complete), (100, 100), "{format}");
        assert!(walk.walked.calls <= CALLS_OF_ALL, "{format}: {} calls", walk.walked.calls);
        assert_eq!(walk.walked.cut, None);
    }
}

#[test]
fn of_few_small_checkpoints_every_file_is_looked_at() {
    let dir = many(Format::Dcp, 3, 10);
    let found = walked(&dir).found;
    let bytes = 10 + metadata().len() as u64;
    assert!(found.iter().all(|one| one.bytes == Some(bytes) && one.files == Some(11)), "{found:?}");
    // Also one in the middle that is empty.
    let middle = dir.path().join("step_2/__5_0.distcp");
    fs_err::remove_file(&middle).unwrap();
    fs_err::write(&middle, "").unwrap();
    let lacking: Vec<_> = walked(&dir).found.into_iter().filter_map(|one| one.lacks).collect();
    assert_eq!(lacking, vec!["`__5_0.distcp` is empty".to_owned()]);
}

#[test]
fn a_look_has_limits_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for step in 0..=CHECKPOINTS_MAX {
        fs_err::write(dir.path().join(format!("step-{step}.json")), "{}").unwrap();
    }
    let Walked { found, cut, .. } = walked(&dir);
    assert_eq!(found.len(), CHECKPOINTS_MAX);
    assert_eq!(found[0].step, i64::try_from(CHECKPOINTS_MAX).ok(), "the newest are seen first");
    assert_eq!(cut.unwrap(), "there are more than 1000 checkpoints");
    let late = Walk { deadline: Instant::now(), ..Walk::new(None) }.all(dir.path()).unwrap();
    assert_eq!(late.walked.cut.unwrap(), "looking takes longer than 8 s");
    let full = Walk { entries: ENTRIES_MAX, ..Walk::new(None) }.all(dir.path()).unwrap();
    assert_eq!(full.walked.cut.unwrap(), "there are more than 2000000 files");
}

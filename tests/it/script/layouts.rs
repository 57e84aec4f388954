//! Checkpoints of every format as their writers leave them, and what can become of their files.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use trainyard::domain::checkpoint::Format;

#[path = "../../../src/domain/checkpoint/samples.rs"]
mod samples;

pub(super) use samples::archive;
use samples::tensors;

/// Numbers that are the same each time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// How a format lays its checkpoints out: `write` makes a whole one of a step in a directory.
pub(super) struct Layout {
    pub(super) name: &'static str,
    pub(super) format: Format,
    pub(super) write: fn(&Path, usize),
}

const fn layout(name: &'static str, format: Format, write: fn(&Path, usize)) -> Layout {
    Layout { name, format, write }
}

pub(super) const LAYOUTS: &[Layout] = &[
    layout("dcp", Format::Dcp, |at, step| distributed(&at.join(step.to_string()))),
    layout("hf", Format::Huggingface, |at, step| trainer(&at.join(format!("checkpoint-{step}")))),
    layout("deepspeed", Format::Deepspeed, |at, step| {
        let name = format!("global_step{step}");
        put(&at.join(&name).join("mp_rank_00_model_states.pt"), &archive(90));
        put(&at.join(&name).join("zero_pp_rank_0_mp_rank_00_optim_states.pt"), &archive(120));
        put(&at.join("latest"), name.as_bytes());
    }),
    layout("megatron", Format::Megatron, |at, step| {
        for rank in 0..2 {
            let file = format!("iter_{step:07}/mp_rank_0{rank}/model_optim_rng.pt");
            put(&at.join(file), &archive(100));
        }
        put(&at.join("latest_checkpointed_iteration.txt"), step.to_string().as_bytes());
    }),
    layout("megatron distributed", Format::Megatron, |at, step| {
        let inside = at.join(format!("iter_{step:07}"));
        put(&inside.join("common.pt"), &archive(30));
        distributed(&inside);
        put(
            &inside.join("metadata.json"),
            br#"{"sharded_backend": "torch_dist", "v": [1, -2.5e3]}"#,
        );
        put(&at.join("latest_checkpointed_iteration.txt"), format!("{step}\n").as_bytes());
    }),
    layout("lightning", Format::Lightning, |at, step| {
        put(&at.join(format!("epoch=1-step={step}.ckpt")), &archive(200));
    }),
    layout("lightning sharded", Format::Lightning, |at, step| {
        let inside = at.join(format!("step={step}.ckpt"));
        distributed(&inside);
        put(&inside.join("meta.pt"), &archive(30));
    }),
    layout("nemo", Format::Nemo, |at, step| {
        let inside = at.join(format!("m-step={step}"));
        put(&inside.join("context/model.yaml"), b"a: 1");
        distributed(&inside.join("weights"));
    }),
    layout("nemo file", Format::Nemo, |at, step| {
        let mut tar = vec![b'n'; 9_000];
        tar.resize(10_240, 0);
        put(&at.join(format!("m-step={step}.nemo")), &tar);
    }),
    layout("archive", Format::File, |at, step| {
        put(&at.join(format!("step-{step}.pt")), &archive(200));
    }),
    layout("tensors", Format::File, |at, step| {
        put(&at.join(format!("step-{step}.safetensors")), &tensors(200));
    }),
    layout("json", Format::File, |at, step| {
        let text = format!(r#"{{"step": {step}, "model": {{"w": [1.5, "a\"]", {{}}, []]}}}}"#);
        put(&at.join(format!("step-{step}.json")), text.as_bytes());
    }),
];

fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn distributed(inside: &Path) {
    put(&inside.join("__0_0.distcp"), &archive(50));
    put(&inside.join("__1_0.distcp"), &archive(60));
    put(
        &inside.join(".metadata"),
        b"\x80\x04\x95 what is where \x94\x8c\x0c__0_0.distcp\x94K\x00\x8c\x0c__1_0.distcp\x94.",
    );
}

fn trainer(inside: &Path) {
    const INDEX: &str = "{\n  \"metadata\": {\n    \"total_size\": 100\n  },\n  \"weight_map\": {\n    \"a\": \"m-1-of-2.safetensors\",\n    \"b\": \"m-2-of-2.safetensors\",\n    \"c\": \"m-1-of-2.safetensors\"\n  }\n}\n";
    put(&inside.join("m-1-of-2.safetensors"), &tensors(60));
    put(&inside.join("m-2-of-2.safetensors"), &tensors(40));
    put(&inside.join("model.safetensors.index.json"), INDEX.as_bytes());
    put(&inside.join("optimizer.pt"), &archive(50));
    put(&inside.join("trainer_state.json"), b"{\n  \"global_step\": 20,\n  \"loss\": NaN\n}\n");
}

/// Something happens to one of the files: what a crash, a full disk, a power cut or a hand can do.
pub(super) fn mutate(directory: &Path, dice: &mut Dice) {
    let files = files(directory);
    let Some(file) = files.get(dice.below(files.len().max(1))) else { return };
    let content = fs::read(file).unwrap();
    let cut = dice.below(content.len().max(1));
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", file.display()));
    match dice.below(12) {
        0 => fs::remove_file(file).unwrap(),
        1 => fs::write(file, b"").unwrap(),
        2 => fs::write(file, vec![0; content.len()]).unwrap(),
        3..=5 => fs::write(file, &content[..cut]).unwrap(),
        6 => fs::write(beside(".tmp"), b"x").unwrap(),
        7 => fs::rename(file, beside(".tmp")).unwrap(),
        8 => fs::write(beside("-unfinished"), b"").unwrap(),
        9 => {
            let parent = file.parent().unwrap().display().to_string();
            fs::write(format!("{parent}-unfinished"), b"").unwrap();
        }
        10 => {
            let later = SystemTime::now() + Duration::from_mins(1);
            File::options().write(true).open(file).unwrap().set_modified(later).unwrap();
        }
        _ => {
            fs::rename(file, beside(".moved")).unwrap();
            symlink(beside(".moved"), file).unwrap();
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

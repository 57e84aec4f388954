//! Rows of names and contents, and what is said of them.

use super::samples::{archive, tensors};
use super::*;

mod judged;
mod retention;
mod shown;

/// `name` is a file, `name/` a directory, `name@` a link.
fn listing(names: &str) -> Listing {
    let entry = |name: &str| {
        let (name, kind) = match (name.strip_suffix('/'), name.strip_suffix('@')) {
            (Some(name), _) => (name, Kind::Directory),
            (_, Some(name)) => (name, Kind::Link),
            (None, None) => (name, Kind::File),
        };
        Entry { name: name.as_bytes().into(), kind }
    };
    Listing { entries: names.split_whitespace().map(entry).collect(), is_cut: false }
}

#[test]
fn a_step_is_told_by_its_name() {
    let check = |name: &str, step: Option<i64>| {
        assert_eq!(step_of(name.as_bytes()), step, "{name}");
    };
    check("checkpoint-500", Some(500));
    check("global_step120", Some(120));
    check("iter_0000100", Some(100));
    check("epoch=3-step=1200.ckpt", Some(1200));
    check("step=7-val_loss=0.25.ckpt", Some(7));
    check("llama--val_loss=1.30-step=99-consumed_samples=792.0", Some(99));
    check("step-00000420.json", Some(420));
    check("model_1000.pt", Some(1000));
    check("checkpoint_3_2500.pt", Some(2500));
    check("step_100", Some(100));
    check("hpc_ckpt_3.ckpt", None);
    check("epoch_3.pt", None);
    check("val_loss=0.25.ckpt", None);
    check("last.ckpt", None);
    check("checkpoint-99999999999999999999", None);
    check("", None);
    check(&"9".repeat(255), None);
    assert_eq!(step_of(b"step-\xff"), None);
}

#[test]
fn a_directory_is_known_by_its_layout() {
    let check = |name: &str, inside: &str, beside: &str, format: Option<Format>| {
        let found = recognise(None, name.as_bytes(), &listing(inside), &listing(beside));
        assert_eq!(found, format, "{name}: {inside}");
    };
    check("100", "__0_0.distcp .metadata", "", Some(Format::Dcp));
    check("100", "__0_0.distcp", "", Some(Format::Dcp));
    check("checkpoint-5", "", "", Some(Format::Huggingface));
    check("tmp-checkpoint-5", "", "", Some(Format::Huggingface));
    check("final", "trainer_state.json model.safetensors", "", Some(Format::Huggingface));
    check("out", "trainer_state.json checkpoint-5/", "", None);
    check("global_step5", "", "latest", Some(Format::Deepspeed));
    check("mine", "mp_rank_00_model_states.pt", "latest", Some(Format::Deepspeed));
    check("iter_0000005", "mp_rank_00/", "", Some(Format::Megatron));
    check("iter_0000005", ".metadata __0_0.distcp", "", Some(Format::Megatron));
    check("release", "mp_rank_00/", "latest_checkpointed_iteration.txt", Some(Format::Megatron));
    check("release", "mp_rank_00/", "", None);
    check("step=5.ckpt", ".metadata __0_0.distcp meta.pt", "", Some(Format::Lightning));
    check("m-step=5", "weights/ context/", "", Some(Format::Nemo));
    check("m-step=5", "", "m-step=5-unfinished", Some(Format::Nemo));
    check("logs", "events.out", "", None);
    check("iter_x", "", "", None);
}

#[test]
fn a_file_is_known_by_its_name() {
    let check = |name: &str, beside: &str, at_root: bool, format: Option<Format>| {
        let found = recognise_file(None, name.as_bytes(), &listing(beside), at_root);
        assert_eq!(found, format, "{name}");
    };
    check("last.ckpt", "", false, Some(Format::Lightning));
    check("m.nemo", "", false, Some(Format::Nemo));
    check("step-5.pt", "", false, Some(Format::File));
    check("step-5.pt.tmp", "", false, Some(Format::File));
    check("model.pt", "", true, Some(Format::File));
    check("model.pt", "", false, None);
    check("step-5.json", "", true, Some(Format::File));
    check("model.json", "", true, None);
    check("config.json", "", true, None);
    check(".step-5.json.tmp", "", true, None);
    check("model-00001-of-00004.safetensors", "", true, None);
    check("step-5.pt", "trainer_state.json", true, None);
    check("metrics.jsonl", "", true, None);
}

/// What a look at a file of these bytes shows.
fn looked(name: &str, content: &[u8]) -> Looked {
    let head = match part(name.as_bytes()) {
        Part::Text(max) => {
            if content.len() <= max {
                content.len()
            } else {
                0
            }
        }
        Part::Safetensors => safetensors_header(content).min(content.len()),
        Part::Pickle(max) if content.len() <= max => content.len(),
        Part::Pickle(_) | Part::Ends => content.len().min(8),
    };
    Looked {
        bytes: content.len() as u64,
        modified: Timestamp::UNIX_EPOCH,
        head: content[..head].to_vec(),
        tail: content[content.len().saturating_sub(TAIL_BYTES)..].to_vec(),
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_not_whole() {
    let mut tar = vec![b'n'; 9_000];
    tar.resize(10_240, 0);
    let files = [
        ("a.pt", archive(300)),
        ("a.safetensors", tensors(300)),
        ("a.json", br#"{"step": 3, "model": [1, 2, {"x": 4}]}"#.to_vec()),
        (".metadata", b"\x80\x04\x95pickled\x94.".to_vec()),
        ("a.nemo", tar),
    ];
    for (name, content) in files {
        assert_eq!(end(name.as_bytes(), &looked(name, &content)), End::Whole, "{name}");
        for cut in 0..content.len() {
            let shown = end(name.as_bytes(), &looked(name, &content[..cut]));
            assert_ne!(shown, End::Whole, "{name} at {cut} of {}", content.len());
        }
    }
}

#[test]
fn a_large_document_is_judged_by_its_end() {
    let mut text = b"{\n  \"log_history\": [\n".to_vec();
    text.resize(300 << 10, b' ');
    text.extend(b"    {\n    }\n");
    assert!(matches!(
        end(b"trainer_state.json", &looked("trainer_state.json", &text)),
        End::Cut(_)
    ));
    text.extend(b"  ]\n}\n");
    let diverged = b"{\n  \"grad_norm\": NaN\n}\n";
    assert_eq!(end(b"a.json", &looked("a.json", diverged)), End::Whole);
    let cut = &diverged[..diverged.len() - 2];
    assert!(matches!(end(b"a.json", &looked("a.json", cut)), End::Cut(_)));
    assert_eq!(end(b"trainer_state.json", &looked("trainer_state.json", &text)), End::Whole);
}

#[test]
fn what_a_hostile_file_says_is_not_believed() {
    let check = |name: &str, content: &[u8]| {
        let shown = end(name.as_bytes(), &looked(name, content));
        assert!(matches!(shown, End::Cut(_)), "{name}: {shown:?}");
    };
    check("a.safetensors", &u64::MAX.to_le_bytes());
    check("a.safetensors", b"\x02\0\0\0\0\0\0\0{}x");
    check("a.safetensors", b"\x01\0\0\0\0\0\0\0x");
    check("a.json", b"[1]");
    check("a.json", "[".repeat(100_000).as_bytes());
    check("a.json", b"{\"a\": \xff}");
    check("a.pt", b"PK\x03\x04");
    check("a.pt", &[b"PK\x03\x04".as_slice(), b"PK\x05\x06", &[0x11; 18]].concat());
    check("a.anything", b"");
}

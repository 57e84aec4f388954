//! One row for each thing that may be wrong with a checkpoint of each format.

use std::collections::BTreeMap;

use super::{listing, looked};
use crate::domain::checkpoint::samples::{archive, tensors};
use crate::domain::checkpoint::{
    Format, Listing, Looked, Pointer, Seen, judge, layout::DEEPSPEED_POINTER,
    layout::MEGATRON_POINTER,
};

/// A checkpoint and what was looked at of it.
struct Case {
    format: Format,
    name: &'static str,
    inside: Listing,
    beside: Listing,
    weights: Option<Listing>,
    pointer: Option<Pointer>,
    looked: BTreeMap<Vec<u8>, Looked>,
}

impl Case {
    fn new(format: Format, name: &'static str, inside: &str) -> Self {
        Self {
            format,
            name,
            inside: listing(inside),
            beside: Listing::default(),
            weights: None,
            pointer: None,
            looked: BTreeMap::new(),
        }
    }

    fn beside(self, names: &str) -> Self {
        Self { beside: listing(names), ..self }
    }

    fn weights(self, names: &str) -> Self {
        Self { weights: Some(listing(names)), ..self }
    }

    fn pointer(self, name: &[u8], text: &str, entries: Option<usize>) -> Self {
        let pointer = Pointer { name: name.into(), text: Some(text.into()), entries };
        Self { pointer: Some(pointer), ..self }
    }

    fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.looked.insert(name.into(), looked(name, content));
        self
    }

    /// A file that was written so many seconds after the others.
    fn later(mut self, name: &str, content: &[u8], seconds: i64) -> Self {
        let modified = jiff::Timestamp::from_second(seconds).unwrap();
        self.looked.insert(name.into(), Looked { modified, ..looked(name, content) });
        self
    }

    fn judged(&self) -> Result<(), String> {
        judge(&Seen {
            format: self.format,
            name: self.name.as_bytes(),
            inside: &self.inside,
            beside: &self.beside,
            weights: self.weights.as_ref(),
            pointer: self.pointer.as_ref(),
            looked: &self.looked,
        })
    }

    #[track_caller]
    fn is_complete(&self) {
        assert_eq!(self.judged(), Ok(()));
    }

    #[track_caller]
    fn lacks(&self, why: &str) {
        assert_eq!(self.judged(), Err(why.to_owned()));
    }
}

const PICKLE: &[u8] = b"\x80\x04.";

#[test]
fn dcp_is_complete_with_its_metadata() {
    const NAMES: &[u8] = b"\x80\x04\x8c\x0c__0_0.distcp\x94K\x00\x8c\x0c__1_0.distcp\x94.";
    let new = |inside| Case::new(Format::Dcp, "100", inside);
    let whole = || new("__0_0.distcp __1_0.distcp .metadata").file(".metadata", PICKLE);
    whole().is_complete();
    whole().later("__1_0.distcp", &archive(10), 1).is_complete();
    whole()
        .later("__1_0.distcp", &archive(10), 60)
        .lacks("`__1_0.distcp` is newer than `.metadata`: it is written over");
    whole().file("__1_0.distcp", b"").lacks("`__1_0.distcp` is empty");
    new("__0_0.distcp").lacks("it has no `.metadata`, which is written last");
    let named = |inside| new(inside).file(".metadata", NAMES);
    named("__0_0.distcp __1_0.distcp .metadata").is_complete();
    named("__0_0.distcp .metadata").lacks("`__1_0.distcp` is missing, which `.metadata` names");
    let whole_shard = [archive(10), archive(20)].concat();
    whole().file("__1_0.distcp", &whole_shard).is_complete();
    whole()
        .file("__1_0.distcp", &whole_shard[..whole_shard.len() - 1])
        .lacks("`__1_0.distcp` has no end: it was not written to its end");
    new("__0_0.distcp .metadata .metadata.tmp")
        .file(".metadata", PICKLE)
        .lacks("`.metadata.tmp` was not renamed yet");
    new("__0_0.distcp .metadata").file(".metadata", b"").lacks("`.metadata` is empty");
    new("__0_0.distcp .metadata")
        .file(".metadata", b"\x80\x04 cut")
        .lacks("`.metadata` was not written to its end");
    new(".metadata").file(".metadata", PICKLE).lacks("it has no file with weights");
    // A link is not opened.
    new("__0_0.distcp .metadata@").lacks("it has no `.metadata`, which is written last");
    let mut cut = whole();
    cut.inside.is_cut = true;
    cut.lacks("it has more files than are looked at");
}

#[test]
fn huggingface_is_complete_with_its_state_and_every_shard() {
    const STATE: &str = "trainer_state.json";
    const INDEX: &str = "model.safetensors.index.json";
    const SHARDS: &[u8] =
        br#"{"weight_map": {"a": "m-1-of-2.safetensors", "b": "m-2-of-2.safetensors"}}"#;
    let new = |inside| Case::new(Format::Huggingface, "checkpoint-5", inside);
    let sharded = |inside| new(inside).file(STATE, b"{}").file(INDEX, SHARDS);
    new("model.safetensors trainer_state.json").file(STATE, b"{}").is_complete();
    new("pytorch_model_fsdp_0/ trainer_state.json").file(STATE, b"{}").is_complete();
    new("trainer_state.json").file(STATE, b"{}").lacks("it has no file with weights");
    new("model.safetensors").lacks("it has no `trainer_state.json`, which is written last");
    new("model.safetensors trainer_state.json")
        .file(STATE, b"{\"global_step\": 5, ")
        .lacks("`trainer_state.json` is no whole JSON document");
    let all =
        "m-1-of-2.safetensors m-2-of-2.safetensors model.safetensors.index.json trainer_state.json";
    sharded(all).is_complete();
    new("m-1-of-2.safetensors m-2-of-2.safetensors trainer_state.json")
        .file(STATE, b"{}")
        .lacks("there is no list of its shards, of which `m-1-of-2.safetensors` is one");
    sharded(all)
        .file("m-1-of-2.safetensors", &tensors(10)[..20])
        .lacks("`m-1-of-2.safetensors` is shorter or longer than its header says");
    sharded("m-1-of-2.safetensors model.safetensors.index.json trainer_state.json")
        .lacks("`m-2-of-2.safetensors` is missing, which `model.safetensors.index.json` names");
    // What a link leads to is not the shard.
    sharded("m-1-of-2.safetensors m-2-of-2.safetensors@ model.safetensors.index.json trainer_state.json")
        .lacks("`m-2-of-2.safetensors` is missing, which `model.safetensors.index.json` names");
    sharded(all).file(INDEX, b"").lacks("`model.safetensors.index.json` is empty");
    sharded(all)
        .file(INDEX, &SHARDS[..30])
        .lacks("`model.safetensors.index.json` is no whole JSON document");
    sharded(all).file(INDEX, b"{}").lacks("`model.safetensors.index.json` is no list of shards");
    sharded(all)
        .file("optimizer.pt", &archive(50)[..60])
        .lacks("`optimizer.pt` has no end: it was not written to its end");
    Case { name: "tmp-checkpoint-5", ..sharded(all) }.lacks("it was not renamed yet");
}

#[test]
fn deepspeed_is_complete_once_latest_names_it() {
    const FILES: &str = "mp_rank_00_model_states.pt zero_pp_rank_0_mp_rank_00_optim_states.pt";
    let new = |inside| Case::new(Format::Deepspeed, "global_step100", inside);
    let told = |text, entries| new(FILES).pointer(DEEPSPEED_POINTER, text, entries);
    told("global_step100\n", Some(2)).is_complete();
    told("global_step200", Some(2)).is_complete();
    told("global_step200", Some(3))
        .lacks("it has fewer files than `global_step200`, which `latest` names");
    told("global_step200", None).lacks("`latest` names `global_step200`, which is not there");
    told("global_step50", Some(2)).lacks("`latest` names `global_step50`, not this one");
    told("", None).lacks("`latest` names nothing");
    told("../global_step100", None).lacks("`latest` names nothing");
    told("best", Some(2)).lacks("`latest` names `best`, not this one");
    new(FILES).lacks("there is no `latest`, which is written last");
    new(FILES)
        .pointer(MEGATRON_POINTER, "100", None)
        .lacks("there is no `latest`, which is written last");
    told("global_step100", Some(2))
        .file("mp_rank_00_model_states.pt", b"")
        .lacks("`mp_rank_00_model_states.pt` is empty");
    new("")
        .pointer(DEEPSPEED_POINTER, "global_step100", Some(0))
        .lacks("it has no file with weights");
    Case { name: "global_step99999999999999999999", ..told("global_step200", Some(2)) }
        .lacks("`latest` names `global_step200`, not this one");
}

#[test]
fn megatron_is_complete_once_the_tracker_reached_it() {
    let new = |inside| Case::new(Format::Megatron, "iter_0000100", inside);
    let told =
        |text, entries| new("mp_rank_00/ mp_rank_01/").pointer(MEGATRON_POINTER, text, entries);
    told("100", Some(2)).is_complete();
    told("150\n", Some(2)).is_complete();
    told("50", Some(2))
        .lacks("`latest_checkpointed_iteration.txt` names `iter_0000050`, not this one");
    for nothing in ["1e3", "-1", "99999999999999999999"] {
        told(nothing, Some(2)).lacks("`latest_checkpointed_iteration.txt` names nothing");
    }
    // Emptied by a full disk, or full of NUL after a power cut: the newest may be what it was to name.
    for blank in ["", " \n", "\0\0\0"] {
        told(blank, Some(2)).lacks("`latest_checkpointed_iteration.txt` names nothing");
        let beside = |names| told(blank, Some(2)).beside(names);
        beside("iter_0000100/ logs_200/").lacks("`latest_checkpointed_iteration.txt` is empty");
        beside("iter_0000100/ iter_0000150/").is_complete();
        beside("iter_0000100/ iter_0000050/").lacks("`latest_checkpointed_iteration.txt` is empty");
    }
    let mut unread = told("", Some(2)).beside("iter_0000100/ iter_0000150/");
    unread.pointer.as_mut().unwrap().text = None;
    unread.lacks("`latest_checkpointed_iteration.txt` names nothing");
    told("150", None)
        .lacks("`latest_checkpointed_iteration.txt` names `iter_0000150`, which is not there");
    told("release", Some(2))
        .lacks("`latest_checkpointed_iteration.txt` names `release`, not this one");
    Case { name: "release", ..told("release", Some(2)) }.is_complete();
    new("model.pt").pointer(MEGATRON_POINTER, "100", None).lacks("it has no directory of a rank");
    let distributed = || {
        new("__0_0.distcp common.pt .metadata metadata.json")
            .pointer(MEGATRON_POINTER, "100", Some(4))
            .file(".metadata", PICKLE)
    };
    distributed().file("metadata.json", b"{}").is_complete();
    distributed().lacks("it has no `metadata.json`, which is written last");
    new("__0_0.distcp common.pt")
        .pointer(MEGATRON_POINTER, "100", Some(2))
        .lacks("it has no `.metadata`, which is written last");
}

#[test]
fn lightning_and_nemo_are_complete_by_what_is_renamed_or_taken_away() {
    let file = |format, name, content: &[u8]| Case::new(format, name, "").file(name, content);
    file(Format::Lightning, "step=5.ckpt", &archive(9)).is_complete();
    file(Format::Lightning, "step=5.ckpt", &archive(9)[..70])
        .lacks("it has no end: it was not written to its end");
    let sharded = || {
        Case::new(Format::Lightning, "step=5.ckpt", ".metadata __0_0.distcp meta.pt")
            .file(".metadata", PICKLE)
    };
    sharded().file("meta.pt", &archive(9)).is_complete();
    sharded().lacks("it has no `meta.pt`, which is written last");

    let nemo = || {
        Case::new(Format::Nemo, "m-step=5", "weights/ context/")
            .weights("__0_0.distcp common.pt .metadata metadata.json")
    };
    nemo().file("weights/.metadata", PICKLE).is_complete();
    nemo()
        .file("weights/.metadata", PICKLE)
        .beside("m-step=5-unfinished")
        .lacks("an `-unfinished` marker lies beside it");
    nemo().lacks("it has no `weights/.metadata`, which is written last");
    let mut tar = vec![b'n'; 9_000];
    tar.resize(10_240, 0);
    file(Format::Nemo, "m.nemo", &tar).is_complete();
    file(Format::Nemo, "m.nemo", &tar[..9_216])
        .lacks("it has no end: it was not written to its end");
    file(Format::Nemo, "m.nemo", b"\x1f\x8bpacked")
        .lacks("nothing in it shows whether it is whole");
    for marker in ["m-unfinished", "m.nemo-unfinished"] {
        file(Format::Nemo, "m.nemo", &tar)
            .beside(marker)
            .lacks("an `-unfinished` marker lies beside it");
    }
}

#[test]
fn a_file_is_complete_when_its_end_shows_it() {
    let file = |name, content: &[u8]| Case::new(Format::File, name, "").file(name, content);
    file("step-5.pt", &archive(20)).is_complete();
    file("step-5.safetensors", &tensors(20)).is_complete();
    file("step-5.json", b"{}").is_complete();
    file("step-5.pt", b"\x80\x02legacy").lacks("nothing in it shows whether it is whole");
    file("step-5.pt", b"").lacks("it is empty");
    file("step-5.pt.tmp", &archive(20)).lacks("it was not renamed yet");
    Case::new(Format::File, "step-5.pt", "").lacks("it could not be looked at");
}

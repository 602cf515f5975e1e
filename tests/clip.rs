//! Convolutions over time, height and width run in the door's runtime, in both forms that models/train/clip.py writes.
//!
//! The runtime takes pictures, so a clip comes as one: its 16 frames of 32 x 32 pixels one below the other.

use std::fs;
use std::path::{Path, PathBuf};

use facelatch::digest::Digest;
use facelatch::infer::manifest::{ChannelOrder, Decode, InputSpec, ModelFile, ModelSpec};
use facelatch::infer::network::{Network, OutputSpec};
use serde::Deserialize;

const WIDTH: usize = 32;
const HEIGHT: usize = 16 * 32;
/// Of the answer of PyTorch in single precision; both sum in an order of their own. Frames in another order are .0004
/// and more off.
const AS_NEAR_AS: f32 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    live: f32,
}

fn file(name: &str) -> ModelFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let bytes = fs::read(&path).unwrap();
    let input = InputSpec {
        width: WIDTH as _,
        height: HEIGHT as _,
        resizable: false,
        order: ChannelOrder::Rgb,
        mean: [0.0; 3],
        scale: [1.0; 3],
    };
    let spec = ModelSpec {
        name: name.into(),
        file: name.into(),
        sha256: Digest::of(&bytes),
        licence: String::new(),
        source: String::new(),
        notes: String::new(),
        decode: Decode::Embedding { dims: 1 },
        input,
    };
    ModelFile { spec, path: PathBuf::from(name), bytes: bytes.into() }
}

#[test]
fn a_clip_network_answers_as_it_did_where_it_was_trained_in_either_form() {
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clip.json")).unwrap();
    let Golden { live } = serde_json::from_slice(&text).unwrap();
    for form in ["clip-conv3d.onnx", "clip-frames.onnx"] {
        let mut network =
            Network::load(&file(form), [1, 3, HEIGHT, WIDTH], &[OutputSpec { name: "live", len: 1, each: 1 }]).unwrap();
        let said = network.run(|numbers| {
            numbers.iter_mut().enumerate().for_each(|(i, x)| *x = ((31 * i * i + 7 * i) % 251) as f32);
        });
        let said = said.unwrap().get(0)[0];
        println!("{form}: {said}, {live} wanted; {:?}", network.layers().iter().map(|l| &l.what).collect::<Vec<_>>());
        assert!((said - live).abs() <= AS_NEAR_AS, "{form}: {said}, {live} wanted");
    }
}

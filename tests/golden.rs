//! Each built-in network gives what another runtime gave on the same picture (models/train/golden.py).
//!
//! An int8 network rounds after each layer, and a rounding that falls on the other side for want of the last bit of a float
//! changes what follows: onnxruntime's own two ways, fused and literal, are .9996 apart in the encoder. The distance from
//! the same network without rounding is what int8 costs; a network that lost more would be quantised badly. Outputs that are
//! nearly all zero, as a detector's scores of one map are, are the furthest.

use std::fs;
use std::path::{Path, PathBuf};

use facelatch::digest::Digest;
use facelatch::infer::network::OutputSpec;
use facelatch::infer::{Manifest, PictureNetwork};
use serde::Deserialize;

/// The least cosine of an output with the golden one. Measured: .9989 and more for encodings, 1.0000 for landmarks.
const AT_LEAST: f64 = 0.99;
/// Or the furthest that any of its numbers is away: a detector's scores are nearly all zero where there is one face, and then the
/// cosine is that of the noise. Measured where the cosine says so: .0002.
const AT_MOST: f64 = 0.001;

#[derive(Deserialize)]
struct Golden {
    network: String,
    sha256: Digest,
    unrounded: Vec<Output>,
    int8: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    values: Vec<f64>,
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

#[test]
fn each_built_in_network_gives_the_golden_numbers() {
    let manifest = Manifest::builtin();
    for name in ["detector", "landmarks", "encoder", "encoder-small"] {
        let path = models().join("golden").join(name);
        let golden: Golden = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
        let file = manifest.built_in(&format!("facelatch-{name}")).unwrap();
        assert_eq!((&file.spec.file, file.spec.sha256), (&golden.network, golden.sha256), "run models/train/golden.py");
        let picture = facelatch::face::photo::load(&path.with_extension("png")).unwrap();
        let spec = |o: &Output| OutputSpec { name: o.name.clone().leak(), len: o.values.len(), each: 1 };
        let outputs: Vec<_> = golden.unrounded.iter().map(spec).collect();
        let mut network = PictureNetwork::load(&file, picture.width(), picture.height(), &outputs).unwrap();
        let got = network.look(&picture).unwrap();
        for golden in [&golden.unrounded, &golden.int8] {
            for (want, got) in golden.iter().zip(got.iter()) {
                let cosine = cosine(&want.values, got);
                let furthest = want.values.iter().zip(got).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
                println!("{name} {}: cosine {cosine:.6}, furthest {furthest:.4}", want.name);
                assert!(cosine >= AT_LEAST || furthest <= AT_MOST, "{name} {}: {cosine}, {furthest} apart", want.name);
            }
        }
    }
}

fn cosine(a: &[f64], b: &[f32]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let b = f64::from(*b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab / (aa * bb).sqrt()
}

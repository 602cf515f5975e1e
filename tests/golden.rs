//! Each built-in network gives what another runtime gave on the same picture (models/train/golden.py).
//!
//! An int8 network rounds after each layer, and a rounding that falls on the other side for want of the last bit of a
//! float changes what follows: in the encoder onnxruntime's own two ways, fused and literal, have a cosine of .9996.
//! The distance from the same network without rounding is what int8 costs; a network that lost more would be quantised
//! badly. Outputs that are nearly all zero, as a detector's scores of one map are, are the furthest.

use std::fs;
use std::path::{Path, PathBuf};

use facelatch::digest::Digest;
use facelatch::infer::network::OutputSpec;
use facelatch::infer::{Manifest, PictureNetwork};
use serde::Deserialize;

/// The greatest distance from the golden numbers, as a share of these: both as vectors. Measured: .12 in one map of the
/// detector's scores, .04 for encodings.
const SHARE: f64 = 0.15;
/// Or the furthest that any of its numbers is away: a detector's scores are nearly all zero where there is one face,
/// and then the distance is that of the noise. Measured where it says so: .0002.
const AT_MOST: f64 = 0.005;
/// The furthest that a coordinate of the five points is away, in pixels, whose size is the same for any five points.
/// Measured: .38.
const PIXELS: f64 = 1.0;

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
        let got = network.run(&picture).unwrap();
        for golden in [&golden.unrounded, &golden.int8] {
            assert_eq!(golden.len(), outputs.len(), "{name}");
            for (want, got) in golden.iter().zip(got.iter()) {
                let (share, furthest) = apart(&want.values, got);
                println!("{name} {}: {share:.4} of it apart, furthest {furthest:.4}", want.name);
                let is_near =
                    if name == "landmarks" { furthest <= PIXELS } else { share <= SHARE || furthest <= AT_MOST };
                assert!(is_near, "{name} {}: {share} of it and {furthest} apart", want.name);
            }
        }
        assert_eq!(got.iter().count(), outputs.len(), "{name}");
    }
}

/// How far two are apart, as a share of the first one's length, and at the furthest number.
fn apart(a: &[f64], b: &[f32]) -> (f64, f64) {
    assert_eq!(a.len(), b.len());
    let (mut square, mut whole, mut furthest) = (0.0, 0.0, 0.0f64);
    for (a, b) in a.iter().zip(b) {
        let off = (a - f64::from(*b)).abs();
        square += off * off;
        whole += a * a;
        furthest = furthest.max(off);
    }
    ((square / whole).sqrt(), furthest)
}

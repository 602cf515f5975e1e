//! What the networks were shown and what they answered, for `tests/reference.py` to compare with another runtime.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::encode::EvalError;
use crate::face::detect::principal;
use crate::face::{Faces, ModelChoice, photo};
use crate::infer::ModelFile;

/// The most pictures that are dumped.
pub const MAX_DUMPED: usize = 1000;

#[derive(Serialize)]
struct Meta {
    detector: Network,
    #[serde(rename = "embedder")]
    encoder: Network,
    /// How many of each: pictures in `shown.rgb` and `maps.f32`, faces in `crops.rgb` and `encodings.f32`.
    faces: usize,
}

/// Of one network: its file, the size of its input, how many numbers each output has.
#[derive(Serialize)]
struct Network {
    name: String,
    sha256: String,
    #[serde(serialize_with = "super::spelt")]
    path: PathBuf,
    width: usize,
    height: usize,
    outputs: Vec<usize>,
}

impl Network {
    fn new(file: &ModelFile, width: usize, height: usize, outputs: Vec<usize>) -> Self {
        let path = file.path.canonicalize().unwrap_or_else(|_| file.path.clone());
        Self { name: file.spec.name.clone(), sha256: file.spec.sha256.to_string(), path, width, height, outputs }
    }
}

/// Makes the folder that [`write`] fills, before hours of work.
///
/// # Errors
/// It can't be made, or nothing can be made in it.
pub fn prepare(dir: &Path) -> Result<(), EvalError> {
    let may = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    let made = fs::create_dir_all(dir).and_then(|()| Ok(rustix::fs::access(dir, may)?));
    made.map_err(|source| EvalError::Read { path: dir.into(), source })
}

/// Writes, for the first [`MAX_DUMPED`] pictures with a face, what the detector was shown and its maps, the aligned
/// face and its encoding: `shown.rgb` and `crops.rgb` as packed bytes, `maps.f32` and `encodings.f32` little-endian,
/// and `meta.json`. Returns the number of faces.
///
/// # Errors
/// A picture can't be read, a network fails, or the folder can't be written.
pub fn write(dir: &Path, pictures: &[PathBuf], choice: &ModelChoice) -> Result<usize, EvalError> {
    let wrong = |source| EvalError::Read { path: dir.into(), source };
    prepare(dir)?;
    let create = |name: &str| File::create(dir.join(name)).map(BufWriter::new).map_err(wrong);
    let (mut shown, mut maps) = (create("shown.rgb")?, create("maps.f32")?);
    let (mut crops, mut encodings) = (create("crops.rgb")?, create("encodings.f32")?);
    let mut faces = Faces::load(choice)?;
    let mut count = 0;
    let mut lens = Vec::new();
    for path in pictures {
        if count == MAX_DUMPED {
            break;
        }
        let image = photo::load(path)?;
        let found = faces.detector.detect(&image)?;
        let Some(face) = principal(&found, image.width(), image.height()) else { continue };
        let landmarks = faces.refine(&image, face)?;
        if faces.align(&image, &landmarks).is_none() {
            continue;
        }
        let encoding = faces.encode()?;
        crops.write_all(faces.aligned().image().data()).map_err(wrong)?;
        let (seen, outputs) = faces.detector.maps(&image)?;
        shown.write_all(seen.data()).map_err(wrong)?;
        outputs.iter().try_for_each(|map| write_floats(&mut maps, map)).map_err(wrong)?;
        write_floats(&mut encodings, encoding.as_slice()).map_err(wrong)?;
        lens = outputs.iter().map(<[f32]>::len).collect();
        count += 1;
    }
    for mut file in [shown, maps, crops, encodings] {
        file.flush().map_err(wrong)?;
    }
    let canvas = faces.detector.canvas();
    let dims = match choice.encoder.spec.decode {
        crate::infer::Decode::Embedding { dims } => vec![dims],
        _ => Vec::new(),
    };
    let meta = Meta {
        detector: Network::new(&choice.detector, canvas.width(), canvas.height(), lens),
        encoder: Network::new(&choice.encoder, 112, 112, dims),
        faces: count,
    };
    let text = serde_json::to_vec_pretty(&meta).map_err(|e| wrong(e.into()))?;
    fs::write(dir.join("meta.json"), text).map_err(wrong)?;
    Ok(count)
}

fn write_floats(to: &mut impl Write, floats: &[f32]) -> std::io::Result<()> {
    floats.iter().try_for_each(|x| to.write_all(&x.to_le_bytes()))
}

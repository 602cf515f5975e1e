//! From an aligned face to its encoding.

use super::align::{AlignedFace, SIDE};
use super::encoding::{Encoding, MAX_DIMS};
use crate::infer::network::{Layer, OutputSpec};
use crate::infer::{Decode, InferError, ModelFile, ModelSpec, PictureNetwork};

/// An encoder, ready.
pub struct Encoder {
    spec: ModelSpec,
    network: PictureNetwork,
}

impl Encoder {
    /// # Errors
    /// The file is no encoder of 112 x 112 pixels, is malformed, or has another output than its manifest entry
    /// promises.
    pub fn load(file: &ModelFile) -> Result<Self, InferError> {
        let spec = file.spec.clone();
        let Decode::Embedding { dims: len @ 1..=MAX_DIMS } = spec.decode else {
            let reason = format!("it is a network for {}, not for encodings", spec.kind());
            return Err(InferError::Malformed { model: spec.name, reason });
        };
        let network = PictureNetwork::load(file, SIDE, SIDE, &[OutputSpec { name: "", len, each: 1 }])?;
        Ok(Self { spec, network })
    }

    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The network's layers in the order in which they run.
    pub fn layers(&self) -> Vec<Layer> {
        self.network.layers()
    }

    /// # Errors
    /// The network failed, or gave numbers without direction.
    pub fn encode(&mut self, face: &AlignedFace) -> Result<Encoding, InferError> {
        let output = self.network.run(face.image())?;
        Encoding::from_raw(output.get(0)).ok_or_else(|| InferError::Failed {
            model: self.spec.name.clone(),
            reason: "its encoding is all but zero and has no direction".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::RgbImage;
    use crate::infer::tiny::{model, onnx};

    fn grey(level: u8) -> AlignedFace {
        AlignedFace::from_aligned(RgbImage::from_rgb8(SIDE, SIDE, vec![level; SIDE * SIDE * 3]).unwrap()).unwrap()
    }

    #[test]
    fn an_output_becomes_an_encoding_of_unit_length() {
        let mut encoder = Encoder::load(&model(onnx(&[3.0, 0.0, 0.0, 0.0, 0.0, 4.0]), 2)).unwrap();
        let encoding = encoder.encode(&grey(10)).unwrap();
        assert!((encoding.as_slice()[0] - 0.6).abs() < 1e-6 && (encoding.as_slice()[1] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn an_encoding_without_direction_is_an_error_and_no_match() {
        let mut encoder = Encoder::load(&model(onnx(&[1.0; 6]), 2)).unwrap();
        assert!(matches!(encoder.encode(&grey(0)), Err(InferError::Failed { .. })));
        assert!(encoder.encode(&grey(1)).is_ok());
    }

    #[test]
    fn a_network_that_gives_another_size_than_promised_is_refused() {
        assert!(matches!(Encoder::load(&model(onnx(&[1.0; 6]), 128)), Err(InferError::Shape { .. })));
        let mut detector = model(onnx(&[1.0; 6]), 2);
        detector.spec.decode = Decode::Yunet;
        assert!(matches!(Encoder::load(&detector), Err(InferError::Malformed { .. })));
    }
}

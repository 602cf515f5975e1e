//! The networks that are part of this program, so that a board needs one file and a stranger's clone nothing else.

/// The names that are taken where nothing else is asked for.
pub const DETECTOR: &str = "facelatch-detector";
pub const LANDMARKS: &str = "facelatch-landmarks";
pub const ENCODER: &str = "facelatch-encoder";
pub const LIVENESS: &str = "facelatch-liveness";

/// By the file names that the manifest gives.
const NETWORKS: [(&str, &[u8]); 5] = [
    ("detector.onnx", include_bytes!("../../models/detector.onnx")),
    ("landmarks.onnx", include_bytes!("../../models/landmarks.onnx")),
    ("encoder.onnx", include_bytes!("../../models/encoder.onnx")),
    ("encoder-small.onnx", include_bytes!("../../models/encoder-small.onnx")),
    ("liveness.onnx", include_bytes!("../../models/liveness.onnx")),
];

/// The bytes of a network by the name of its file.
pub(super) fn network(file: &str) -> Option<&'static [u8]> {
    NETWORKS.iter().find(|(name, _)| *name == file).map(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Manifest};
    use super::*;
    use crate::digest::Digest;
    use crate::gallery::PairHead;
    use crate::gallery::calibrate::Calibration;

    #[test]
    fn each_built_in_network_is_the_one_that_the_manifest_describes() {
        let manifest = Manifest::builtin();
        for (file, bytes) in NETWORKS {
            let spec = manifest.models().iter().find(|spec| spec.file == file).expect(file);
            assert_eq!(spec.sha256, Digest::of(bytes), "{file}");
            assert_eq!(manifest.built_in(&spec.name).expect(file).bytes.as_ref(), bytes);
        }
    }

    #[test]
    fn the_defaults_are_built_in_and_of_their_kind() {
        let kind = |name| Manifest::builtin().built_in(name).map(|model| model.spec.kind());
        assert_eq!(kind(DETECTOR), Some(Kind::Detector));
        assert_eq!(kind(LANDMARKS), Some(Kind::Landmarks));
        assert_eq!(kind(ENCODER), Some(Kind::Encoder));
        assert_eq!(kind(LIVENESS), Some(Kind::Liveness));
        assert_eq!(kind("yunet"), None);
    }

    #[test]
    fn every_encoder_has_a_table_and_the_pair_head_is_of_the_default_one() {
        let manifest = Manifest::builtin();
        for encoder in NETWORKS.iter().filter_map(|(file, _)| manifest.models().iter().find(|spec| spec.file == *file))
        {
            let table = Calibration::builtin(&encoder.sha256);
            assert!(encoder.kind() != Kind::Encoder || table.is_some(), "{}: run `facelatch calibrate`", encoder.name);
        }
        let encoder = manifest.built_in(ENCODER).map(|model| model.spec.sha256);
        let trained = "run models/train/pair_head.py and `facelatch calibrate --decider pair-head`";
        assert_eq!(Some(*PairHead::builtin().model()), encoder, "{trained}");
    }
}

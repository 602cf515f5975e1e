//! Networks that judge from one frame whether a face is alive: a channel among others, and never the whole verdict.
//!
//! None comes with facelatch. MiniFASNet's two (the manifest knows them) look at the face with 2.7 and 4 times its box
//! around it; what several give is averaged, as its authors do.

use crate::face::geometry::Sampler;
use crate::face::{Detection, Rect};
use crate::frame::RgbImage;
use crate::infer::network::OutputSpec;
use crate::infer::{Decode, InferError, ModelFile, PictureNetwork};
use crate::kernels::warp::Affine;

/// Networks that are averaged at most.
pub const MAX_NETWORKS: usize = 4;
/// Classes of their output, and the one that is a live face.
const CLASSES: usize = 3;
const LIVE: usize = 1;

/// One network with what it is shown.
struct Single {
    network: PictureNetwork,
    crop: f32,
    logits: bool,
    shown: RgbImage,
}

/// All that are configured.
pub struct Antispoof {
    networks: heapless::Vec<Single, MAX_NETWORKS>,
    sampler: Sampler,
}

impl Antispoof {
    /// Takes the first [`MAX_NETWORKS`] of the files; `None` without any.
    ///
    /// # Errors
    /// A file is for something else, is malformed, or has another output than three classes.
    pub fn load(files: &[ModelFile]) -> Result<Option<Self>, InferError> {
        let networks = files.iter().take(MAX_NETWORKS).map(Single::load).collect::<Result<heapless::Vec<_, _>, _>>()?;
        Ok((!networks.is_empty()).then(|| Self { networks, sampler: Sampler::default() }))
    }

    /// The mean probability that the face is alive, 0 to 1 of networks that keep to what their description says; `None`
    /// of a box that is none.
    ///
    /// # Errors
    /// A network failed or gave something that isn't a number.
    pub fn judge(&mut self, image: &RgbImage, found: &Detection) -> Result<Option<f32>, InferError> {
        let mut sum = 0.0;
        for single in &mut self.networks {
            let Some(view) = view(&found.bbox, single.crop, image, &single.shown) else { return Ok(None) };
            self.sampler.sample(image, &view, &mut single.shown);
            sum += single.judge()?;
        }
        Ok(Some(sum / self.networks.len() as f32))
    }
}

impl Single {
    fn load(file: &ModelFile) -> Result<Self, InferError> {
        let spec = &file.spec;
        let Decode::AntiSpoof { crop, logits } = spec.decode else {
            let reason = format!("it is a network for {}, not for telling a face from a picture", spec.kind());
            return Err(InferError::Malformed { model: spec.name.clone(), reason });
        };
        let (width, height) = (spec.input.width, spec.input.height);
        let network = PictureNetwork::load(file, width, height, &[OutputSpec { name: "", len: CLASSES, each: 1 }])?;
        Ok(Self { network, crop, logits, shown: RgbImage::new(width, height) })
    }

    fn judge(&mut self) -> Result<f32, InferError> {
        let output = self.network.run(&self.shown)?;
        let classes = output.get(0);
        Ok(if self.logits { softmax(classes) } else { classes[LIVE] })
    }
}

/// The share of the live class; the logits are finite.
fn softmax(logits: &[f32]) -> f32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|x| (x - greatest).exp()).sum();
    (logits[LIVE] - greatest).exp() / sum
}

/// From pixels of `shown` to the picture: the box enlarged `crop` times around its middle, less where the picture is
/// smaller, then moved into the picture, its sides stretched to those of `shown`. So MiniFASNet's authors cut what they
/// taught it (github.com/minivision-ai/Silent-Face-Anti-Spoofing). `None` of a box that is none.
fn view(face: &Rect, crop: f32, image: &RgbImage, shown: &RgbImage) -> Option<Affine> {
    let picture = [image.width() as f32 - 1.0, image.height() as f32 - 1.0];
    let sides = [face.width, face.height];
    let crop = crop.min(picture[0] / sides[0]).min(picture[1] / sides[1]);
    let is_box = sides.iter().all(|side| *side >= 1.0) && face.centre().iter().all(|middle| middle.is_finite());
    if !(is_box && crop > 0.0) {
        return None;
    }
    let along = |axis: usize, pixels: usize| {
        let side = sides[axis] * crop;
        let first = (face.centre()[axis] - side / 2.0).min(picture[axis] - side).max(0.0);
        let step = (side + 1.0) / pixels as f32;
        (step, first + (step - 1.0) / 2.0)
    };
    let ((a, c), (e, f)) = (along(0, shown.width()), along(1, shown.height()));
    Affine::new([a, 0.0, c, 0.0, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Landmarks;
    use crate::infer::manifest::ChannelOrder;
    use crate::infer::tiny;

    /// A network whose three classes are so many times the means of blue, green and red.
    fn network(crop: f32, logits: bool, weights: [f32; 9]) -> ModelFile {
        let mut file = tiny::model(tiny::onnx(&weights), CLASSES);
        file.spec.decode = Decode::AntiSpoof { crop, logits };
        file.spec.input.order = ChannelOrder::Bgr;
        file
    }

    fn found(bbox: Rect) -> Detection {
        Detection { bbox, landmarks: Landmarks::default(), score: 0.9 }
    }

    #[test]
    fn the_live_class_of_all_networks_is_averaged_and_the_planes_are_blue_green_red() {
        // The second logit is ln 3 for a picture of blue 1; softmax of (0, ln 3, 0) is 3/5.
        let ln3 = 3.0_f32.ln();
        let sure = network(2.7, true, [0.0, ln3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let unsure = network(4.0, false, [0.2, 0.3, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let mut both = Antispoof::load(&[sure, unsure]).unwrap().unwrap();
        let image = RgbImage::from_rgb8(64, 64, [0, 0, 1].repeat(64 * 64)).unwrap();
        let face = found(Rect { left: 20.0, top: 20.0, width: 10.0, height: 12.0 });
        let live = both.judge(&image, &face).unwrap().unwrap();
        assert!((live - (0.6 + 0.3) / 2.0).abs() < 1e-4, "{live}");
        let nowhere = found(Rect { width: f32::NAN, ..face.bbox });
        assert_eq!(both.judge(&image, &nowhere).unwrap(), None);
    }

    #[test]
    fn the_view_is_the_enlarged_box_moved_into_the_picture() {
        let (image, shown) = (RgbImage::new(641, 481), RgbImage::new(80, 80));
        let edges = |face: Rect, crop: f32| {
            let view = view(&face, crop, &image, &shown).unwrap();
            [view.apply([-0.5, -0.5]), view.apply([79.5, 79.5])].map(|corner| corner.map(|x| x + 0.5))
        };
        let near = |got: [[f32; 2]; 2], wanted: [[f32; 2]; 2]| {
            let same = got.iter().flatten().zip(wanted.iter().flatten()).all(|(a, b)| (a - b).abs() < 0.01);
            assert!(same, "{got:?}, not {wanted:?}");
        };
        let face = Rect { left: 300.0, top: 200.0, width: 40.0, height: 50.0 };
        near(edges(face, 2.0), [[280.0, 175.0], [361.0, 276.0]]);
        let corner = Rect { left: 0.0, top: 440.0, ..face };
        near(edges(corner, 2.0), [[0.0, 380.0], [81.0, 481.0]]);
        // Four times as high would be more than there is: as much as there is, the shape kept.
        let large = Rect { left: 100.0, top: 100.0, width: 160.0, height: 240.0 };
        near(edges(large, 4.0), [[20.0, 0.0], [341.0, 481.0]]);
    }

    #[test]
    fn a_network_for_something_else_is_refused_and_without_any_there_is_no_channel() {
        assert!(matches!(Antispoof::load(&[tiny::model(tiny::onnx(&[0.0; 9]), 3)]), Err(InferError::Malformed { .. })));
        assert!(Antispoof::load(&[]).unwrap().is_none());
    }
}

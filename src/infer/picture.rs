//! Networks that are shown pictures.

use super::manifest::{ChannelOrder, ModelFile};
use super::network::{InferError, Layer, Network, OutputSpec, Outputs};
use super::spec::InputSpec;
use crate::frame::RgbImage;
use crate::kernels::tensor::rgb_to_planar_f32;

/// A network with what its entry in the manifest says of pixels: their order, their mean and their scale.
///
/// An eight-bit network that takes the numbers 0 to 255 in the order red, green, blue is given the picture's bytes as
/// they lie: the same results to the last bit, without a pass to floats and one back.
#[derive(Clone)]
pub struct PictureNetwork {
    network: Network,
    input: InputSpec,
    sides: [usize; 2],
}

impl PictureNetwork {
    /// For pictures of this size.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn load(file: &ModelFile, width: usize, height: usize, outputs: &[OutputSpec]) -> Result<Self, InferError> {
        let input = file.spec.input;
        let is_plain = (input.order, input.mean, input.scale) == (ChannelOrder::Rgb, [0.0; 3], [1.0; 3]);
        let network = Network::load_form(file, [1, 3, height, width], is_plain, outputs)?;
        Ok(Self { network, input, sides: [width, height] })
    }

    /// What the network says of a picture.
    ///
    /// # Errors
    /// As [`Network::run`].
    ///
    /// # Panics
    /// If the picture has another size than the network was loaded for.
    pub fn run(&mut self, picture: &RgbImage) -> Result<Outputs, InferError> {
        assert_eq!([picture.width(), picture.height()], self.sides, "a picture of another size");
        if self.network.takes_pixels() {
            return self.network.run_filled(|bytes: &mut [u8]| bytes.copy_from_slice(picture.data()));
        }
        let InputSpec { order, mean, scale, .. } = self.input;
        self.network.run(|planes| rgb_to_planar_f32(picture, mean, scale, order == ChannelOrder::Bgr, planes))
    }

    /// Its layers in the order in which they run.
    pub fn layers(&self) -> Vec<Layer> {
        self.network.layers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::Manifest;
    use crate::sim::rng::SplitMix64;

    #[test]
    fn bytes_as_they_lie_give_what_planes_of_numbers_give() {
        let file = Manifest::builtin().built_in("facelatch-encoder-small").unwrap();
        let outputs = [OutputSpec { name: "", len: 128, each: 1 }];
        let mut shown = PictureNetwork::load(&file, 112, 112, &outputs).unwrap();
        assert!(shown.network.takes_pixels());
        let mut random = SplitMix64::new(8);
        let bytes = (0..112 * 112 * 3).map(|_| random.next_u64() as u8).collect();
        let picture = RgbImage::from_rgb8(112, 112, bytes).unwrap();
        let mut network = Network::load(&file, [1, 3, 112, 112], &outputs).unwrap();
        let of_planes = network.run(|planes| rgb_to_planar_f32(&picture, [0.0; 3], [1.0; 3], false, planes)).unwrap();
        assert_eq!(shown.run(&picture).unwrap().get(0), of_planes.get(0));
    }

    #[test]
    fn a_network_that_wants_another_order_or_scale_is_given_planes() {
        let mut file = Manifest::builtin().built_in("facelatch-encoder-small").unwrap();
        for (order, scale) in [(ChannelOrder::Bgr, 1.0), (ChannelOrder::Rgb, 0.5)] {
            (file.spec.input.order, file.spec.input.scale) = (order, [scale; 3]);
            let mut shown =
                PictureNetwork::load(&file, 112, 112, &[OutputSpec { name: "", len: 128, each: 1 }]).unwrap();
            assert!(!shown.network.takes_pixels());
            assert!(shown.run(&RgbImage::new(112, 112)).is_ok());
        }
    }
}

//! How much a recipe takes at a size, reckoned before any of it is made: a file of some kilobytes can ask for values
//! and lists of gigabytes.

use super::compile::{Sides, is_depthwise};
use super::recipe::{Layer, Recipe, Work};
use crate::infer::admit::{MAX_ELEMENTS, volume};

/// The most places of pixels in the lists of all layers, four bytes each: several times what a detector has for the
/// largest picture.
const MAX_PLACES: usize = 16 << 20;

/// Refuses values and lists that are larger than those of any network for a door. `results` are what each layer gives.
pub(super) fn admit(recipe: &Recipe, values: &[Sides], results: &[Sides]) -> Result<(), &'static str> {
    let with_borders = recipe.layers.iter().map(|layer| bordered(layer, values));
    let all = values.iter().chain(results).map(|sides| Some(*sides)).chain(with_borders);
    let fits = |sides: Option<Sides>| sides.and_then(|s| product(&s)).is_some_and(|elements| elements <= MAX_ELEMENTS);
    if !all.into_iter().all(fits) {
        return Err("a value of more numbers than any network for a door has");
    }
    let places = places(recipe, values, results).filter(|&places| places <= MAX_PLACES);
    places.map(|_| ()).ok_or("more pixels than any network for a door reads")
}

/// At most how many places of pixels the lists of all layers hold; `None` beyond what can be counted.
fn places(recipe: &Recipe, values: &[Sides], results: &[Sides]) -> Option<usize> {
    let given = recipe.inputs.iter().map(|(_, value)| product(&values[*value][..2]));
    let of_layers = recipe.layers.iter().zip(results).map(|(layer, [rows, columns, _])| {
        // A list for what each layer reads and gives, and each group of channels has its own.
        let groups = match &layer.work {
            Work::Convolution(c) if !is_depthwise(c) => c.groups,
            _ => 1,
        };
        product(&[*rows, *columns, layer.inputs.len() + 1, groups])
    });
    given.chain(of_layers).try_fold(0usize, |all, places| all.checked_add(places?))
}

/// What a layer reads first, with the border that it wants around it.
fn bordered(layer: &Layer, values: &[Sides]) -> Option<Sides> {
    let [rows, columns, channels] = *layer.inputs.first().and_then(|&value| values.get(value))?;
    let Work::Convolution(c) = &layer.work else { return Some([rows, columns, channels]) };
    let [top, left, bottom, right] = c.pads;
    Some([rows.checked_add(top)?.checked_add(bottom)?, columns.checked_add(left)?.checked_add(right)?, channels])
}

fn product(sides: &[usize]) -> Option<usize> {
    volume(sides.iter().copied().map(Some))
}

#[cfg(test)]
mod tests {
    use super::super::compile::{compile, sides};
    use super::super::graph::{Grid, Weights};
    use super::super::recipe::Convolution;
    use super::*;
    use crate::kernels::q8::OutputRange;

    /// One layer.
    fn of(work: Work) -> Recipe {
        let layer = Layer { name: "layer".into(), work, inputs: vec![0], out: Some(1) };
        let grids = vec![Grid { scale: 1.0, zero: 0 }; 2];
        Recipe { grids, layers: vec![layer], inputs: vec![("image".into(), 0)], ..Recipe::default() }
    }

    /// In so many groups of one channel to two, 3x3, with this border.
    fn grouped(groups: usize, pads: [usize; 4], stride: usize) -> Recipe {
        let weights = Weights { numbers: Vec::new(), dims: vec![groups * 2, 1, 3, 3], scales: vec![1.0] };
        let (kernel, stride, dilation, range) = ([3, 3], [stride; 2], [1, 1], OutputRange::linear(0));
        let (bias, slopes, bounds) = (Vec::new(), None, None);
        of(Work::Convolution(Convolution {
            weights,
            kernel,
            stride,
            dilation,
            pads,
            groups,
            bias,
            slopes,
            bounds,
            range,
        }))
    }

    fn told(recipe: &Recipe, input: Sides) -> Option<&'static str> {
        let (values, results) = sides(recipe, &[input]).unwrap();
        admit(recipe, &values, &results).err()
    }

    #[test]
    fn places_are_counted_by_what_is_read_and_given_and_by_group() {
        let counted = |recipe: &Recipe, input| {
            let (values, results) = sides(recipe, &[input]).unwrap();
            places(recipe, &values, &results)
        };
        assert_eq!(counted(&of(Work::Repeat([3, 5])), [2, 2, 7]), Some(4 + 6 * 10 * 2));
        assert_eq!(counted(&grouped(6, [1; 4], 1), [8, 4, 6]), Some(32 + 8 * 4 * 2 * 6));
    }

    #[test]
    fn a_small_file_with_enormous_values_or_lists_is_refused_before_they_are_made() {
        assert_eq!(told(&of(Work::Repeat([2048, 2048])), [1, 1, 1]), None);
        let enlarged = of(Work::Repeat([4096, 4096]));
        assert!(told(&enlarged, [1, 1, 1]).unwrap().contains("more pixels"));
        assert!(compile(&enlarged, &[[1, 1, 1]], crate::kernels::active(), 1).is_err());
        assert!(told(&of(Work::Repeat([1024, 1024])), [1, 1, 100]).unwrap().contains("more numbers"));
        assert_eq!(told(&grouped(8, [1; 4], 1), [64, 64, 8]), None);
        assert!(told(&grouped(4096, [1; 4], 1), [64, 64, 4096]).unwrap().contains("more pixels"));
        let far = 1 << 40;
        assert!(told(&grouped(2, [far; 4], far), [8, 8, 2]).unwrap().contains("more numbers"));
    }
}

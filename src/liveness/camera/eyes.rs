//! Between the recogniser and whoever keeps the series: what every frame shows is told, whether its face is good enough
//! to be recognised or not.

use super::{FaceWatch, Look, Seen};
use crate::time::Instant;

/// Told of every frame, on the thread that looks at pictures: it must not wait.
pub type Tell = Box<dyn FnMut(&Look) + Send>;

/// A watch and who is told.
pub struct Eyes {
    watch: FaceWatch,
    tell: Tell,
}

impl Eyes {
    pub fn new(tell: Tell) -> Self {
        Self { watch: FaceWatch::default(), tell }
    }

    /// A frame without a face that can be aligned.
    pub fn nobody(&mut self, at: Instant) {
        let look = self.watch.nobody(at);
        (self.tell)(&look);
    }

    /// A frame with one.
    pub fn look(&mut self, seen: &Seen) {
        let look = self.watch.look(seen);
        (self.tell)(&look);
    }
}

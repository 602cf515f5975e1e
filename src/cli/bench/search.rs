//! 1:N search beside a plain read of as many bytes: how near the search comes to what memory allows.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::stages::Time;
use crate::cli::exit::{Code, Failure};
use crate::digest::Digest;
use crate::face::Encoding;
use crate::gallery::{Decider, Index, PairHead, Template, TemplateId};
use crate::person::PersonId;
use crate::sim::rng::Rng;
use crate::time::Wall;

/// Numbers an encoding, the reference network's.
const DIMS: usize = 128;
const SEARCHES: usize = 50;
/// Sums of the plain read: eight registers of SSE2.
const SUMS: usize = 16;
const MODEL: Digest = Digest([0; 32]);

#[derive(Serialize)]
pub struct Row {
    pub templates: usize,
    pub p50_us: f64,
    pub p95_us: f64,
    /// Summing up as many bytes as the rounded encodings take.
    pub read_p50_us: f64,
    /// Search over read.
    pub ratio: Option<f64>,
    /// The same search where a pair head decides.
    pub pair_head_p50_us: f64,
}

/// # Errors
/// Random directions that are none, which doesn't happen.
pub fn measure(templates: usize) -> Result<Row, Failure> {
    let mut rng = Rng::new(templates as u64);
    let none = || Failure::said(Code::Software, "the benchmark's own encodings are no encodings");
    let mut gallery = Vec::with_capacity(templates);
    for number in 1..=templates as u32 {
        gallery.push(Template {
            id: TemplateId::new(number),
            person: PersonId::new(number),
            encoding: direction(&mut rng).ok_or_else(none)?,
            model_sha256: MODEL,
            created: Wall::default(),
            quality: 1.0,
        });
    }
    let index = Index::build(&MODEL, DIMS, &gallery)?;
    drop(gallery);
    let queries = (0..SEARCHES).map(|_| direction(&mut rng)).collect::<Option<Vec<_>>>().ok_or_else(none)?;
    let search = time(&index, &queries);
    // Weights of any size take the same time.
    let head = PairHead::new(MODEL, 0.0, vec![-1.0; DIMS], None);
    let head = head.map_err(|error| Failure::said(Code::Software, error.to_string()))?;
    let by_pair_head = time(&index.decided_by(Decider::PairHead(Arc::new(head)))?, &queries);
    let bytes = vec![1_u8; templates * DIMS];
    let reads = (0..SEARCHES).map(|_| {
        let begun = Instant::now();
        black_box(sum(black_box(&bytes)));
        begun.elapsed()
    });
    let read = Time::of(reads.collect());
    let ratio = (read.p50_us > 0.0).then(|| search.p50_us / read.p50_us);
    Ok(Row {
        templates,
        p50_us: search.p50_us,
        p95_us: search.p95_us,
        read_p50_us: read.p50_us,
        ratio,
        pair_head_p50_us: by_pair_head.p50_us,
    })
}

fn time(index: &Index, queries: &[Encoding]) -> Time {
    let mut scratch = index.scratch();
    let searches = queries.iter().map(|query| {
        let begun = Instant::now();
        black_box(index.search(black_box(query), &mut scratch));
        begun.elapsed()
    });
    Time::of(searches.collect())
}

/// Adds up words in as many sums as keep one addition from waiting for another: what is left is the reading.
fn sum(bytes: &[u8]) -> u64 {
    let (lines, _) = bytes.as_chunks::<{ 8 * SUMS }>();
    let mut sums = [0_u64; SUMS];
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

fn direction(rng: &mut Rng) -> Option<Encoding> {
    let raw: [f32; DIMS] = std::array::from_fn(|_| (rng.unit() + rng.unit() + rng.unit()) as f32 - 1.5);
    Encoding::from_raw(&raw)
}

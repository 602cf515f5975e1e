//! `explain`: which parts of a face, and of the picture around it, carried a decision.

mod sheet;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::context::Context;
use super::exit::{Code, Failure, Verdict};
use super::known::{Known, Scale};
use super::{outfile, people};
use crate::face::align::AlignedFace;
use crate::face::detect::{Detection, principal};
use crate::face::encoding::Encoding;
use crate::face::geometry::Rect;
use crate::face::occlusion::{self, GRID, Map, Part, STEP, to_aligned};
use crate::face::photo;
use crate::face::pipeline::{Faces, Portrait, Role};
use crate::frame::RgbImage;
use crate::gallery::{Comparisons, DeciderKind};
use crate::person::PersonId;

/// Covers the face of PHOTO patch by patch and tells how much of its similarity to the other face is gone with each;
/// then the same for the detector's score. Draws both beside the photograph: on the left what was covered, then the map
/// (red carried the score, blue spoke against it, the face outlined), then the scale.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The photograph whose face is covered
    photo: PathBuf,
    /// The face it is compared with [default: PHOTO's own, so what its encoding hangs on]
    #[arg(conflicts_with = "name")]
    other: Option<PathBuf>,
    /// Compare with somebody enrolled: a name, or #NUMBER
    #[arg(long, value_name = "ENROLLED")]
    name: Option<String>,
    /// Where the picture goes [default: PHOTO's name with .explained.png in its ending's place]
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Answer {
    decider: DeciderKind,
    similarity: f32,
    #[serde(flatten)]
    seen: Seen,
    patch_px: f32,
    stride_px: f32,
    detector: Detected,
    #[serde(serialize_with = "crate::eval::spelt")]
    picture: PathBuf,
}

/// What the detector's score hangs on.
#[derive(Serialize)]
struct Detected {
    score: f32,
    #[serde(flatten)]
    seen: Seen,
    /// What the map shows, in pixels of the photograph.
    shows: Square,
}

#[derive(Serialize)]
struct Square {
    left: f32,
    top: f32,
    side: f32,
}

/// One map, and what it says.
#[derive(Serialize)]
struct Seen {
    /// The share of all that is lost under a patch which is lost inside the face; `null` where nothing is lost.
    inside_share: Option<f32>,
    /// The part that carried most.
    part: Option<&'static str>,
    parts: Option<Shares>,
    /// What is lost with each place covered, row by row; negative where the score rises.
    map: [[f32; GRID]; GRID],
    peak: Peak,
}

#[derive(Serialize)]
struct Shares {
    eyes: f32,
    nose: f32,
    mouth: f32,
    forehead: f32,
    cheeks: f32,
    outside: f32,
}

/// The place that carried most: of an aligned face in its pixels, of the detector's map in the photograph's.
#[derive(Serialize)]
struct Peak {
    x: f32,
    y: f32,
    drop: f32,
    part: &'static str,
}

impl Seen {
    fn new(map: &Map, part: impl Fn([f32; 2]) -> Part, to_picture: impl Fn([f32; 2]) -> [f32; 2]) -> Self {
        let (shares, peak) = (map.shares(&part), map.peak());
        let most = shares.and_then(|shares| {
            Part::ALL.into_iter().max_by(|a, b| shares[*a as usize].total_cmp(&shares[*b as usize]))
        });
        let [x, y] = to_picture(peak.at);
        Self {
            inside_share: shares.map(|shares| 1.0 - shares[Part::Outside as usize]),
            part: most.map(Part::as_str),
            parts: shares.map(|[eyes, nose, mouth, forehead, cheeks, outside]| Shares {
                eyes,
                nose,
                mouth,
                forehead,
                cheeks,
                outside,
            }),
            map: map.drops,
            peak: Peak { x, y, drop: peak.drop, part: part(peak.at).as_str() },
        }
    }

    /// `most on the eyes (31 %; 94 % inside the face)`.
    fn sentence(&self) -> String {
        let (Some(part), Some(shares), Some(inside)) = (self.part, &self.parts, self.inside_share) else {
            return "on nothing that one patch covers".into();
        };
        let (share, name) = match part {
            "eyes" => (shares.eyes, "eyes"),
            "nose" => (shares.nose, "nose"),
            "mouth" => (shares.mouth, "mouth"),
            "forehead" => (shares.forehead, "forehead"),
            "cheeks" => (shares.cheeks, "cheeks and the chin"),
            _ => (shares.outside, "surroundings of the face"),
        };
        let [share, inside] = [share, inside].map(|share| 100.0 * share);
        format!("most on the {name} ({share:.0} % of it; {inside:.0} % lies inside the face)")
    }
}

/// The face that is compared with.
enum Other {
    Photo(Box<(Encoding, Scale)>),
    Enrolled(Box<Known>, PersonId),
}

impl Other {
    fn of(args: &Args, ctx: &Context, faces: &mut Faces, own: &Encoding) -> Result<Self, Failure> {
        if let Some(name) = &args.name {
            let known = Known::open(ctx, faces)?;
            let person = people::find(&known.store, name)?;
            return Ok(Self::Enrolled(Box::new(known), person.id));
        }
        let encoding = match &args.other {
            Some(path) => portrait(faces, &photo::load(path)?, path)?.1.encoding,
            None => own.clone(),
        };
        Ok(Self::Photo(Box::new((encoding, Scale::new(ctx, faces.encoder.spec(), Comparisons::ONE)?))))
    }

    fn scale(&self) -> &Scale {
        match self {
            Self::Photo(photo) => &photo.1,
            Self::Enrolled(known, _) => &known.scale,
        }
    }

    /// `None` where the two can't be compared: nobody has a template of this network.
    fn similarity(&self, face: &Encoding) -> Option<f32> {
        let similarity = match self {
            Self::Photo(photo) => photo.1.decider.similarity(face, &photo.0),
            Self::Enrolled(known, person) => known.index.verify(*person, face),
        };
        similarity.map(|similarity| similarity.get())
    }
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let out = args.out.clone().unwrap_or_else(|| args.photo.with_extension("explained.png"));
    outfile::spares(&out, std::iter::once(&args.photo).chain(&args.other))?;
    let image = photo::load(&args.photo)?;
    let mut faces = ctx.faces()?;
    let (found, own) = portrait(&mut faces, &image, &args.photo)?;
    let aligned = faces.aligned().clone();
    let other = Other::of(args, ctx, &mut faces, &own.encoding)?;
    let none =
        || Failure::said(Code::NoInput, "there is no template of the present encoder to compare with; enrol again");
    let similarity = other.similarity(&own.encoding).ok_or_else(none)?;
    let bar = ctx.out.progress(2 * GRID * GRID, "covering");
    let lost = |encoding: &Encoding| other.similarity(encoding).unwrap_or(similarity);
    let map = occlusion::of_encoding(&mut faces, &aligned, similarity, lost, || bar.inc(1))?;
    let (detected, around) = detection(&mut faces, &image, (&found, &own), || bar.inc(1))?;
    bar.finish_and_clear();
    let answer = Answer {
        decider: other.scale().decider.kind(),
        similarity,
        seen: Seen::new(&map, Part::at, |at| at),
        patch_px: 2.0 * STEP,
        stride_px: STEP,
        detector: detected,
        picture: out,
    };
    draw(&answer, &aligned, &around)?;
    ctx.out.json(&answer)?;
    ctx.out.line(sentence(&answer, args, other.scale().decider.measure()))?;
    Ok(Verdict::Yes)
}

/// The face that a photo is of, with its place among all that the detector found.
fn portrait(faces: &mut Faces, image: &RgbImage, path: &Path) -> Result<(usize, Portrait), Failure> {
    let none = || Failure::said(Code::Data, format!("{}: there is no face in this photograph", path.display()));
    let found = faces.detector.detect(image)?;
    let face = principal(&found, image.width(), image.height()).ok_or_else(none)?;
    let at = found.iter().position(|other| other == face).ok_or_else(none)?;
    Ok((at, faces.portray(image, face, Role::Probe)?.ok_or_else(none)?))
}

/// What the detector's map shows, and how it lies in the photograph.
struct Around {
    picture: RgbImage,
    map: Map,
    outline: Box<dyn Fn([f32; 2]) -> bool>,
}

/// The detector's map of the face that it found as the `at`th.
fn detection(
    faces: &mut Faces,
    image: &RgbImage,
    (at, own): (&usize, &Portrait),
    each: impl Fn(),
) -> Result<(Detected, Around), Failure> {
    // What the detector is shown is itself a picture that it is shown unchanged, and a small one.
    let shown = faces.detector.maps(image)?.0.clone();
    let lost = || Failure::said(Code::Software, "the detector sees no face in what it was shown of one");
    let Detection { bbox: face, score, .. } = *faces.detector.detect(&shown)?.get(*at).ok_or_else(lost)?;
    let map = occlusion::of_detection(faces, &shown, &face, each)?;
    let factor = own.found.bbox.width / face.width;
    let to_photo = Scaling { factor, from: [face.left, face.top], to: [own.found.bbox.left, own.found.bbox.top] };
    let to_face = to_aligned(&own.landmarks).ok_or_else(lost)?;
    let part = move |at| Part::at(to_face(to_photo.apply(at)));
    let ([x, y], side) = map.places.square();
    let [left, top] = to_photo.apply([x - side / 2.0, y - side / 2.0]);
    let shows = Square { left, top, side: side * factor };
    let picture = sheet::view(image, &shows.rect());
    let seen = Seen::new(&map, &part, |at| to_photo.apply(at));
    let outline = Box::new(move |at| part(at) != Part::Outside);
    Ok((Detected { score, seen, shows }, Around { picture, map, outline }))
}

/// From what the detector is shown to the photograph.
#[derive(Clone, Copy)]
struct Scaling {
    factor: f32,
    from: [f32; 2],
    to: [f32; 2],
}

impl Scaling {
    fn apply(&self, at: [f32; 2]) -> [f32; 2] {
        [0, 1].map(|axis| (at[axis] - self.from[axis]) * self.factor + self.to[axis])
    }
}

impl Square {
    fn rect(&self) -> Rect {
        Rect { left: self.left, top: self.top, width: self.side, height: self.side }
    }
}

fn draw(answer: &Answer, aligned: &AlignedFace, around: &Around) -> Result<(), Failure> {
    let face = |at| Part::at(at) != Part::Outside;
    let map = Map { places: occlusion::Places::ALIGNED, drops: answer.seen.map };
    let rows = [
        sheet::Row { picture: aligned.image(), map: &map, is_face: &face },
        sheet::Row { picture: &around.picture, map: &around.map, is_face: &*around.outline },
    ];
    std::fs::write(&answer.picture, sheet::png(&rows)).map_err(Failure::io(&answer.picture))
}

fn sentence(answer: &Answer, args: &Args, measure: &str) -> String {
    let to = match (&args.name, &args.other) {
        (Some(name), _) => format!(" to {name}"),
        (None, Some(other)) => format!(" to {}", other.display()),
        (None, None) => " to itself".into(),
    };
    let Answer { similarity, seen, detector, picture, .. } = answer;
    format!(
        "The {measure} of {similarity:.3}{to} hangs {}; covering the place that counts most takes {:.3} away.\n\
         That there is a face ({:.2}) hangs {}; covering the place that counts most takes {:.3} away.\n\
         {}",
        seen.sentence(),
        seen.peak.drop,
        detector.score,
        detector.seen.sentence(),
        detector.seen.peak.drop,
        picture.display()
    )
}

//! `enroll`: somebody new, or further photographs of somebody.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;

use super::context::{Context, no_picture};
use super::exit::{Code, Failure, Verdict};
use super::known::{Known, Scale};
use super::note;
use super::when::parse_expiry;
use crate::face::convert;
use crate::face::detect::Detection;
use crate::face::encoding::Encoding;
use crate::face::jpeg::MjpegDecoder;
use crate::face::photo;
use crate::face::pipeline::{Faces, Portrait, Role};
use crate::face::quality;
use crate::frame::RgbImage;
use crate::gallery::enrol::{self, Refusal, Rules};
use crate::gallery::keep::{self, Candidate, MAX_CANDIDATES};
use crate::gallery::{Changes, DeciderKind, NewPerson, NewTemplate, Person};
use crate::gate::{Mode, PoorMeasure, Schedule};
use crate::hw::store::Kept;
use crate::person::{Name, PersonId};
use crate::ports::CameraError;
use crate::time::Wall;
use crate::units::{Fmr, Similarity};

/// A further photograph must at least be as near to the person's others as this share of strangers would be.
const SAME_PERSON_FMR: f64 = 1e-2;
/// Without a table for the network: strangers come this near, the same person hardly ever less so.
const ALIKE_WITHOUT_TABLE: f32 = 0.5;
/// Most photographs from the camera.
const MAX_CAMERA_PHOTOS: u8 = 32;
/// The camera looks for so long at most.
const CAMERA_PATIENCE: Duration = Duration::from_secs(60);
/// A camera that has given no picture for so long gives none.
const CAMERA_SILENCE: Duration = Duration::from_secs(10);
/// Pictures of one moment tell nothing new.
const CAMERA_PAUSE: Duration = Duration::from_millis(700);
/// What a photograph of the door's camera is called.
const CAMERA: &str = "camera";
/// How long to wait for one frame.
const FRAME_TIMEOUT: Duration = Duration::from_secs(3);

/// Photographs from the camera where nobody says how many.
pub const DEFAULT_SHOTS: u8 = 5;

/// Exits with 1 where no photograph will do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to call them; photographs of somebody who is enrolled already are added to theirs
    pub name: String,
    /// Photographs with one face each
    #[arg(required_unless_present = "camera", conflicts_with = "camera")]
    pub photos: Vec<PathBuf>,
    /// Take the photographs with the door's camera
    #[arg(long)]
    pub camera: bool,
    /// How many photographs the camera takes
    #[arg(long, value_name = "N", conflicts_with = "photos", default_value_t = DEFAULT_SHOTS, value_parser = clap::value_parser!(u8).range(1..=MAX_CAMERA_PHOTOS as i64))]
    pub shots: u8,
    /// The last day that counts, an instant, or never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// When they may come in [default: always]
    #[arg(long, value_name = "SCHEDULE")]
    pub schedule: Option<String>,
    /// How and when they agreed to be recognised
    #[arg(long, value_name = "NOTE")]
    pub consent: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    person: &'a str,
    /// `null` where nobody of this name is enrolled.
    id: Option<u32>,
    /// What judged whether the face is theirs and nobody else's.
    decider: DeciderKind,
    /// How many they have now.
    templates: u32,
    /// Of the best photograph, 0 to 1; `null` where none will do.
    quality: Option<f32>,
    added: usize,
    replaced: usize,
    not_needed: usize,
    refused: &'a [Refused],
}

#[derive(Serialize)]
struct Refused {
    photo: String,
    reason: String,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let name = Name::new(&args.name).map_err(|error| Failure::Usage(error.to_string()))?;
    let details = details(args)?;
    if args.photos.len() > MAX_CANDIDATES {
        let got = args.photos.len();
        return Err(Failure::Usage(format!(
            "{got} photographs are more than {MAX_CANDIDATES}; choose the best of them"
        )));
    }
    // Whatever can't be read is told before anything is loaded or kept; one after the other, since one may take
    // hundreds of MiB.
    args.photos.iter().try_for_each(|path| photo::load(path).map(drop))?;
    let mut sitting = Sitting::new(ctx, name)?;
    if args.camera {
        sitting.before_camera(args.shots)?;
    } else {
        let bar = ctx.out.progress(args.photos.len(), "looking");
        for path in &args.photos {
            let photo = path.display().to_string();
            if let Some(refusal) = sitting.take_photo(&photo::load(path)?, &photo)? {
                sitting.refused.push(Refused { photo, reason: refusal.to_string() });
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
    sitting.keep(details)
}

fn details(args: &Args) -> Result<Changes, Failure> {
    let schedule = args.schedule.as_ref().map(|text| Schedule::parse(text)).transpose();
    Ok(Changes {
        expires: args.expires.as_deref().map(parse_expiry).transpose()?,
        schedule: schedule.map_err(|error| Failure::Usage(error.to_string()))?.map(|s| s.to_string()),
        consent: args.consent.clone(),
    })
}

/// One person in front of the lens: what was taken of them so far.
struct Sitting<'a> {
    ctx: &'a Context,
    faces: Faces,
    known: Known,
    name: Name,
    /// Where somebody of this name is enrolled already.
    person: Option<Person>,
    rules: Rules,
    /// Encodings of the templates that the person has already.
    theirs: Vec<Encoding>,
    /// How many more they have of another network, in whose place new ones come.
    outdated: usize,
    taken: Vec<NewTemplate>,
    refused: Vec<Refused>,
}

impl<'a> Sitting<'a> {
    fn new(ctx: &'a Context, name: Name) -> Result<Self, Failure> {
        let faces = ctx.faces()?;
        let mut known = Known::open_to_enrol(ctx, &faces)?;
        // Whose face it may be is judged by what was read here; the camera takes a minute, in which another may enrol
        // the same face.
        known.store.only_as_seen();
        let person = known.store.person_named(&name)?;
        let model = faces.encoder.spec().sha256;
        if ctx.globals.model.is_some() {
            let door = ctx.door_encoder()?.spec;
            if door.sha256 != model {
                return Err(Failure::Usage(format!(
                    "the configuration's network is {}: the door would not recognise {name}; leave --model out, or set faces.model",
                    door.name
                )));
            }
        }
        let of_all = match &person {
            Some(person) => known.store.templates_of(person.id)?,
            None => Vec::new(),
        };
        let (theirs, outdated): (Vec<_>, Vec<_>) = of_all.into_iter().partition(|t| t.model_sha256 == model);
        let outdated = outdated.len();
        let theirs = theirs.into_iter().map(|t| t.encoding).collect();
        let rules = rules(&known, ctx.config.gate.mode);
        Ok(Self { ctx, faces, known, name, person, rules, theirs, outdated, taken: Vec::new(), refused: Vec::new() })
    }

    /// Takes one photograph, or says why not.
    fn take_photo(&mut self, image: &RgbImage, photo: &str) -> Result<Option<Refusal>, Failure> {
        let faces = self.faces.detector.detect(image)?;
        let clear = self.known.limits.min_detector;
        let height = |face: &Detection| if face.score >= clear { face.bbox.height } else { 0.0 };
        let portrait = match enrol::only_face(&faces, height) {
            Ok(face) => {
                self.faces.portray(image, face, Role::Template)?.ok_or(Refusal::Poor(PoorMeasure::DetectorScore))
            }
            Err(refusal) => Err(refusal),
        };
        match portrait.and_then(|portrait| self.admit(&portrait).map(|()| portrait)) {
            Ok(portrait) => {
                self.taken.push(NewTemplate {
                    quality: portrait.quality.score(),
                    encoding: portrait.encoding,
                    model_sha256: self.faces.encoder.spec().sha256,
                    created: self.ctx.act().at,
                });
                Ok(None)
            }
            Err(Refusal::BelongsToSomebodyElse { person, similarity, limit }) => {
                Err(self.mixed_up(photo, person, similarity, limit)?)
            }
            Err(refusal) => Ok(Some(refusal)),
        }
    }

    fn admit(&mut self, portrait: &Portrait) -> Result<(), Refusal> {
        let poor = quality::check(&portrait.quality, &self.known.limits);
        let taken = self.taken.iter().map(|template| &template.encoding);
        let theirs: Vec<&Encoding> = self.theirs.iter().chain(taken).collect();
        let person = self.person.as_ref().map(|person| person.id);
        let Known { index, scratch, .. } = &mut self.known;
        enrol::admit(poor, &portrait.encoding, person, &theirs, index, scratch, &self.rules)
    }

    /// A face that belongs to somebody else ends the sitting: two people under one name would open for each other.
    fn mixed_up(
        &mut self,
        photo: &str,
        person: PersonId,
        similarity: Similarity,
        limit: Similarity,
    ) -> Result<Failure, Failure> {
        let name = self.known.name(person);
        let reason = format!(
            "this face already belongs to {name} ({} {similarity}, {limit} counts as the same person), so nobody was enrolled; \
             if it is {name}, enrol the photograph under that name",
            self.known.scale.decider.measure()
        );
        let failure = Failure::said(Code::No, format!("{photo}: {reason}"));
        self.refused.push(Refused { photo: photo.to_owned(), reason });
        self.tell(None)?;
        Ok(failure)
    }

    /// The answer as JSON: what of the photographs was kept, if any.
    fn tell(&self, kept: Option<(&Person, &Kept)>) -> Result<(), Failure> {
        let person = kept.map(|(person, _)| person).or(self.person.as_ref());
        let added = |count: fn(&Kept) -> usize| kept.map_or(0, |(_, kept)| count(kept));
        self.ctx.out.json(&Answer {
            person: self.name.as_str(),
            id: person.map(|person| person.id.get()),
            decider: self.known.scale.decider.kind(),
            templates: person.map_or(0, |person| person.templates),
            quality: kept.and_then(|_| self.best()),
            added: added(|kept| kept.added.len()),
            replaced: added(|kept| kept.replaced.len()),
            not_needed: added(|kept| kept.not_needed),
            refused: &self.refused,
        })
    }

    /// The quality of the best photograph that was taken.
    fn best(&self) -> Option<f32> {
        self.taken.iter().map(|template| template.quality).max_by(f32::total_cmp)
    }

    /// Takes photographs with the door's camera until there are enough, each at another moment.
    fn before_camera(&mut self, shots: u8) -> Result<(), Failure> {
        let mut camera = self.ctx.open_camera()?;
        let (mut image, mut decoder) = (RgbImage::default(), MjpegDecoder::of_whole_pictures());
        let patience = |has_seen| if has_seen { CAMERA_PATIENCE } else { CAMERA_SILENCE };
        let (begun, mut next_at, mut last) = (Instant::now(), Instant::now(), None);
        let (mut has_seen, mut trouble) = (false, None);
        let mut guide = Guide::new(self.ctx, shots);
        while self.taken.len() < shots.into() && begun.elapsed() < patience(has_seen) {
            match camera.next_frame(FRAME_TIMEOUT) {
                Ok(_) if Instant::now() < next_at => {}
                Ok(frame) => {
                    if let Err(error) = convert::to_rgb(&frame, &mut image, &mut decoder) {
                        trouble = Some(error.to_string());
                        continue;
                    }
                    has_seen = true;
                    let refusal = self.take_photo(&image, CAMERA)?;
                    if refusal.is_none() {
                        next_at = Instant::now() + CAMERA_PAUSE;
                    }
                    guide.tell(self.taken.len(), refusal.as_ref());
                    last = refusal;
                }
                Err(error @ (CameraError::Timeout(_) | CameraError::BadFrame(_))) => trouble = Some(error.to_string()),
                Err(CameraError::Ended) => break,
                Err(error) => return Err(error.into()),
            }
        }
        guide.bar.finish_and_clear();
        if let (false, Some(error)) = (has_seen, trouble) {
            return Err(Failure::said(Code::Unavailable, no_picture(&camera.describe(), &error)));
        }
        let reason = last.map(|refusal| refusal.to_string());
        self.refused.extend(reason.map(|reason| Refused { photo: CAMERA.to_owned(), reason }));
        Ok(())
    }

    /// Whoever makes the gallery larger than the table reaches would take everybody from the door.
    fn must_reach(&self, cap: usize) -> Result<(), Failure> {
        let (scale, had) = (&self.known.scale, self.theirs.len());
        let of_all = self.theirs.iter().chain(self.taken.iter().map(|template| &template.encoding));
        let candidates: Vec<_> =
            of_all.map(|encoding| Candidate { encoding, quality: 0.0, created: Wall::default() }).collect();
        let will_have = candidates.len() - keep::dropped(&candidates, cap).len();
        let comparisons = self.known.index.comparisons().grown(had, will_have);
        let then = Scale::of(scale.decider.clone(), scale.calibration.clone(), &self.ctx.config, comparisons);
        let unreached = then.unreached();
        if unreached.len() <= scale.unreached().len() {
            return Ok(());
        }
        self.tell(None)?;
        let what = match (&self.person, self.taken.len()) {
            (None, _) => self.name.to_string(),
            (Some(_), 1) => format!("one more photograph of {}", self.name),
            (Some(_), n) => format!("{n} more photographs of {}", self.name),
        };
        let would = if then.searches && then.identify.is_none() { "recognise nobody" } else { "admit no claim" };
        let sentence = format!(
            "with {what} the score table doesn't reach {} any more, and the door would {would}: not enrolled; ask for a larger rate, or \
             measure a longer table with `facelatch calibrate --keep`",
            unreached.join(" and ")
        );
        Err(Failure::said(Code::No, sentence))
    }

    /// Stores what was taken, all of it or nothing.
    fn keep(mut self, details: Changes) -> Result<Verdict, Failure> {
        for Refused { photo, reason } in &self.refused {
            note(format_args!("facelatch: {photo}: {reason}"));
        }
        let (act, cap) = (self.ctx.act(), self.ctx.config.faces.templates_a_person);
        let Some(best) = self.best() else {
            self.tell(None)?;
            self.ctx.out.line(match &self.person {
                None => format!("No photograph will do, so {} was not enrolled.", self.name),
                Some(_) => format!("No photograph will do, so nothing of {} has changed.", self.name),
            })?;
            return Ok(Verdict::No);
        };
        self.must_reach(cap)?;
        let store = &mut self.known.store;
        let (id, kept) = match &self.person {
            None => {
                let mut new = NewPerson::new(self.name.clone());
                new.expires = details.expires.flatten();
                new.schedule = details.schedule.unwrap_or(new.schedule);
                new.consent = details.consent.unwrap_or_default();
                store.enrol(&new, &self.taken, cap, act)?
            }
            Some(person) => (person.id, store.enrol_again(person.id, &details, &self.taken, cap, act)?),
        };
        let person = store.person(id)?.ok_or_else(|| Failure::said(Code::NoInput, "erased meanwhile; enrol again"))?;
        self.tell(Some((&person, &kept)))?;
        let Person { name, templates, .. } = &person;
        let what = match &self.person {
            None => "is enrolled",
            Some(_) if self.outdated > 0 => "is enrolled anew",
            Some(before) if *templates > before.templates => "has more photographs now",
            Some(_) => "has no more photographs than before",
        };
        let replaces = match self.outdated {
            0 => String::new(),
            n => format!("; replaces {n} of the old network"),
        };
        self.ctx.out.line(format_args!("{name} {what}: {templates} kept, the best of quality {best:.2}{replaces}."))?;
        Ok(Verdict::Yes)
    }
}

/// Tells whoever stands before the camera what to do: in the bar at a terminal, else a line each time that it changes.
struct Guide {
    bar: ProgressBar,
    shots: u8,
    told: String,
    not_before: Instant,
}

impl Guide {
    fn new(ctx: &Context, shots: u8) -> Self {
        let bar = ctx.out.progress(shots.into(), "look at the camera, and turn a little between");
        Self { bar, shots, told: String::new(), not_before: Instant::now() }
    }

    fn tell(&mut self, taken: usize, refusal: Option<&Refusal>) {
        self.bar.set_position(taken as u64);
        let says = match refusal {
            Some(refusal) => refusal.guidance(),
            None => format!("{taken} of {} taken; turn a little", self.shots),
        };
        // A face at the edge of what will do changes with every frame.
        if self.told == says || (refusal.is_some() && Instant::now() < self.not_before) {
            return;
        }
        self.bar.set_message(says.clone());
        if self.bar.is_hidden() {
            note(&says);
        }
        (self.told, self.not_before) = (says, Instant::now() + CAMERA_PAUSE);
    }
}

/// What counts as somebody else's face, and as the same person's.
fn rules(known: &Known, mode: Mode) -> Rules {
    let fallback = Similarity::new(ALIKE_WITHOUT_TABLE).unwrap_or(Similarity::MAX);
    let loose =
        Fmr::new(SAME_PERSON_FMR).and_then(|fmr| Some(known.scale.calibration.as_ref()?.threshold_for(fmr).similarity));
    // From where the door itself would take a face for theirs: a search asks for more than a claim.
    let taken_for_them = match mode {
        Mode::Recognition => known.scale.identify,
        Mode::Verification => known.scale.verify,
    };
    let somebody_else = taken_for_them.unwrap_or(fallback);
    Rules { somebody_else, same_person: loose.unwrap_or(Similarity::MIN) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Globals;
    use crate::hw::store::Store;

    #[test]
    fn a_face_is_somebody_elses_from_where_the_door_takes_it_for_theirs_in_a_search_or_in_a_claim() {
        let state = tempfile::tempdir().unwrap();
        let mut ctx = Context::without_config(Globals::default());
        ctx.config.store.state_dir = Some(state.path().to_owned());
        ctx.config.gate.target_fmr = Fmr::new(1e-6).unwrap();
        let sitting = Sitting::new(&ctx, Name::new("Ana").unwrap()).unwrap();
        let scale = &sitting.known.scale;
        assert!(scale.identify > scale.verify && scale.verify.is_some());
        assert_eq!(Some(sitting.rules.somebody_else), scale.identify);
        assert_eq!(Some(rules(&sitting.known, Mode::Verification).somebody_else), scale.verify);
    }

    #[test]
    fn somebody_enrolled_while_the_camera_looked_may_be_the_same_and_nobody_is_enrolled_beside_them() {
        let state = tempfile::tempdir().unwrap();
        let mut ctx = Context::without_config(Globals::default());
        ctx.config.store.state_dir = Some(state.path().to_owned());
        let name = |text| Name::new(text).unwrap();
        let mut sitting = Sitting::new(&ctx, name("Ana")).unwrap();
        let ada = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/ada-1.jpg"));
        let ada = photo::load(&ada).unwrap();
        assert!(sitting.take_photo(&ada, CAMERA).unwrap().is_none());
        let mut other = Store::open(&ctx.store_path().unwrap(), &ctx.found_key().unwrap().key).unwrap();
        other.enrol(&NewPerson::new(name("Ada")), &sitting.taken, 8, ctx.act()).unwrap();
        let nothing = Changes { expires: None, schedule: None, consent: None };
        let refused = sitting.keep(nothing).unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(refused.to_string().contains("changed meanwhile, and nothing was written: enrol again"), "{refused}");
        assert_eq!(other.people().unwrap().len(), 1);
    }
}

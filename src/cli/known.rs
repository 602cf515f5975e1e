//! The gallery as commands use it once: everybody, the index, and what counts as the same person.

use std::collections::BTreeMap;

use super::context::{Context, dims};
use super::exit::Failure;
use super::run::thresholds;
use crate::config::Config;
use crate::daemon::MatchThresholds;
use crate::face::pipeline::{Faces, Portrait};
use crate::face::quality::{self, Limits};
use crate::gallery::calibrate::Calibration;
use crate::gallery::{Comparisons, Decider, Hit, Index, Person, Scratch, Template};
use crate::gate::{Finding, Member, Outcome, PoorMeasure, Schedule};
use crate::hw::clock::BootClock;
use crate::hw::store::Store;
use crate::infer::ModelSpec;
use crate::person::PersonId;
use crate::ports::Clock as _;
use crate::time::Now;
use crate::units::{Fmr, Similarity};

/// See the module.
pub struct Known {
    pub store: Store,
    pub people: Vec<Person>,
    pub index: Index,
    pub scale: Scale,
    pub limits: Limits,
    /// How far the best must be ahead of the next.
    pub margin: f32,
    pub scratch: Scratch,
    /// How many of this network each has.
    photographs: BTreeMap<PersonId, usize>,
    now: Now,
}

/// What judges, its table from score to false match rate, and what is demanded.
pub struct Scale {
    pub decider: Decider,
    pub calibration: Option<Calibration>,
    /// For one comparison; `None` where no table reaches the rate that the configuration demands.
    pub verify: Option<Similarity>,
    /// For a search among everybody.
    pub identify: Option<Similarity>,
    /// Whether the door searches; where it only hears claims nobody misses `identify`.
    pub searches: bool,
    verify_target: Fmr,
    identify_target: Fmr,
}

/// What a search said of one face.
pub struct Judgement {
    pub outcome: Outcome,
    /// Who it is, where that is certain.
    pub name: Option<String>,
    pub best: Option<Hit>,
    pub runner_up: Option<Hit>,
    pub poor: Option<PoorMeasure>,
}

impl Scale {
    /// For comparisons that count as so many.
    pub fn new(ctx: &Context, model: &ModelSpec, comparisons: Comparisons) -> Result<Self, Failure> {
        let decider = ctx.decider(model)?;
        let calibration = ctx.table(model, &decider)?;
        Ok(Self::of(decider, calibration, &ctx.config, comparisons))
    }

    /// By this table, which need not be the one in force.
    pub fn of(decider: Decider, table: Option<Calibration>, config: &Config, comparisons: Comparisons) -> Self {
        let MatchThresholds { identify, verify, searches } = thresholds(table.clone(), config)(comparisons);
        let (identify_target, verify_target) = (config.gate.target_fmr, config.gate.verify_target_fmr);
        Self { decider, calibration: table, verify, identify, searches, verify_target, identify_target }
    }

    /// Which of the rates that this door goes by nothing that was measured reaches.
    pub fn unreached(&self) -> Vec<String> {
        let search = (self.searches && self.identify.is_none()).then(|| self.identify_rate());
        search.into_iter().chain(self.verify.is_none().then(|| self.verify_rate())).collect()
    }

    /// Why nobody knows what a search needs, where [`Scale::identify`] is `None`.
    pub fn no_identify(&self) -> String {
        self.because(&self.identify_rate())
    }

    /// The same for a claim.
    pub fn no_verify(&self) -> String {
        self.because(&self.verify_rate())
    }

    fn identify_rate(&self) -> String {
        format!("gate.target_fmr = {}", as_configured(self.identify_target))
    }

    fn verify_rate(&self) -> String {
        format!("gate.verify_target_fmr = {}", as_configured(self.verify_target))
    }

    fn because(&self, rate: &str) -> String {
        match self.calibration {
            Some(_) => format!("the table doesn't reach {rate}"),
            None => "no table says what is needed".into(),
        }
    }

    /// The false match rate at a score; `None` without a table for the model, and for scores below all of it.
    pub fn fmr(&self, similarity: Similarity) -> Option<f64> {
        self.calibration.as_ref()?.fmr_at(similarity).map(Fmr::get)
    }
}

impl Known {
    /// Opens the store for reading and indexes what the encoder of `faces` has made.
    pub fn open(ctx: &Context, faces: &Faces) -> Result<Self, Failure> {
        Ok(Self::open_for(ctx, faces.encoder.spec())?.0)
    }

    /// The same with every template of the store, for this network.
    pub fn open_for(ctx: &Context, model: &ModelSpec) -> Result<(Self, Vec<Template>), Failure> {
        // What is wrong with it is told first, and without a gallery, too.
        ctx.decider(model)?;
        Self::of(ctx.store_for_reading_templates()?, ctx, model)
    }

    /// The same with a store that somebody is to be written into, which is made where there is none.
    pub fn open_to_enrol(ctx: &Context, faces: &Faces) -> Result<Self, Failure> {
        Ok(Self::of(ctx.store()?, ctx, faces.encoder.spec())?.0)
    }

    fn of(store: Store, ctx: &Context, model: &ModelSpec) -> Result<(Self, Vec<Template>), Failure> {
        let dims = dims(model)?;
        let templates = store.templates()?;
        let index = Index::of_people(&model.sha256, dims, &templates)?;
        if let Some(other) = index.other_model() {
            super::note(format_args!("facelatch: {other}"));
        }
        let scale = Scale::new(ctx, model, index.comparisons())?;
        let index = index.decided_by(scale.decider.clone())?;
        if scale.calibration.is_none() {
            super::note(format_args!("facelatch: {}", no_table(&model.name, &scale.decider)));
        }
        let mut photographs = BTreeMap::new();
        for template in templates.iter().filter(|template| template.model_sha256 == model.sha256) {
            *photographs.entry(template.person).or_default() += 1;
        }
        let (people, scratch) = (store.people()?, index.scratch());
        let (limits, margin, now) = (ctx.config.limits(), ctx.config.gate.margin, BootClock.now());
        Ok((Self { store, people, index, scale, limits, margin, scratch, photographs, now }, templates))
    }

    pub fn person(&self, id: PersonId) -> Option<&Person> {
        self.people.iter().find(|person| person.id == id)
    }

    /// The name, or the number where there is none any more.
    pub fn name(&self, id: PersonId) -> String {
        self.person(id).map_or_else(|| id.to_string(), |person| person.name.to_string())
    }

    /// The false match rate at a score with this person, who counts as two where several photographs are enrolled; see
    /// [`Scale::fmr`].
    pub fn fmr(&self, person: PersonId, similarity: Similarity) -> Option<f64> {
        let photographs = self.photographs.get(&person).copied().unwrap_or_default();
        let counts_as = Comparisons::ONE.grown(0, photographs).claim;
        Some(self.scale.fmr(similarity)? * counts_as as f64)
    }

    /// Who it is, by what the gate holds of one frame.
    pub fn identify(&mut self, face: &Portrait) -> Judgement {
        let ranked = self.index.search(&face.encoding, &mut self.scratch);
        let mut judgement = Judgement {
            outcome: Outcome::NotRecognised,
            name: None,
            best: ranked.best,
            runner_up: ranked.runner_up,
            poor: quality::check(&face.quality, &self.limits).err(),
        };
        if judgement.poor.is_some() {
            judgement.outcome = Outcome::PoorQuality;
            return judgement;
        }
        match ranked.seen(None).recognised(self.scale.identify, self.margin) {
            Finding::Match(best) => {
                judgement.name = Some(self.name(best.person));
                judgement.outcome = self.admission(best.person);
            }
            Finding::Ambiguous { .. } => judgement.outcome = Outcome::Ambiguous,
            Finding::Below(_) => {}
        }
        judgement
    }

    /// Whether somebody who was recognised may come in now.
    pub fn admission(&self, id: PersonId) -> Outcome {
        let Some(person) = self.person(id) else { return Outcome::NotRecognised };
        let member = Member { id, expires: person.expires, schedule: Schedule::parse(&person.schedule).ok() };
        member.permits(self.now).map_or_else(|(outcome, _)| outcome, |()| Outcome::Granted)
    }
}

/// Two digits, or as many as it has: it may differ in the third alone from what a table reaches.
fn as_configured(rate: Fmr) -> String {
    let (short, whole) = (rate.to_string(), format!("{:e}", rate.get()));
    if whole.len() > short.len() { whole } else { short }
}

/// What to do where a decider's scores mean nothing yet.
pub fn no_table(model: &str, decider: &Decider) -> String {
    match decider {
        Decider::Threshold => format!(
            "there is no score table for {model}, so nobody is admitted by it; make one with `facelatch calibrate --keep`"
        ),
        Decider::PairHead(_) => format!(
            "the pair head of {model} has no score table, so nobody is admitted by it; make a file that has one with `facelatch \
             calibrate --decider pair-head --out FILE`, and name it as faces.pair_head"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_with_the_digits_that_tell_it_from_the_bound_it_misses() {
        assert_eq!(
            [1e-4, 0.5, 2.5e-7, 1.66e-7].map(|rate| as_configured(Fmr::new(rate).unwrap())),
            ["1.0e-4", "5.0e-1", "2.5e-7", "1.66e-7"]
        );
    }
}

use super::*;
use crate::liveness::Place;
use crate::ports::Value;

const FRAME: u64 = 40;

/// Calls alive whatever is as warm as a face, or, without a thermometer, whatever moves.
struct Warmth;

impl Scorer for Warmth {
    fn score(&mut self, window: &Window) -> Result<Score, InferError> {
        let mut without = window.clone();
        without.mask(Channel::ObjectC);
        let warmth: f32 = window.rows().iter().zip(without.rows()).map(|(a, b)| a - b).sum();
        let is_warm = window.ticks(Channel::ObjectC) > 0 && warmth > 55.0;
        Ok(Score { log_odds: if is_warm { 3.0 } else { -3.0 }, attack: Class::Print })
    }

    fn weights(&mut self, window: &Window) -> Result<Vec<(Channel, f32)>, InferError> {
        let score = self.score(window)?;
        Ok(vec![(Channel::ObjectC, score.log_odds)])
    }
}

fn table() -> Thresholds {
    let subset = |sensors: &str| {
        format!(
            "[[subset]]\nsensors = [{sensors}]\npoints = [{{ bpcer = 0.01, score = 1.0, apcer_worst = 0.0, worst = \"phone\" }}]\n"
        )
    };
    let text = subset("\"camera\", \"thermometer\"") + &subset("\"camera\", \"thermometer\", \"light\"");
    Thresholds::parse(&format!("evaluation = \"made up\"\nwindows = 1\n{text}")).unwrap()
}

struct Door {
    judge: Judge,
    now: u64,
    reports: Vec<(u64, Verdict, Option<Reason>)>,
}

impl Door {
    fn new(sources: &[Source]) -> Self {
        let sources: SourceSet = sources.iter().copied().chain([Source::Camera]).collect();
        let required = SourceSet::default().with(Source::Thermometer);
        let demands = Demands { sources, required, target_bpcer: 0.01, thresholds: table() };
        Self { judge: Judge::new(demands, Box::new(Warmth), 60.0), now: 1000, reports: Vec::new() }
    }

    /// For so many milliseconds: a face, or none, and what the thermometer says, if anything.
    fn plays(&mut self, ms: u64, face: bool, celsius: Option<f32>) {
        self.shows(ms, face.then_some(FRAME), &TrackUpdate::Gone, celsius);
    }

    /// The same of a camera that shows the face in one frame of so many milliseconds and says this in all others.
    fn shows(&mut self, ms: u64, each: Option<u64>, otherwise: &TrackUpdate, celsius: Option<f32>) {
        for _ in 0..ms / FRAME {
            self.now += FRAME;
            let at = Instant::from_millis(self.now);
            if each.is_some_and(|each| self.now.is_multiple_of(each)) {
                let of_camera = Channel::all().filter(|channel| channel.source() == Source::Camera);
                let samples = of_camera
                    .map(|channel| {
                        let [low, high] = channel.spec().limits;
                        Sample { at, channel, value: low.midpoint(high) }
                    })
                    .collect();
                let place = Place { at, x: 0.0, y: 0.0, eye_gap: 0.1 };
                self.judge.update(&TrackUpdate::Same(FaceSample { place, size_px: 60.0, samples }));
            } else {
                self.judge.update(otherwise);
            }
            if let Some(object) = celsius {
                self.judge.reading(&Reading { at, value: Value::Thermometer { object, ambient: 20.0 } });
            }
            if let Some(report) = self.judge.judge(at) {
                // A verdict's evidence begins where the first of the windows does that agree on it.
                let before = match report.verdict {
                    Verdict::Live => AGREE_LIVE - 1,
                    Verdict::Spoof => AGREE_SPOOF - 1,
                    Verdict::Inconclusive => 0,
                };
                assert!(report.from + SPAN + HOP * before as u32 <= report.until && report.until <= at, "{report:?}");
                self.reports.push((self.now, report.verdict, report.evidence[0]));
            }
        }
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.reports.iter().map(|(_, verdict, _)| *verdict).collect()
    }
}

#[test]
fn somebody_warm_is_alive_after_a_window_and_one_more() {
    let mut door = Door::new(&[Source::Thermometer]);
    door.plays(3000, true, Some(34.0));
    let first = door.reports.iter().find(|(_, verdict, _)| *verdict == Verdict::Live).unwrap().0;
    assert!((3160..=3240).contains(&first), "{:?}", door.reports);
    assert!(!door.verdicts().contains(&Verdict::Spoof));
}

#[test]
fn a_window_that_passes_looks_live_although_one_is_not_enough_and_one_that_does_not_looks_like_an_attack() {
    for (celsius, what, score) in [(34.0, "live", 3.0), (24.0, "print", -3.0)] {
        let mut door = Door::new(&[Source::Thermometer]);
        while door.reports.is_empty() {
            door.plays(FRAME, true, Some(celsius));
        }
        let looks_like = Reason::LooksLike { what, score, needed: 1.0 };
        assert_eq!((door.reports[0].1, door.reports[0].2), (Verdict::Inconclusive, Some(looks_like)), "{celsius} °C");
    }
}

#[test]
fn something_cold_is_an_attack_after_five_windows_and_never_alive() {
    let mut door = Door::new(&[Source::Thermometer]);
    door.plays(4000, true, Some(24.0));
    assert_eq!(door.verdicts()[..4], [Verdict::Inconclusive; 4]);
    assert!(door.verdicts()[4..].iter().all(|verdict| *verdict == Verdict::Spoof), "{:?}", door.reports);
}

#[test]
fn a_window_that_was_judged_is_not_judged_again_while_the_face_is_covered() {
    for celsius in [34.0, 24.0] {
        let mut door = Door::new(&[Source::Thermometer]);
        while door.reports.is_empty() {
            door.plays(FRAME, true, Some(celsius));
        }
        door.shows(200, None, &TrackUpdate::Missing, Some(celsius));
        assert_eq!(door.verdicts(), [Verdict::Inconclusive], "{celsius} °C: one window is all that was seen");
        door.plays(FRAME, true, Some(celsius));
        assert_eq!(door.reports.len(), 2, "{celsius} °C: the next window ends at another frame");
        door.shows(400, None, &TrackUpdate::Missing, Some(celsius));
        assert_eq!(door.reports.len(), 2, "{celsius} °C: and none after it");
    }
}

#[test]
fn a_face_in_each_second_frame_is_judged_and_a_rarer_one_is_inconclusive_for_too_few_frames() {
    let mut door = Door::new(&[Source::Thermometer]);
    door.shows(4000, Some(2 * FRAME), &TrackUpdate::Missing, Some(34.0));
    assert_eq!(door.verdicts().last(), Some(&Verdict::Live), "12.5 a second");
    for each in [3, 6, 10] {
        let mut door = Door::new(&[Source::Thermometer]);
        door.shows(6000, Some(each * FRAME), &TrackUpdate::Missing, Some(34.0));
        let few = Reason::SensorMissing { sensor: "camera", why: "too few frames" };
        assert!(door.reports.len() > 5, "each {each}.");
        assert!(
            door.reports.iter().all(|report| (report.1, report.2) == (Verdict::Inconclusive, Some(few))),
            "each {each}.: {:?}",
            door.reports
        );
    }
}

#[test]
fn a_window_counts_from_twenty_two_frames_on() {
    // Of twelve and a half a second twenty-five lie in a window.
    for (lost, is_few) in [(3, false), (4, true)] {
        let mut door = Door::new(&[Source::Thermometer]);
        door.shows(3200, Some(2 * FRAME), &TrackUpdate::Missing, Some(34.0));
        for _ in 0..lost {
            door.shows(2 * FRAME, None, &TrackUpdate::Missing, Some(34.0));
            door.shows(2 * FRAME, Some(2 * FRAME), &TrackUpdate::Missing, Some(34.0));
        }
        door.shows(400, Some(2 * FRAME), &TrackUpdate::Missing, Some(34.0));
        let few = Reason::SensorMissing { sensor: "camera", why: "too few frames" };
        let last = door.reports.last().unwrap();
        assert_eq!(last.2 == Some(few), is_few, "{lost} lost: {:?}", door.reports);
    }
}

#[test]
fn a_sensor_counts_from_thirty_measurements_in_the_window_on() {
    // A window ends at each fifth frame: once where there are thirty measurements, and once where there is one fewer.
    for frames in [100, 101] {
        let mut door = Door::new(&[Source::Thermometer]);
        door.plays(FRAME * frames, true, None);
        let few = Some(Reason::SensorMissing { sensor: "thermometer", why: "too few measurements" });
        let mut judged = Vec::new();
        for n in 1..=35 {
            door.reports.clear();
            door.plays(FRAME, true, Some(34.0));
            judged.extend(door.reports.iter().map(|report| (n, report.2 == few)));
        }
        assert!(judged.iter().all(|(n, is_few)| *is_few == (*n < 30)), "{judged:?}");
        assert!(judged.contains(&if frames == 100 { (30, false) } else { (29, true) }), "{judged:?}");
    }
}

#[test]
fn a_required_sensor_that_is_silent_or_distrusted_is_inconclusive_and_named() {
    let mut door = Door::new(&[Source::Thermometer]);
    door.plays(4000, true, None);
    assert!(!door.reports.is_empty());
    let silent = Reason::SensorMissing { sensor: "thermometer", why: "too few measurements" };
    assert!(door.reports.iter().all(|report| (report.1, report.2) == (Verdict::Inconclusive, Some(silent))));
    door.reports.clear();
    door.plays(1200, true, Some(34.0));
    door.judge.distrust(Source::Thermometer, "stuck");
    door.reports.clear();
    door.plays(400, true, None);
    let stuck = Reason::SensorMissing { sensor: "thermometer", why: "stuck" };
    assert!(door.reports.iter().all(|report| (report.1, report.2) == (Verdict::Inconclusive, Some(stuck))));
    assert!(!door.reports.is_empty());
}

#[test]
fn a_window_that_a_distrusted_sensor_took_part_in_counts_for_nothing_either() {
    for (is_distrusted, second) in [(false, Verdict::Live), (true, Verdict::Inconclusive)] {
        let mut door = Door::new(&[Source::Thermometer, Source::Light]);
        while door.reports.is_empty() {
            let at = Instant::from_millis(door.now + FRAME);
            door.judge.reading(&Reading { at, value: Value::Light(200.0) });
            door.plays(FRAME, true, Some(34.0));
        }
        while door.reports.len() < 3 {
            if is_distrusted {
                door.judge.distrust(Source::Light, "stuck");
            }
            door.plays(FRAME, true, Some(34.0));
        }
        assert_eq!(door.verdicts(), [Verdict::Inconclusive, second, Verdict::Live], "{is_distrusted}");
    }
}

#[test]
fn evidence_of_whoever_stood_there_before_does_not_count() {
    let mut door = Door::new(&[Source::Thermometer]);
    door.plays(3000, true, Some(34.0));
    door.plays(200, false, Some(34.0));
    door.reports.clear();
    door.plays(1960, true, Some(34.0));
    assert!(door.reports.is_empty(), "{:?}", door.reports);
    let place = Place { at: Instant::from_millis(door.now), x: 0.0, y: 0.0, eye_gap: 0.1 };
    door.judge.update(&TrackUpdate::Another(FaceSample { place, size_px: 60.0, samples: heapless::Vec::new() }));
    door.plays(1920, true, Some(34.0));
    assert!(door.reports.is_empty(), "{:?}", door.reports);
}

#[test]
fn a_face_of_a_session_that_comes_back_later_begins_anew() {
    let mut judge = Door::new(&[]).judge;
    let face = [Sample { at: Instant::BOOT, channel: Channel::FaceSize, value: 0.1 }];
    let mut since = |at| {
        judge.moment(Instant::from_millis(at), &face);
        judge.since()
    };
    assert_eq!(since(1000), Some(Instant::from_millis(1000)));
    assert_eq!(since(1400), Some(Instant::from_millis(1000)), "a frame or two without a face");
    assert_eq!(since(1801), Some(Instant::from_millis(1801)));
}

#[test]
fn sensors_that_no_table_knows_together_call_nobody_alive() {
    let mut door = Door::new(&[Source::Thermometer, Source::Touch]);
    door.plays(3000, true, Some(34.0));
    assert!(door.verdicts().contains(&Verdict::Live), "touch is silent and not required");
    for at in (1000..4000).step_by(20) {
        let at = Instant::from_millis(door.now + at);
        door.judge.reading(&Reading { at, value: Value::Touch(0.5) });
    }
    door.reports.clear();
    let ahead = door.now;
    door.plays(3000, true, Some(34.0));
    let late: Vec<_> = door.reports.iter().filter(|report| report.0 > ahead + 2500).collect();
    let no_score = Some(Reason::SensorMissing { sensor: "head", why: "no score" });
    assert!(!late.is_empty() && late.iter().all(|report| report.2 == no_score), "{late:?}");
}

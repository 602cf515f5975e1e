//! What setup asks, in this order, and the dialogue as a state machine: it knows neither a terminal nor a file.

use super::found::{Before, Found};
use super::plan::{BY_CAMERA, Plan};

/// A line that nothing is wired to, or no sensor.
pub const NONE: &str = "none";
/// No person.
pub const NOBODY: &str = "nobody";

/// One thing that may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub answer: String,
    pub says: String,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    YesNo,
    /// One of the choices, or another value of that kind.
    One,
    /// Any of the choices, or other values of that kind, with commas between.
    Many,
    Text,
}

/// One question.
pub struct Question {
    /// Its name in a file of answers.
    pub key: &'static str,
    pub asks: &'static str,
    /// Why it is asked.
    pub why: &'static str,
    pub form: Form,
    /// When it is asked, behind "asked only where"; empty where a new configuration is enough.
    pub when: &'static str,
    is_due: fn(&Plan, &Found) -> bool,
    choices: fn(&Found) -> Vec<Choice>,
    default: fn(&Found) -> Option<String>,
    take: fn(&mut Plan, &Found, &str) -> Result<(), String>,
}

impl Question {
    /// What was found that may be answered.
    pub fn choices(&self, found: &Found) -> Vec<Choice> {
        (self.choices)(found)
    }

    /// What counts where nothing is answered; without one it must be.
    pub fn default(&self, found: &Found) -> Option<String> {
        (self.default)(found)
    }
}

/// The key whose answer may stand in a file for nothing: the same file is used on a bare board and again.
pub const REPLACE: &str = "replace";

fn anew(plan: &Plan, _: &Found) -> bool {
    !plan.keeps
}

fn no_choices(_: &Found) -> Vec<Choice> {
    Vec::new()
}

fn choices(pairs: &[(&str, &str)]) -> Vec<Choice> {
    pairs.iter().map(|(answer, says)| Choice { answer: (*answer).into(), says: (*says).into() }).collect()
}

fn lines(found: &Found) -> Vec<Choice> {
    let free = format!("by its name, its number, or with its chip as in /dev/gpiochip0:17; {}", found.free_lines());
    choices(&[(NONE, "nothing is wired"), ("a line", &free)])
}

/// All of them.
pub static QUESTIONS: [Question; 15] = [
    Question {
        key: REPLACE,
        asks: "There is a configuration already. Write a new one in its place?",
        why: "With no it stays as it is, and only key, person and the last look are left to do. With yes it is kept beside the \
              new one as a copy, and what setup doesn't ask for is not taken over: it is named before anything is written.",
        form: Form::YesNo,
        when: "a configuration is there that says more than the defaults",
        is_due: |_, found| matches!(found.before, Before::Configured(_) | Before::Wrong(_)),
        choices: no_choices,
        default: |_| Some("no".into()),
        take: Plan::take_replace,
    },
    Question {
        key: "camera.device",
        asks: "Which camera looks at the door?",
        why: "A name below /dev/v4l/by-id stays the same whatever else is plugged in. For a trial without a camera: a folder of \
              pictures, or a video; the service sees none below /home, /root or /tmp.",
        form: Form::One,
        when: "",
        is_due: anew,
        choices: Found::camera_choices,
        default: |found| match &found.cameras[..] {
            [only] => Some(only.device.display().to_string()),
            _ => None,
        },
        take: Plan::take_camera,
    },
    Question {
        key: "strike.line",
        asks: "Which GPIO line does the relay of the strike hang on?",
        why: "With none nothing moves: what the door would do is only told and written down. Wire first, as \
              docs/wiring.md says; on a Raspberry Pi 17, 22 or 27 for a relay that draws high, 5 or 6 for one that draws low, of \
              the chip that begins with pinctrl-.",
        form: Form::Text,
        when: "",
        is_due: anew,
        choices: lines,
        default: |_| Some(NONE.into()),
        take: Plan::take_strike,
    },
    Question {
        key: "strike.active_low",
        asks: "Does the relay draw when the line is low?",
        why: "The wrong answer releases the door when it should be locked. Relay boards often have a jumper for it; high is the \
              better choice.",
        form: Form::YesNo,
        when: "a strike is wired",
        is_due: |plan, found| anew(plan, found) && plan.wires_strike(),
        choices: no_choices,
        default: |_| Some("no".into()),
        take: Plan::take_active_low,
    },
    Question {
        key: "strike.fail",
        asks: "What does the lock do without power?",
        why: "It decides at which level the door is locked. Which of the two the door may have is for whoever answers for fire \
              protection to say.",
        form: Form::One,
        when: "a strike is wired",
        is_due: |plan, found| anew(plan, found) && plan.wires_strike(),
        choices: |_| choices(&[("secure", "it stays locked: a strike"), ("safe", "it opens: a magnet")]),
        default: |_| Some("secure".into()),
        take: Plan::take_fail,
    },
    Question {
        key: "inputs.exit_button",
        asks: "Which line does the exit button hang on?",
        why: "It opens from inside whatever camera, network and disk do. Taken for one that pulls its line to ground.",
        form: Form::Text,
        when: "",
        is_due: anew,
        choices: lines,
        default: |_| Some(NONE.into()),
        take: Plan::take_button,
    },
    Question {
        key: "inputs.door_contact",
        asks: "Which line does the door contact hang on?",
        why: "Without it a forced or open door goes unnoticed. Taken for a reed contact to ground that the closed door closes.",
        form: Form::Text,
        when: "",
        is_due: anew,
        choices: lines,
        default: |_| Some(NONE.into()),
        take: Plan::take_contact,
    },
    Question {
        key: "sensors",
        asks: "Which sensors are there beside the camera?",
        why: "They tell a living person from a picture. The door stays shut while one that is named here is silent, so name only \
              what is wired.",
        form: Form::Many,
        when: "",
        is_due: anew,
        choices: |found| [choices(&[(NONE, "the camera alone")]), found.sensor_choices()].concat(),
        default: |_| Some(NONE.into()),
        take: Plan::take_sensors,
    },
    Question {
        key: "camera.view_deg",
        asks: "How many degrees does the camera see across?",
        why: "With it a face's size tells its distance, which the sensors confirm or not. Data sheets call it the horizontal \
              field of view.",
        form: Form::Text,
        when: "a sensor measures distance, depth or a thermal picture",
        is_due: |plan, found| anew(plan, found) && plan.measures_distance(),
        choices: no_choices,
        default: |_| Some(crate::config::Liveness::default().camera_view_deg.to_string()),
        take: Plan::take_view,
    },
    Question {
        key: "liveness.opens",
        asks: "No sensor tells a person from a picture. Who may move the strike all the same?",
        why: "A camera alone is deceived by good pictures: by simulation four in ten of all attacks' windows pass, and nine in \
              ten of the worst attack's (models/cards/liveness.md).",
        form: Form::One,
        when: "a strike is wired and no sensor helps the camera",
        is_due: |plan, found| anew(plan, found) && plan.has_camera_alone(),
        choices: |_| {
            choices(&[
                (NOBODY, "the strike stays still until there is a sensor"),
                ("camera", "whoever the camera takes for alive"),
                ("photograph", "whoever holds up a photograph, too: liveness is off"),
            ])
        },
        default: |_| Some(NOBODY.into()),
        take: Plan::take_opens,
    },
    Question {
        key: "store.state_dir",
        asks: "Where are people and events kept?",
        why: "The service can write nowhere but in /var/lib/facelatch.",
        form: Form::Text,
        when: "",
        is_due: anew,
        choices: no_choices,
        default: |found| Some(found.state_dir.display().to_string()),
        take: Plan::take_state_dir,
    },
    Question {
        key: "store.key_file",
        asks: "Where is the key that seals the faces?",
        why: "It is made where there is none, and one that is there is never replaced. Who has key and faces can read them, so \
              not in the same directory. The service takes it from /etc/facelatch/facelatch.key.",
        form: Form::Text,
        when: "",
        is_due: anew,
        choices: no_choices,
        default: |found| Some(found.key_file.display().to_string()),
        take: Plan::take_key_file,
    },
    Question {
        key: "person.name",
        asks: "Who is enrolled first?",
        why: "So that there is somebody whom the door knows. Others follow with `facelatch enroll`.",
        form: Form::Text,
        when: "",
        is_due: |_, _| true,
        choices: |_| choices(&[(NOBODY, "not now")]),
        default: |_| Some(NOBODY.into()),
        take: Plan::take_person,
    },
    Question {
        key: "person.consent",
        asks: "How and when did they agree to be recognised?",
        why: "A face is biometric data: without their consent nobody is enrolled. Kept as their consent note, such as \"in \
              person, 2026-11-28\".",
        form: Form::Text,
        when: "somebody is enrolled",
        is_due: |plan, _| plan.person.is_some(),
        choices: |_| choices(&[("no", "they have not, and are not enrolled")]),
        default: |_| None,
        take: Plan::take_consent,
    },
    Question {
        key: "person.photos",
        asks: "From the door's camera, or from photographs?",
        why: "Pictures of the door's own camera in the door's own light are the better ones. Photographs are not kept.",
        form: Form::Many,
        when: "somebody is enrolled",
        is_due: |plan, _| plan.person.is_some(),
        choices: |_| choices(&[(BY_CAMERA, "they stand before it now")]),
        default: |_| Some(BY_CAMERA.into()),
        take: Plan::take_photos,
    },
];

/// The dialogue: the question that is due, and what was answered so far.
pub struct Interview<'a> {
    found: &'a Found,
    plan: Plan,
    next: usize,
}

impl<'a> Interview<'a> {
    pub fn new(found: &'a Found) -> Self {
        Self { found, plan: Plan::default(), next: 0 }
    }

    fn due(&self) -> Option<usize> {
        (self.next..QUESTIONS.len()).find(|&i| (QUESTIONS[i].is_due)(&self.plan, self.found))
    }

    /// The question that is to be answered now; `None` at the end.
    pub fn question(&self) -> Option<&'static Question> {
        self.due().map(|i| &QUESTIONS[i])
    }

    /// Takes an answer to that question; an empty one stands for the default.
    ///
    /// # Errors
    /// Why it won't do. The question is still due, and nothing has changed.
    pub fn answer(&mut self, text: &str) -> Result<(), String> {
        let Some(i) = self.due() else { return Ok(()) };
        let question = &QUESTIONS[i];
        let given = Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let text = given.or_else(|| question.default(self.found)).ok_or("it needs an answer")?;
        let mut plan = self.plan.clone();
        (question.take)(&mut plan, self.found, &text)?;
        (self.plan, self.next) = (plan, i + 1);
        Ok(())
    }

    /// What was answered.
    pub fn plan(self) -> Plan {
        self.plan
    }
}

#[cfg(test)]
pub mod tests;

//! Who answers: a person at a terminal. The other is a file, in `answers`.

use std::io::{BufRead, Write};

use super::found::Found;
use super::plan::Plan;
use super::question::{Choice, Form, Interview, Question};
use crate::cli::exit::{Code, Failure};
use crate::hw::journal::harmless;

/// So often an answer may be wrong before setup gives up.
const MAX_TRIES: usize = 10;
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 8192;

/// Whoever answers.
pub trait Answers {
    /// The answer to a question; empty takes the default.
    ///
    /// # Errors
    /// There will be none.
    fn answer(&mut self, question: &Question, found: &Found) -> Result<String, Failure>;

    /// The last answer won't do, because of `why`: `Ok` to be asked again.
    ///
    /// # Errors
    /// There will be no better one.
    fn refused(&mut self, question: &Question, found: &Found, why: &str) -> Result<(), Failure>;

    /// All was asked, and this configuration comes of it: whether it is to be written.
    ///
    /// # Errors
    /// Something was answered that nobody asked for; nobody says yes or no.
    fn agree(&mut self, configuration: Option<&str>) -> Result<bool, Failure>;
}

/// Asks everything that is due.
///
/// # Errors
/// As [`Answers`].
pub fn hold(found: &Found, answers: &mut dyn Answers) -> Result<Plan, Failure> {
    let mut interview = Interview::new(found);
    let mut tries = 0;
    while let Some(question) = interview.question() {
        let text = answers.answer(question, found)?;
        match interview.answer(&text) {
            Ok(()) => tries = 0,
            Err(why) => {
                answers.refused(question, found, &why)?;
                tries += 1;
                if tries >= MAX_TRIES {
                    return Err(Failure::said(Code::Data, format!("{}: {why}; nothing was written", question.key)));
                }
            }
        }
    }
    Ok(interview.plan())
}

/// A person who reads `out` and types into `input`.
pub struct Terminal<R, W> {
    pub input: R,
    pub out: W,
}

impl<R: BufRead, W: Write> Terminal<R, W> {
    fn line(&mut self) -> Result<String, Failure> {
        self.out.flush().map_err(Failure::output)?;
        let mut line = String::new();
        let read = std::io::Read::take(&mut self.input, MAX_ANSWER).read_line(&mut line);
        match read {
            Ok(0) => Err(Failure::said(Code::NoInput, "the answers ended here; nothing was written")),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => {
                Err(Failure::said(Code::Io, format!("the answer can't be read ({error}); nothing was written")))
            }
        }
    }

    fn say(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        self.out.write_all(harmless(&text.to_string()).as_bytes()).map_err(Failure::output)
    }
}

impl<R: BufRead, W: Write> Answers for Terminal<R, W> {
    fn answer(&mut self, question: &Question, found: &Found) -> Result<String, Failure> {
        let choices = question.choices(found);
        self.say(format_args!("\n{}\n  {}\n", question.asks, question.why))?;
        let numbers = matches!(question.form, Form::One | Form::Many);
        for (i, Choice { answer, says }) in choices.iter().enumerate() {
            match numbers {
                true => self.say(format_args!("  {}) {answer}: {says}\n", i + 1))?,
                false => self.say(format_args!("  {answer}: {says}\n"))?,
            }
        }
        match question.default(found) {
            Some(default) => self.say(format_args!("[{default}] > "))?,
            None => self.say(format_args!("> "))?,
        }
        let line = self.line()?;
        Ok(by_number(question.form, &choices, &line))
    }

    fn refused(&mut self, _: &Question, _: &Found, why: &str) -> Result<(), Failure> {
        self.say(format_args!("  That won't do: {why}.\n"))
    }

    fn agree(&mut self, configuration: Option<&str>) -> Result<bool, Failure> {
        let Some(text) = configuration else { return Ok(true) };
        self.say(format_args!("\nThis is the configuration:\n\n"))?;
        for line in text.lines() {
            self.say(format_args!("    {line}\n"))?;
        }
        for _ in 0..MAX_TRIES {
            self.say(format_args!("\nWrite it?\n[yes] > "))?;
            match &*self.line()?.to_ascii_lowercase() {
                "" | "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => {}
            }
        }
        Ok(false)
    }
}

/// A number stands for the choice that has it; with several, blanks do for commas.
fn by_number(form: Form, choices: &[Choice], line: &str) -> String {
    let one = |text: &str| {
        let n = text.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        n.and_then(|n| choices.get(n)).map(|choice| choice.answer.clone())
    };
    match form {
        Form::One => one(line).unwrap_or_else(|| line.to_owned()),
        Form::Many => {
            let parts: Vec<_> = line.split([',', ' ']).filter(|part| !part.is_empty()).collect();
            let numbered: Option<Vec<_>> = parts.iter().map(|part| one(part)).collect();
            numbered.filter(|_| !parts.is_empty()).map_or_else(|| line.to_owned(), |answers| answers.join(","))
        }
        Form::YesNo | Form::Text => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::question::tests::board;

    fn talk(found: &Found, typed: &str) -> (Result<Plan, Failure>, String) {
        let mut out = Vec::new();
        let plan = hold(found, &mut Terminal { input: typed.as_bytes(), out: &mut out });
        (plan, String::from_utf8(out).unwrap())
    }

    #[test]
    fn enter_takes_every_default_and_nothing_moves() {
        let (plan, said) = talk(&board(), &"\n".repeat(20));
        let plan = plan.unwrap();
        assert!(!plan.wires_strike() && plan.person.is_none() && plan.config.sensors.is_empty());
        assert_eq!(plan.config.camera.device.to_str(), Some("/dev/v4l/by-id/usb-Cam"));
        assert!(said.contains("Which camera looks at the door?\n  A name below /dev/v4l/by-id"), "{said}");
        assert!(said.contains("  1) /dev/v4l/by-id/usb-Cam: Cam, 640x480"), "{said}");
        assert!(said.contains("[/dev/v4l/by-id/usb-Cam] > "), "{said}");
        assert!(!said.contains("relay draw"), "what follows from no strike isn't asked");
    }

    #[test]
    fn an_answer_that_will_not_do_is_asked_again_and_not_for_ever() {
        let (plan, said) = talk(&board(), &format!("/dev/video9\n1\n17\nGPIO17\n{}", "\n".repeat(20)));
        assert!(plan.unwrap().wires_strike() || said.contains("stays still"));
        assert!(said.contains("That won't do: /dev/video9 is no camera that can be used"), "{said}");
        assert!(said.contains("That won't do: there is no line 17"), "{said}");
        let (plan, _) = talk(&board(), &"/dev/video9\n".repeat(50));
        assert!(plan.unwrap_err().to_string().contains("camera.device: /dev/video9 is no camera"));
    }

    #[test]
    fn answers_that_end_early_write_nothing() {
        let (plan, _) = talk(&board(), "\n\n");
        let error = plan.unwrap_err();
        assert_eq!((error.code(), error.to_string().contains("nothing was written")), (Code::NoInput, true));
        let mut out = Vec::new();
        assert!(!Terminal { input: &b"what?\nno\n"[..], out: &mut out }.agree(Some("[camera]")).unwrap());
        assert!(Terminal { input: &b"\n"[..], out: &mut out }.agree(Some("[camera]")).unwrap());
        assert!(Terminal { input: &b""[..], out: &mut out }.agree(Some("")).is_err());
    }

    #[test]
    fn a_number_is_the_choice_that_has_it_where_choices_are_numbered() {
        let choices = ["none", "a", "b"].map(|answer| Choice { answer: answer.into(), says: String::new() });
        let of = |form, line| by_number(form, &choices, line);
        assert_eq!(of(Form::One, "2"), "a");
        assert_eq!((of(Form::One, "9"), of(Form::One, "0")), ("9".into(), "0".into()));
        assert_eq!((of(Form::Many, "2, 3"), of(Form::Many, "3 2")), ("a,b".into(), "b,a".into()));
        assert_eq!((of(Form::Many, "2, x"), of(Form::Many, "")), ("2, x".into(), String::new()));
        assert_eq!(of(Form::Text, "2"), "2", "a line's number is no choice");
    }
}

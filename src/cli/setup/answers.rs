//! Answers out of a file of TOML, for a board without anybody at it, and the template of such a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ask::Answers;
use super::found::Found;
use super::question::{Form, QUESTIONS, Question, REPLACE};
use crate::cli::context::read_text;
use crate::cli::exit::{Code, Failure};
use crate::config::line_at;

/// A page of answers; more than this is some other file.
const MAX_BYTES: usize = 64 * 1024;

/// The answers of a file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    given: BTreeMap<String, Given>,
}

#[derive(Debug)]
struct Given {
    /// As a person would type it.
    text: String,
    line: usize,
    was_asked: bool,
}

impl File {
    /// # Errors
    /// It can't be read, is no TOML, or answers what nobody asks.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = read_text(path, MAX_BYTES).map_err(Failure::io(path))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let wrong = |line, why: String| Failure::said(Code::Data, format!("{}, line {line}: {why}", path.display()));
        if text.len() > MAX_BYTES {
            let why = format!("{}: answers have at most {MAX_BYTES} bytes; is this the right file?", path.display());
            return Err(Failure::said(Code::Data, why));
        }
        let table = DeTable::parse(text)
            .map_err(|error| wrong(error.span().map_or(1, |span| line_at(text, span.start)), error.message().into()))?;
        let mut given = BTreeMap::new();
        let mut tables = vec![(String::new(), table.get_ref())];
        while let Some((prefix, table)) = tables.pop() {
            for (name, value) in table {
                let (key, line) = (format!("{prefix}{}", name.get_ref()), line_at(text, name.span().start));
                if let DeValue::Table(inner) = value.get_ref() {
                    tables.push((format!("{key}."), inner));
                    continue;
                }
                if !QUESTIONS.iter().any(|question| question.key == key) {
                    let known: Vec<_> = QUESTIONS.iter().map(|question| question.key).collect();
                    return Err(wrong(line, format!("{key}: there is no such question, only {}", known.join(", "))));
                }
                let text = typed(value.get_ref()).map_err(|why| wrong(line, format!("{key}: {why}")))?;
                given.insert(key, Given { text, line, was_asked: false });
            }
        }
        Ok(Self { path: path.to_owned(), given })
    }

    fn failure(&self, line: Option<usize>, why: std::fmt::Arguments<'_>) -> Failure {
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        Failure::said(Code::Data, format!("{}{line}: {why}", self.path.display()))
    }
}

/// A value as a person would type it.
fn typed(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(is_so) => Ok(is_so.to_string()),
        DeValue::Array(parts) => {
            let text = |part: &DeValue<'_>| match part {
                DeValue::String(text) if !text.contains(',') => Ok(text.to_string()),
                _ => Err("a list is of strings without commas".to_owned()),
            };
            let parts = parts.iter().map(|part| text(part.get_ref())).collect::<Result<Vec<_>, _>>()?;
            Ok(parts.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => Err("a text, a number, true, false or a list of texts".into()),
    }
}

impl Answers for File {
    fn answer(&mut self, question: &Question, _: &Found) -> Result<String, Failure> {
        let given = self.given.get_mut(question.key);
        Ok(given.map_or_else(String::new, |given| {
            given.was_asked = true;
            given.text.clone()
        }))
    }

    fn refused(&mut self, question: &Question, found: &Found, why: &str) -> Result<(), Failure> {
        let line = self.given.get(question.key).map(|given| given.line);
        let could = question.choices(found).into_iter().map(|choice| format!("{} ({})", choice.answer, choice.says));
        let could = could.collect::<Vec<_>>().join(", ");
        let could = if could.is_empty() { could } else { format!("; it could be: {could}") };
        Err(self.failure(line, format_args!("{}: {why}{could}. {} Nothing was written", question.key, question.asks)))
    }

    fn agree(&mut self, _: Option<&str>) -> Result<bool, Failure> {
        let idle = self.given.iter().find(|(key, given)| !given.was_asked && *key != REPLACE);
        let Some((key, given)) = idle else { return Ok(true) };
        let when = QUESTIONS.iter().find(|question| question.key == key).map_or("", |question| question.when);
        let why = match when {
            "" => "there is a configuration, which stays: add replace = true for a new one".to_owned(),
            when => format!("asked only where {when}, which isn't so here: take it out"),
        };
        Err(self.failure(Some(given.line), format_args!("{key}: {why}. Nothing was written")))
    }
}

/// A file of answers to be filled in: what was found, and each default behind a `#`.
pub fn template(found: &Found) -> String {
    let mut text =
        "# Answers for `facelatch setup --answers FILE`. What stands behind a # is the default: take the # away to\n\
                    # change it.\n"
            .to_owned();
    // Writing to a string can't fail.
    let comment = |text: &mut String, line: &str| text.push_str(&format!("# {}\n", line.replace('\n', " ")));
    for question in &QUESTIONS {
        text.push('\n');
        comment(&mut text, question.asks);
        comment(&mut text, question.why);
        if !question.when.is_empty() {
            comment(&mut text, &format!("Asked only where {}.", question.when));
        }
        for choice in question.choices(found) {
            comment(&mut text, &format!("  {}: {}", choice.answer, choice.says));
        }
        let default = question.default(found);
        let value = value(question.form, default.as_deref().unwrap_or_default());
        let is_due_anyway = question.key == "camera.device";
        let mark = if default.is_none() && is_due_anyway { "" } else { "#" };
        let _ = writeln!(text, "{mark}{} = {value}", question.key);
    }
    text
}

fn value(form: Form, answer: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    match form {
        Form::YesNo => (answer == "yes").to_string(),
        Form::Many => format!("[{}]", quoted(answer)),
        Form::One | Form::Text => quoted(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::ask::hold;
    use crate::cli::setup::found::Before;
    use crate::cli::setup::plan::Plan;
    use crate::cli::setup::question::tests::board;
    use crate::config::Config;

    fn answered(found: &Found, text: &str) -> Result<Plan, String> {
        let held = || {
            let mut file = File::parse(text, Path::new("/answers.toml"))?;
            let plan = hold(found, &mut file)?;
            file.agree(None)?;
            Ok(plan)
        };
        held().map_err(|error: Failure| {
            assert_eq!(error.code(), Code::Data);
            error.to_string()
        })
    }

    #[test]
    fn an_empty_file_takes_every_default() {
        let plan = answered(&board(), "").unwrap();
        assert!(!plan.wires_strike() && plan.person.is_none());
        assert_eq!(plan.config.camera.device, Path::new("/dev/v4l/by-id/usb-Cam"));
    }

    #[test]
    fn tables_numbers_truths_and_lists_are_answers() {
        let text = "strike.line = \"GPIO17\"\nsensors = [\"light:iio:bh1750\"]\n[strike]\nactive_low = true\n";
        assert!(answered(&board(), text).unwrap_err().contains("line 3"), "a key and a table of one name are no TOML");
        let text = "sensors = [\"light:iio:bh1750\"]\n[strike]\nline = 5\nactive_low = true\n";
        let plan = answered(&board(), text).unwrap();
        assert!(plan.config.strike.active_low && plan.config.sensors.len() == 1);
    }

    #[test]
    fn an_unknown_question_is_refused_with_its_line() {
        let said = answered(&board(), "\n[strike]\nlime = 5\n").unwrap_err();
        assert!(
            said.starts_with("/answers.toml, line 3: strike.lime: there is no such question, only replace, "),
            "{said}"
        );
        assert!(answered(&board(), "camera = 1979-05-27\n").unwrap_err().contains("line 1: camera: "));
        assert!(answered(&board(), "replace = 1979-05-27\n").unwrap_err().contains("a text, a number"));
        assert!(answered(&board(), "a = \n").unwrap_err().contains("line 1"));
        assert!(answered(&board(), &"#".repeat(MAX_BYTES + 1)).unwrap_err().contains("right file"));
    }

    #[test]
    fn a_wrong_answer_is_refused_with_its_line_and_what_it_could_be() {
        let said = answered(&board(), "\n\ncamera.device = \"/dev/video7\"\n").unwrap_err();
        assert!(said.starts_with("/answers.toml, line 3: camera.device: /dev/video7 is no camera"), "{said}");
        assert!(said.contains("it could be: /dev/v4l/by-id/usb-Cam (Cam, 640x480"), "{said}");
    }

    #[test]
    fn a_needed_answer_that_is_missing_is_named_with_what_was_found() {
        let mut found = board();
        let mut second = found.cameras[0].clone();
        second.device = "/dev/video2".into();
        found.cameras.push(second);
        let said = answered(&found, "").unwrap_err();
        assert!(said.starts_with("/answers.toml: camera.device: it needs an answer; it could be: /dev/v4l"), "{said}");
        assert!(said.contains("/dev/video2"), "{said}");
        let said = answered(&board(), "person.name = \"Ana\"").unwrap_err();
        assert!(said.contains("person.consent: it needs an answer"), "{said}");
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_refused_but_for_replace() {
        let said = answered(&board(), "strike.fail = \"safe\"\n").unwrap_err();
        assert!(said.contains("line 1: strike.fail: asked only where a strike is wired"), "{said}");
        assert!(answered(&board(), "replace = true\n").is_ok());
        let mut found = board();
        found.before = Before::Configured(Box::default());
        let said = answered(&found, "strike.line = \"none\"\n").unwrap_err();
        assert!(said.contains("replace = true"), "{said}");
        let kept = answered(&found, "").unwrap();
        assert_eq!((kept.keeps, kept.config), (true, Config::default()));
        assert!(!answered(&found, "replace = true\nstrike.line = \"none\"\n").unwrap().keeps);
    }

    #[test]
    fn answers_cut_at_any_byte_are_read_or_refused() {
        let text = template(&board());
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let _read_or_refused = answered(&board(), &text[..cut]);
        }
    }

    #[test]
    fn the_pages_explain_every_question() {
        let page = include_str!("../../../docs/install.md");
        for question in &QUESTIONS {
            assert!(page.contains(&format!("| `{}` |", question.key)), "docs/install.md lacks {}", question.key);
        }
    }

    #[test]
    fn the_template_is_a_file_of_the_defaults_and_names_every_question() {
        let text = template(&board());
        assert_eq!(answered(&board(), &text), answered(&board(), ""), "{text}");
        for question in &QUESTIONS {
            assert!(text.contains(&format!("#{} = ", question.key)), "{} is missing:\n{text}", question.key);
        }
        assert!(text.contains("#   /dev/v4l/by-id/usb-Cam: Cam, 640x480"), "{text}");
        let bare = template(&Found::default());
        assert!(answered(&Found::default(), &bare).unwrap_err().contains("camera.device: it needs an answer"));
        let all: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if QUESTIONS.iter().any(|question| rest.starts_with(question.key)) => format!("{rest}\n"),
                _ => String::new(),
            })
            .collect();
        assert!(File::parse(&all, Path::new("all")).is_ok(), "each line without its # is TOML:\n{all}");
    }
}

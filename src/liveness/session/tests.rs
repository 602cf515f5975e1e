use super::*;
use crate::time::Duration;
use proptest::prelude::*;

const HEAD: &str = "# facelatch liveness session 1\n# label = \"phone\"\n# source = \"simulated\"\n";

fn parse(text: &str) -> Result<Session, String> {
    Session::parse(text.as_bytes()).map_err(|error| error.to_string().replacen("line ", "", 1))
}

fn refusal(rest: &str) -> String {
    parse(&format!("{HEAD}{rest}")).expect_err("it should be refused")
}

fn sample(ms: u64, channel: Channel, value: f32) -> Sample {
    Sample { at: Instant::from_millis(ms), channel, value }
}

#[test]
fn a_file_gives_its_samples_in_order_and_an_empty_cell_none() {
    let text =
        format!("{HEAD}# note = \"on a \\\"stand\\\"\"\r\nt_s,face_size,skin_g\r\n0.0000,0.1012,\n0.0400,,151.5\n");
    let session = parse(&text).unwrap();
    assert_eq!((session.label, session.origin), (Label::Phone, Origin::Simulated));
    assert_eq!(session.note, "on a \"stand\"");
    assert_eq!(session.samples, [sample(0, Channel::FaceSize, 0.1012), sample(40, Channel::SkinG, 151.5)]);
    assert_eq!(session.channels(), [Channel::FaceSize, Channel::SkinG]);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    assert_eq!(parse("").unwrap_err(), format!("1: {}", LineError::Title));
    assert_eq!(parse("t_s\n").unwrap_err(), format!("1: {}", LineError::Title));
    assert_eq!(refusal(""), "3: the head lacks the line of columns");
    assert!(refusal("# label = \"live\"\n").starts_with("4: label stands twice"));
    assert!(refusal("# colour = \"red\"\n").starts_with("4: unknown field"));
    assert!(parse(&HEAD.replace("phone", "portrait")).unwrap_err().starts_with("2: unknown variant"));
    assert_eq!(parse(&format!("{TITLE}\n# source = \"recorded\"\nt_s\n")).unwrap_err(), "3: the head lacks label");
    assert_eq!(refusal("time\n"), "4: the first column is t_s, not \"time\"");
    assert_eq!(refusal("t_s,face_sise\n"), "4: there is no channel \"face_sise\"");
    assert_eq!(refusal("t_s,yaw,face_x\n"), "4: column face_x stands twice or out of the table's order");
    assert_eq!(refusal("t_s,yaw,yaw\n"), "4: column yaw stands twice or out of the table's order");
    assert_eq!(refusal("t_s,yaw\n0,1,2\n"), "5: 3 cells instead of 2");
    assert!(refusal("t_s,yaw\n0,nan\n").starts_with("5: yaw: \"nan\" is no finite number"));
    assert!(refusal("t_s,yaw\n0,1\n,1\n").starts_with("6: t_s: \"\" is no finite number"));
    assert!(refusal("t_s,yaw\n1,1\n1,2\n0.9,1\n").starts_with("7: time falls"));
    assert!(refusal("t_s,yaw\n-1,1\n").starts_with("5: time falls"));
    assert_eq!(refusal("t_s,yaw\n0,1"), format!("5: {}", LineError::Cut));
    assert_eq!(refusal(&"x".repeat(MAX_LINE_BYTES + 1)), format!("4: {}", LineError::Long));
    let rows = format!("t_s\n{}", "0\n".repeat(MAX_ROWS + 1));
    assert_eq!(refusal(&rows), format!("{}: {}", 4 + MAX_ROWS + 1, LineError::TooMany));
}

#[test]
fn a_file_that_is_missing_is_told_by_its_name() {
    let error = Session::read(Path::new("/nowhere/a.csv")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/a.csv: "), "{error}");
}

#[test]
fn a_session_cut_off_anywhere_is_a_shorter_one_or_an_error() {
    let text = format!("{HEAD}t_s,face_size,skin_g\n0.0000,0.1012,\n0.0400,,151.5\n0.0800,0.1,\n");
    let whole = parse(&text).unwrap();
    for cut in 0..text.len() {
        match parse(&text[..cut]) {
            Ok(part) => {
                assert!(text[..cut].ends_with('\n'));
                assert_eq!(part.samples, whole.samples[..part.samples.len()], "at {cut}");
            }
            Err(told) => assert!(told.len() > 5, "{told}"),
        }
    }
}

#[test]
fn samples_that_come_late_are_put_in_their_rows_and_later_ones_refused() {
    let channels = [Channel::Touch, Channel::Yaw];
    let start = Instant::from_millis(1000);
    let mut writer = Writer::new(Vec::new(), Label::Live, Origin::Recorded, "", &channels, start).unwrap();
    writer.write(&[sample(1040, Channel::Yaw, 0.5), sample(1000, Channel::Touch, 0.25)]).unwrap();
    writer.write(&[sample(1040, Channel::Touch, 0.75), sample(1080, Channel::Yaw, f32::NAN)]).unwrap();
    assert!(matches!(writer.write(&[sample(1000, Channel::FaceX, 0.0)]), Err(WriteError::NoColumn(_))));
    writer.write(&[sample(2500, Channel::Yaw, -0.5)]).unwrap();
    assert!(matches!(writer.write(&[sample(1010, Channel::Yaw, 0.0)]), Err(WriteError::Late(_))));
    assert!(matches!(writer.write(&[sample(999, Channel::Yaw, 0.0)]), Err(WriteError::Late(_))));
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    let rows: Vec<_> = text.lines().skip(3).collect();
    assert_eq!(rows, ["t_s,yaw,touch", "0.0000,,0.25", "0.0400,0.5,0.75", "1.5000,-0.5,"]);
}

#[test]
fn rows_held_back_have_a_maximum() {
    let channels = [Channel::Yaw];
    let mut writer = Writer::new(Vec::new(), Label::Live, Origin::Recorded, "", &channels, Instant::BOOT).unwrap();
    for tick in 0..=MAX_HELD as u64 {
        let at = Instant::BOOT + Duration::from_micros(100) * tick as u32;
        writer.write(&[Sample { at, channel: Channel::Yaw, value: 0.0 }]).unwrap();
    }
    assert!(matches!(writer.write(&[sample(0, Channel::Yaw, 0.0)]), Err(WriteError::Late(_))));
    assert_eq!(writer.rows(), MAX_HELD + 1);
}

#[test]
fn a_session_that_is_full_keeps_the_rows_that_were_held_back_and_is_read_again() {
    let all: Vec<_> = Channel::all().collect();
    let by_rows = (&all[..1], MAX_ROWS, MAX_ROWS);
    let by_samples = (&all[..], MAX_SAMPLES.div_ceil(all.len()), MAX_SAMPLES);
    for (channels, rows, samples) in [by_rows, by_samples] {
        let mut writer = Writer::new(Vec::new(), Label::Live, Origin::Recorded, "", channels, Instant::BOOT).unwrap();
        let refused = (0..).find_map(|i| {
            let row: Vec<_> = channels.iter().map(|channel| sample(20 * i, *channel, 0.5)).collect();
            writer.write(&row).err()
        });
        assert!(matches!(refused, Some(WriteError::Full)), "{refused:?}");
        assert_eq!((writer.rows(), writer.samples()), (rows, samples));
        let text = writer.finish().unwrap();
        assert_eq!(Session::parse(&text[..]).unwrap().samples.len(), samples);
    }
}

fn sessions() -> impl Strategy<Value = Session> {
    let cell = (0..2_000_u64, 0..crate::liveness::channels::CHANNELS, -1e6..1e6_f32);
    let samples = prop::collection::vec(cell, 0..200).prop_map(|cells| {
        // One sample for each time and channel, in order.
        let cells: std::collections::BTreeMap<_, _> = cells.into_iter().map(|(t, c, v)| ((t * 13, c), v)).collect();
        let channel = |index| Channel::all().nth(index).unwrap();
        let at = |ticks: u64| Instant::from_nanos(ticks * 100_000);
        cells.into_iter().map(|((t, c), value)| Sample { at: at(t), channel: channel(c), value }).collect()
    });
    let label = prop::sample::select(Label::ALL.to_vec());
    let origin = prop::sample::select(vec![Origin::Simulated, Origin::Recorded]);
    let note = "[^\n\r]{0,60}";
    (label, origin, note, samples).prop_map(|(label, origin, note, samples)| Session { label, origin, note, samples })
}

proptest! {
    #![proptest_config(crate::testing::properties(256))]

    #[test]
    fn a_session_reads_back_as_it_was_written(session in sessions()) {
        let mut bytes = Vec::new();
        session.write(&mut bytes).unwrap();
        prop_assert_eq!(parse(std::str::from_utf8(&bytes).unwrap()).unwrap(), session);
    }
}

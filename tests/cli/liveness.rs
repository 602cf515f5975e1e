//! `liveness eval` and `plot`, on sessions that are written here.

use facelatch::liveness::{Channel, Label, Origin, Sample, Session, Source};

use super::*;

/// Four seconds in which every channel of camera and thermometer swings a little about a value.
fn session(label: Label, celsius: f32) -> Session {
    let of_it = |channel: &Channel| matches!(channel.source(), Source::Camera | Source::Thermometer);
    let channels: Vec<_> = Channel::all().filter(of_it).collect();
    let value = |channel: Channel, i: u64| {
        let [low, high] = channel.spec().limits;
        match channel {
            Channel::ObjectC => celsius,
            Channel::AmbientC => 21.0,
            Channel::ObjectOverAmbientC => celsius - 21.0,
            _ => low + (high - low) * (0.3 + 0.001 * (i % 7) as f32),
        }
    };
    let samples = (0..100).flat_map(|i| {
        let at = facelatch::time::Instant::from_millis(i * 40);
        channels.iter().map(move |&channel| Sample { at, channel, value: value(channel, i) })
    });
    Session { label, origin: Origin::Simulated, note: String::new(), samples: samples.collect() }
}

fn keep(home: &Home, name: &str, session: &Session) -> String {
    let mut text = Vec::new();
    session.write(&mut text).unwrap();
    home.write(name, &text)
}

#[test]
fn sessions_are_judged_added_up_and_happen_at_a_door() {
    let home = Home::new();
    fs::create_dir(home.path("sessions")).unwrap();
    keep(&home, "sessions/a.csv", &session(Label::Live, 34.0));
    keep(&home, "sessions/b.csv", &session(Label::PrintFlat, 21.0));
    let det = home.path("det.svg").display().to_string();
    let judged = home.run(&["liveness", "eval", "sessions", "--door", "--det", &det, "--json"]);
    assert_eq!(judged.code, 0, "{}", judged.err);
    let answer = judged.json();
    assert_eq!((answer["recordings"].as_u64(), answer["simulated"].as_u64()), (Some(2), Some(2)));
    assert!(judged.err.contains("2 of 2 sessions are simulated"), "{}", judged.err);
    assert_eq!(answer["non_response"].as_f64(), Some(0.0));
    for key in ["bpcer", "apcer_worst"] {
        assert!((0.0..=1.0).contains(&answer[key].as_f64().unwrap()), "{key}");
    }
    assert_eq!(answer["apcer"].as_object().unwrap().keys().collect::<Vec<_>>(), ["print_flat"]);
    assert_eq!(answer["rates"]["live"]["sessions"].as_u64(), Some(1));
    assert!(answer["rates"]["live"]["windows"].as_u64().unwrap() >= 9);
    let door = &answer["door"]["visits"]["print_flat"];
    assert_eq!((door["visits"].as_u64(), door["opened"].as_u64()), (Some(1), Some(0)), "a print opens nothing");
    assert!(fs::read_to_string(det).unwrap().contains("APCER"));
    let told = home.run(&["liveness", "eval", "sessions"]).out;
    assert!(told.contains("print_flat") && told.contains("windows of 1 session"), "{told}");
}

/// What the shipped head says of the demo's two sessions: with weights that were swapped or scales that were lost it
/// would say something else, although alive stayed alive.
#[test]
fn the_first_windows_of_the_demo_get_the_golden_log_odds() {
    let home = Home::new();
    for (name, golden) in [("live", [5.107, 5.026, 4.992]), ("print_flat", [-6.854, -6.972, -6.877])] {
        let plot = ["liveness", "plot", &picture(&format!("{name}.csv")), "--out", "drawn.svg", "--json"];
        let drawn = home.run(&plot).json();
        let said = (0..3usize).map(|i| drawn["windows"][i]["log_odds"].as_f64().unwrap());
        let apart = said.zip(golden).map(|(said, golden)| (said - golden).abs()).fold(0.0, f64::max);
        assert!(apart <= 0.2, "{name}: {apart} from {golden:?}: {}", drawn["windows"]);
    }
}

#[test]
fn a_session_is_drawn_beside_itself() {
    let home = Home::new();
    let path = keep(&home, "one.csv", &session(Label::Live, 34.0));
    let drawn = home.run(&["liveness", "plot", &path, "--json"]).json();
    assert!(drawn["windows"].as_array().unwrap().len() >= 9);
    let rates = drawn["heart_per_minute"].as_object().unwrap();
    assert!(rates.len() == 2 && rates.values().all(|rate| rate.is_null()), "four seconds are too few: {drawn}");
    let plot = fs::read_to_string(home.path("one.svg")).unwrap();
    assert!(
        plot.contains("object_c")
            && plot.contains("heart rate none found")
            && plot.contains("needed")
            && plot.ends_with("</svg>\n")
    );
    assert_eq!(home.run(&["liveness", "plot", &path]).code, 0, "an old drawing makes way");
    let session = fs::read(&path).unwrap();
    home.run(&["liveness", "plot", &path, "--out", &path]).fails(2, &["one.csv", "which is read"]);
    home.run(&["liveness", "eval", ".", "--det", &path]).fails(2, &["one.csv", "which is read"]);
    assert_eq!(fs::read(&path).unwrap(), session);
}

#[test]
fn what_can_not_be_judged_is_named() {
    let home = Home::new();
    fs::create_dir(home.path("empty")).unwrap();
    home.run(&["liveness", "eval", "empty"]).fails(66, &["no sessions are here"]);
    home.run(&["liveness", "eval", "nowhere"]).fails(66, &["nowhere"]);
    home.run(&["liveness", "eval", "empty", "--sensors", "nose"]).fails(2, &["no such sensor", "thermometer"]);
    home.write(
        "empty/x.csv",
        b"# facelatch liveness session 1\n# label = \"live\"\n# source = \"recorded\"\nt_s,nose\n",
    );
    home.run(&["liveness", "eval", "empty"]).fails(65, &["x.csv, line 4", "nose"]);
    home.configure("[liveness]\nhead = \"other.onnx\"\n");
    home.run(&["liveness", "plot", "empty/x.csv"]).fails(66, &["other.onnx"]);
    home.configure("[liveness]\nhead = \"facelatch-liveness\"\n");
    home.run(&["liveness", "plot", "empty/x.csv"]).fails(78, &["liveness.table"]);
    home.configure("[liveness]\nhead = \"facelatch-encoder\"\ntable = \"t.toml\"\n");
    home.run(&["liveness", "plot", "empty/x.csv"]).fails(65, &["liveness"]);
    home.write("t.toml", b"evaluation = \"mine\"\nwindows = 3\nsubset = 4\n");
    home.configure(&format!("[liveness]\ntable = {:?}\n", home.path("t.toml")));
    home.run(&["liveness", "plot", "empty/x.csv"]).fails(65, &["t.toml", "not a table"]);
}

//! The two deciders, and what measures them.

use super::*;

/// Weights that are all alike, which come near to the cosine, and a table made by hand.
const EVEN_HEAD: &str = "model = \"MODEL\"
bias = 9.0
weights = [WEIGHTS]
[calibration]
model = \"by hand\"
sha256 = \"MODEL\"
detector = \"\"
evaluation = \"by hand\"
date = \"2026-01-01\"
people = 2
images = 2
lost = 0
impostors = 1
genuine = 1
rows = [[0.1, 0.1, 0.2, 0.0], [0.4, 1e-5, 2e-5, 0.1]]
";

/// [`EVEN_HEAD`] for the encoder that is built in.
fn even_head(home: &Home) -> String {
    let list = home.run(&["models", "list", "--json"]).out;
    let mut rows = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let encoder = rows.find(|row| row["name"] == "facelatch-encoder").unwrap();
    let digest = encoder["sha256"].as_str().unwrap();
    EVEN_HEAD.replace("MODEL", digest).replace("WEIGHTS", &["-1.0"; 128].join(", "))
}

fn choose(home: &Home, decider: &str, pair_head: &str) {
    home.configure(&format!("[faces]\ndecider = \"{decider}\"\npair_head = {pair_head:?}\n"));
}

#[test]
fn a_pair_head_judges_where_the_configuration_says_so() {
    let home = Home::new();
    let (ana, ben) = (["ada-1.jpg", "ada-2.jpg"].map(picture), picture("bela-1.jpg"));
    choose(&home, "pair-head", &home.write("head.toml", even_head(&home).as_bytes()));
    let compared = home.run(&["compare", &ana[0], &ana[1], "--json"]);
    let answer = compared.json();
    assert_eq!((compared.code, &answer["decider"]), (0, &"pair-head".into()), "{answer}");
    assert!(answer["probability"].as_f64().unwrap() > 0.0 && answer["fmr"] == 2e-5, "{answer}");
    home.run(&["enroll", "Ana", &ana[0]]).fails(0, &[]);
    home.run(&["enroll", "Anabel", &ana[0]]).fails(1, &["belongs to Ana (pair-head similarity 1.000"]);
    home.run(&["enroll", "Ben", &ben]).fails(0, &[]);
    let said = home.run(&["verify", "Ana", &ana[1]]);
    assert!(said.code == 0 && said.out.starts_with("This is Ana: pair-head similarity"), "{}{}", said.out, said.err);
    let identified = home.run(&["identify", &ana[1], "--json"]).json();
    assert_eq!((&identified["name"], &identified["decider"]), (&"Ana".into(), &"pair-head".into()), "{identified}");
    let audit = home.run(&["gallery", "audit", "--json"]).json();
    assert_eq!((&audit["decider"], &audit["templates"]), (&"pair-head".into(), &2.into()));
}

#[test]
fn a_drawing_that_can_not_be_written_is_refused_before_anything_is_encoded() {
    let home = Home::new();
    let pairs = home.write("pairs.txt", b"1\t1\nAda\t1\t2\nAda\t1\tBela\t1\n");
    home.run(&["eval", &pairs]).fails(66, &["Ada_000"]);
    home.run(&["eval", &pairs, "--det", "/nowhere/x.svg"]).fails(66, &["/nowhere/x.svg"]);
    home.run(&["eval", &pairs, "--dump", &pairs]).fails(73, &["pairs.txt"]);
}

#[test]
fn what_is_no_pair_head_or_another_encoders_is_refused_with_what_to_do() {
    let home = Home::new();
    let (ana, head) = (picture("ada-1.jpg"), even_head(&home));
    let identify = |text: &str| {
        choose(&home, "pair-head", &home.write("head.toml", text.as_bytes()));
        home.run(&["identify", &ana])
    };
    identify(&head.replacen("model = \"", "model = \"000000", 1).replacen("00\"", "\"", 1)).fails(65, &["64 digits"]);
    let of_another = head.replace(&head[9..17], "00000000");
    identify(&of_another).fails(65, &["encoder 00000000…", "set faces.model", "faces.decider = \"threshold\""]);
    identify(&head.replacen(&head[9..17], "00000000", 1)).fails(65, &["head.toml", "measured for another network"]);
    identify(&head.replacen("-1.0, ", "", 1)).fails(65, &["127 weights", "128 numbers"]);
    identify(&head.replacen("-1.0, ", "nan, ", 1)).fails(65, &["weight 1 of the pair head"]);
    identify("weights = []").fails(65, &["head.toml: not a pair head"]);
    choose(&home, "pair-head", "/nowhere.toml");
    home.run(&["identify", &ana]).fails(66, &["/nowhere.toml"]);
    choose(&home, "cosine", "");
    home.run(&["identify", &ana]).fails(78, &["line 2: faces.decider", "`threshold`", "`pair-head`"]);
}

/// Four people, one of them with three pictures.
fn few_people(home: &Home) -> String {
    for name in ["ada-1.jpg", "ada-2.jpg", "ada-3.jpg", "bela-1.jpg", "chidi-1.jpg", "dora-1.jpg"] {
        let dir = home.path("people").join(&name[..name.len() - 6]);
        fs::create_dir_all(&dir).unwrap();
        fs::copy(picture(name), dir.join(name)).unwrap();
    }
    home.path("people").display().to_string()
}

/// As few as a table can be made of: Ada with three pictures, Bela to Dora with one each, and eight with one that is
/// also seen in a mirror under another name.
fn people_for_a_table(home: &Home) -> String {
    let people = few_people(home);
    for name in ["emil-1.jpg", "emma-1.jpg", "look-alike-1.jpg", "stranger-1.jpg"] {
        let (seen, mirrored) = (home.path("people").join(name), home.path("people").join(format!("mirrored-{name}")));
        fs::create_dir_all(&seen).unwrap();
        fs::create_dir_all(&mirrored).unwrap();
        fs::copy(picture(name), seen.join(name)).unwrap();
        image::open(picture(name)).unwrap().fliph().save(mirrored.join("1.png")).unwrap();
    }
    people
}

#[test]
fn a_search_is_measured_with_people_who_are_enrolled_and_people_who_are_not() {
    let home = Home::new();
    choose(&home, "pair-head", &home.write("head.toml", even_head(&home).as_bytes()));
    let people = few_people(&home);
    let answer = home.run(&["eval", "--gallery", "2", "--images", &people, "--json"]).json();
    let (known, strangers) = (&answer["known"], &answer["strangers"]);
    assert_eq!((&known["people"], &known["pictures"]), (&1.into(), &2.into()), "{answer}");
    assert_eq!((&strangers["people"], &strangers["pictures"]), (&2.into(), &2.into()), "{answer}");
    assert_eq!((&answer["enrolled"], &answer["decider"]), (&2.into(), &"pair-head".into()), "{answer}");
    assert_eq!((&known["recognised"]["count"], &strangers["admitted"]["count"]), (&2.into(), &0.into()), "{answer}");
    let table = home.run(&["eval", "--gallery", "2", "--images", &people]).out;
    assert!(table.contains("2 people enrolled") && table.contains("Strangers: 2 pictures of 2 people"), "{table}");
    home.run(&["eval", "--gallery", "5", "--images", &people]).fails(65, &["4 people have a picture"]);
    let several = ["eval", "--gallery", "1", "--photos", "2", "--images", &people, "--json"];
    let answer = home.run(&several).json();
    assert_eq!((&answer["photos"], &answer["known"]["pictures"]), (&2.into(), &1.into()), "{answer}");
    let none = ["eval", "--gallery", "1", "--photos", "9", "--images", &people];
    home.run(&none).fails(65, &["0 people have 9 pictures good enough"]);
    home.run(&["eval", "--gallery", "2"]).fails(2, &["--images"]);
    home.run(&["eval"]).fails(2, &["PAIRS"]);
}

#[test]
fn strangers_lengthen_a_table_and_are_told_apart_in_it() {
    let home = Home::new();
    let people = people_for_a_table(&home);
    fs::create_dir_all(home.path("others")).unwrap();
    fs::copy(picture("dora-2.jpg"), home.path("others").join("dora.jpg")).unwrap();
    let others = home.path("others").display().to_string();
    let answer = home.run(&["calibrate", &people, "--strangers", &others, "--json"]).json();
    assert_eq!((&answer["people"], &answer["images"], &answer["genuine"]), (&12.into(), &14.into(), &3.into()));
    assert_eq!((&answer["strangers"], &answer["stranger_impostors"]), (&1.into(), &14.into()), "{answer}");
    assert_eq!(
        (&answer["impostors"], &answer["pairs"]),
        (&(14 * 13 / 2 - 3).into(), &(12 * 11 / 2).into()),
        "{answer}"
    );
    assert_eq!(answer["evaluation"], "people; strangers: others");
    let last = answer["rows"].as_array().unwrap().last().unwrap();
    assert!(last["fmr"] == 0.0 && last["fmr_people"] == 0.0 && last["fmr_strangers"].is_f64(), "{last}");
    let alone = home.run(&["calibrate", &people, "--json"]).json();
    assert!(alone.get("strangers").is_none() && alone["rows"][0]["fmr_strangers"] == Value::Null, "{alone}");
    home.run(&["calibrate", &people, "--strangers", &format!("{people}/.")])
        .fails(65, &["the same folder was named as the people's and the strangers'"]);
    home.run(&["calibrate", &people, "--strangers", "/nowhere"]).fails(66, &["/nowhere"]);
}

#[test]
fn a_pair_head_is_calibrated_into_a_file_that_can_be_used() {
    let home = Home::new();
    let head = even_head(&home);
    let bare = home.write("bare.toml", head.split("[calibration]").next().unwrap().as_bytes());
    choose(&home, "threshold", &bare);
    let (people, out) = (people_for_a_table(&home), home.path("head.toml").display().to_string());
    let by_head = ["--decider", "pair-head"];
    let eval = ["eval", "--gallery", "2", "--images", &people, "--decider", "pair-head", "--json"];
    home.run(&eval).fails(65, &["has no score table", "facelatch calibrate --decider pair-head"]);
    home.run(&[&["calibrate", &people, "--keep"], &by_head[..]].concat()).fails(2, &["--out FILE"]);
    let made = home.run(&[&["calibrate", &people, "--out", &out, "--json"], &by_head[..]].concat());
    assert_eq!((made.code, &made.json()["decider"]), (0, &"pair-head".into()), "{}", made.err);
    choose(&home, "threshold", &out);
    let answer = home.run(&eval).json();
    assert_eq!((&answer["decider"], &answer["threshold_similarity"]), (&"pair-head".into(), &Value::Null), "{answer}");
    assert_eq!(answer["strangers"]["not_recognised"]["count"], 10, "a table of twelve people reaches no small rate");
}

#[test]
fn a_table_of_another_network_under_this_ones_name_is_refused() {
    let home = Home::new();
    let of = |name: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/calibration").join(name)).unwrap()
    };
    let own = of("encoder.toml");
    let sha256 = own.lines().find_map(|line| line.strip_prefix("sha256 = ")).unwrap().trim_matches('"');
    fs::create_dir_all(home.path("state/calibration")).unwrap();
    let table = home.path("state/calibration").join(format!("{sha256}.toml"));
    let compare = ["compare", &picture("ada-1.jpg"), &picture("ada-2.jpg")];
    fs::write(&table, &own).unwrap();
    home.run(&compare).fails(0, &[]);
    fs::write(&table, of("foamliu.toml")).unwrap();
    home.run(&compare).fails(65, &[sha256, "measured for another network", "or remove it"]);
}

#[test]
fn a_table_that_admits_nobody_is_not_kept() {
    let home = Home::new();
    let people = people_for_a_table(&home);
    home.run(&["enroll", "Ada", &picture("ada-1.jpg")]).fails(0, &[]);
    let identified = || home.run(&["identify", &picture("ada-2.jpg")]).code;
    assert_eq!(identified(), 0);
    let rates = ["gate.target_fmr = 1.0e-4", "gate.verify_target_fmr = 1.0e-4", "among 1 person", "--strangers"];
    home.run(&["calibrate", &people, "--keep"]).fails(65, &rates);
    assert_eq!(identified(), 0, "the one in force stays");
    home.configure("[gate]\ntarget_fmr = 1e-4\nverify_target_fmr = 0.5\n");
    home.run(&["calibrate", &people, "--keep"]).fails(65, &["doesn't reach gate.target_fmr = 1.0e-4 among"]);
    home.configure("[gate]\ntarget_fmr = 0.5\nverify_target_fmr = 0.5\n");
    home.run(&["calibrate", &people, "--keep"]).fails(0, &["at its next start: sudo systemctl restart facelatch"]);
    assert_eq!(fs::read_dir(home.path("state/calibration")).unwrap().count(), 1);
}

#[test]
fn whoever_is_to_be_enrolled_again_counts_for_a_table_that_is_kept_and_hides_no_missing_one() {
    let home = Home::new();
    let people = people_for_a_table(&home);
    // Of twelve people's 66 pairs no rate below 3 in 66 can be shown; for 20 people each comparison must keep to half
    // of that.
    (0..20).for_each(|n| home.enrol(&format!("Person {n}"), n as f32));
    home.configure("[gate]\ntarget_fmr = 0.5\nverify_target_fmr = 0.5\n");
    home.run(&["calibrate", &people, "--keep"]).fails(65, &["doesn't reach gate.target_fmr = 5.0e-1 among 20 people"]);
    let head = even_head(&home);
    choose(&home, "pair-head", &home.write("bare.toml", head.split("[calibration]").next().unwrap().as_bytes()));
    let scores = home.run(&["doctor"]).out;
    let others = "20 templates of 20 people were made by another model";
    assert!(scores.contains(others) && scores.contains("has no score table"), "{scores}");
}

#[test]
fn the_rate_of_somebody_with_several_photographs_is_that_of_two_comparisons() {
    let home = Home::new();
    let ada = ["ada-1.jpg", "ada-2.jpg"].map(picture);
    let rates = || {
        [&["verify", "Ada", &ada[0], "--json"][..], &["identify", &ada[0], "--json"]]
            .map(|command| home.run(command).json()["fmr"].as_f64().unwrap())
    };
    home.run(&["enroll", "Ada", &ada[0]]).fails(0, &[]);
    let single = rates();
    home.run(&["enroll", "Ada", &ada[1]]).fails(0, &[]);
    // Both times beyond the table's last row.
    assert_eq!(rates(), single.map(|rate| 2.0 * rate));
}

#[test]
fn what_no_table_reaches_is_named_and_decides_nothing() {
    let home = Home::new();
    home.run(&["enroll", "Ada", &picture("ada-1.jpg")]).fails(0, &[]);
    let (ada, scores) = (picture("ada-2.jpg"), || home.run(&["doctor"]).out);
    home.configure("[gate]\nverify_target_fmr = 1e-9\n");
    assert!(scores().contains("doesn't reach gate.verify_target_fmr = 1.0e-9 among 1 person"), "{}", scores());
    let unreached = "the table doesn't reach gate.verify_target_fmr = 1.0e-9";
    for (args, begins) in [
        (&["verify", "Ada", &ada][..], "Nothing says whether this is Ada: similarity "),
        (&["compare", &picture("ada-1.jpg"), &ada], "Nothing says whether these are one person: similarity "),
    ] {
        let said = home.run(args);
        assert!(said.code == 1 && said.out.starts_with(begins) && said.out.contains(unreached), "{}", said.out);
    }
    home.configure("[gate]\ntarget_fmr = 1e-9\n");
    assert!(scores().contains("doesn't reach gate.target_fmr = 1.0e-9 among 1 person"), "{}", scores());
    let said = home.run(&["identify", &ada]);
    assert!(
        said.code == 1 && said.out.contains("and the table doesn't reach gate.target_fmr = 1.0e-9"),
        "{}",
        said.out
    );
}

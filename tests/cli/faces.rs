//! Photographs: who is enrolled, known again, compared and explained by them.

use super::*;

#[test]
fn a_face_is_enrolled_once_and_known_again() {
    let home = Home::new();
    let (ana, ben) = (["ada-1.jpg", "ada-3.jpg", "ada-2.jpg"].map(picture), [picture("bela-1.jpg")]);
    let enrolled = home.run(&["enroll", "Ana", &ana[0], &ana[1], "--json"]);
    enrolled.fails(0, &["it guards the face templates"]);
    let enrolled = enrolled.json();
    assert_eq!((&enrolled["person"], &enrolled["templates"]), (&"Ana".into(), &2.into()));
    assert!((0.0..=1.0).contains(&enrolled["quality"].as_f64().unwrap()));
    home.run(&["enroll", "Anabel", &ana[0]]).fails(1, &["already belongs to Ana", "nobody was enrolled"]);
    let mixed_up = home.run(&["enroll", "Anabel", &ben[0], &ana[0], "--json"]);
    let answer = mixed_up.json();
    assert_eq!((mixed_up.code, &answer["id"], &answer["added"]), (1, &Value::Null, &0.into()), "{answer}");
    assert!(answer["refused"][0]["reason"].as_str().unwrap().contains("belongs to Ana"), "{answer}");
    assert_eq!(home.run(&["enroll", "Ben", &ben[0]]).code, 0);
    let verified = home.run(&["verify", "Ana", &ana[2], "--json"]);
    let answer = verified.json();
    assert_eq!((verified.code, &answer["outcome"], &answer["same"]), (0, &"granted".into(), &true.into()), "{answer}");
    let denied = home.run(&["verify", "Ben", &ana[2]]);
    assert_eq!(denied.code, 1);
    assert!(denied.out.starts_with("This is not Ben: similarity "), "{}", denied.out);
    let identified = home.run(&["identify", &ana[2], "--json"]).json();
    assert_eq!((&identified["name"], &identified["runner_up"]["name"]), (&"Ana".into(), &"Ben".into()));
    home.run(&["people", "expire", "Ana", "2026-01-01"]);
    let expired = home.run(&["verify", "Ana", &ana[2], "--json"]);
    assert_eq!((expired.code, &expired.json()["outcome"]), (1, &"expired".into()));
}

#[test]
fn what_only_reads_makes_no_gallery_where_a_directory_was_mistyped() {
    let home = Home::new();
    let ada = picture("ada-1.jpg");
    for args in [
        &["identify", &ada][..],
        &["verify", "Ada", &ada],
        &["explain", &ada, "--name", "Ada", "--out", "x.png"],
        &["gallery", "audit"],
        &["people", "export", "Ada"],
    ] {
        home.run(args).fails(66, &["facelatch.db", "there is no gallery yet"]);
    }
    assert!(!home.path("state").exists());
}

#[test]
fn two_photographs_are_compared_and_an_empty_one_is_no_face() {
    let home = Home::new();
    let (ana, ben) = (["ada-1.jpg", "ada-2.jpg"].map(picture), [picture("bela-1.jpg")]);
    let same = home.run(&["compare", &ana[0], &ana[1], "--json"]);
    assert_eq!((same.code, &same.json()["same"]), (0, &true.into()));
    let answer = home.run(&["compare", &ana[0], &ben[0], "--json"]).json();
    let (d, s) = (answer["distance"].as_f64().unwrap(), answer["similarity"].as_f64().unwrap());
    assert!((d - (2.0 - 2.0 * s)).abs() < 1e-5 && answer["same"] == false, "{answer}");
    let empty = home.write("empty.jpg", &jpeg());
    home.run(&["compare", &ana[0], &empty]).fails(65, &["empty.jpg", "no face"]);
    home.run(&["enroll", "Nobody", &empty]).fails(1, &["no face was found"]);
    assert_eq!(home.run(&["identify", &empty]).code, 1);
    let refused = home.run(&["enroll", "Nobody", &empty, "--json"]);
    let answer = refused.json();
    assert_eq!((refused.code, &answer["id"], &answer["templates"]), (1, &Value::Null, &0.into()), "{answer}");
    assert_eq!(answer["refused"][0]["photo"].as_str(), Some(&*empty), "{answer}");
    let nobody = home.run(&["identify", &empty, "--json"]);
    let answer = nobody.json();
    assert_eq!((nobody.code, &answer["poor"], &answer["face"]), (1, &"no_face".into(), &Value::Null), "{answer}");
}

#[test]
fn a_decision_is_explained_by_a_map_and_a_picture_and_a_picture_that_cannot_be_made_says_so() {
    let home = Home::new();
    let [a, b] = ["ada-1.jpg", "ada-2.jpg"].map(|name| home.write(name, &fs::read(picture(name)).unwrap()));
    let explained = home.run(&["explain", &a, &b, "--json"]);
    let answer = explained.json();
    let compared = home.run(&["compare", &a, &b, "--json"]).json();
    assert_eq!((explained.code, &answer["similarity"]), (0, &compared["similarity"]), "{answer}");
    assert!(answer["inside_share"].as_f64().unwrap() > 0.5 && answer["map"][13].as_array().unwrap().len() == 14);
    assert!(answer["peak"]["drop"].as_f64().unwrap() > 0.0 && answer["detector"]["score"].as_f64().unwrap() > 0.5);
    let drawn = image::open(home.path("ada-1.explained.png")).unwrap();
    assert_eq!(answer["picture"].as_str().unwrap(), home.path("ada-1.explained.png").to_str().unwrap());
    assert!(drawn.width() > 2 * 224 && drawn.height() > 2 * 224);
    assert_eq!(home.run(&["enroll", "Ada", &b]).code, 0);
    let enrolled = home.run(&["explain", &a, "--name", "Ada"]);
    assert!(enrolled.out.starts_with("The similarity of 0.") && enrolled.out.contains(" to Ada hangs most on the "));
    home.run(&["explain", &a, "--name", "Nobody"]).fails(66, &["nobody here is called 'Nobody'"]);
    home.run(&["explain", &a, &b, "--name", "Ada"]).fails(2, &["cannot be used with"]);
    home.run(&["explain", &home.write("empty.jpg", &jpeg())]).fails(65, &["empty.jpg", "no face"]);
    home.run(&["explain", &a, "--out", "/nowhere/at/all.png"]).fails(66, &["/nowhere/at/all.png"]);
}

#[test]
fn a_photograph_whose_name_is_no_text_is_explained_to_programs_too() {
    use std::os::unix::ffi::OsStringExt as _;
    let home = Home::new();
    let photo = home.0.path().join(std::ffi::OsString::from_vec(b"zo\xEB.jpg".to_vec()));
    fs::copy(picture("ada-1.jpg"), &photo).unwrap();
    let mut command = home.command(&["explain", "--json"]);
    command.arg(&photo);
    let said = said(command);
    said.fails(0, &[]);
    assert!(said.json()["picture"].as_str().unwrap().ends_with("zo\u{FFFD}.explained.png"), "{}", said.out);
}

#[test]
fn what_is_read_is_not_written_over_and_what_was_drawn_before_is() {
    let home = Home::new();
    let photo = fs::read(picture("ada-1.jpg")).unwrap();
    let [ada, other] = ["ada.jpg", "other.jpg"].map(|name| home.write(name, &photo));
    fs::create_dir_all(home.path("people/ada")).unwrap();
    fs::create_dir_all(home.path("people/bela")).unwrap();
    for other in 0..10 {
        fs::create_dir_all(home.path(&format!("people/{other}"))).unwrap();
        fs::copy(picture("bela-2.jpg"), home.path(&format!("people/{other}/1.jpg"))).unwrap();
    }
    fs::hard_link(home.path("ada.jpg"), home.path("people/ada/ada_0001.jpg")).unwrap();
    fs::copy(picture("bela-1.jpg"), home.path("people/bela/bela_0001.jpg")).unwrap();
    let people = home.path("people").display().to_string();
    home.run(&["explain", &ada, "--out", &ada]).fails(2, &["ada.jpg", "which is read"]);
    home.run(&["explain", &other, &ada, "--out", &ada]).fails(2, &["ada.jpg", "which is read"]);
    home.run(&["calibrate", &people, "--out", &ada]).fails(2, &["ada_0001.jpg", "which is read"]);
    let pairs = home.write("pairs.txt", b"1\t1\nada\t1\t1\nada\t1\tbela\t1\n");
    let eval = ["eval", &pairs, "--images", &people, "--det"];
    home.run(&[&eval[..], &[&pairs]].concat()).fails(2, &["pairs.txt", "which is read"]);
    home.run(&[&eval[..], &[&ada]].concat()).fails(2, &["ada_0001.jpg", "which is read"]);
    assert_eq!(fs::read(&ada).unwrap(), photo);
    for _ in 0..2 {
        assert_eq!(home.run(&["explain", &ada]).code, 0, "an old drawing makes way");
    }
}

use super::*;

const MINE: &str = r#"
    name = "mine"
    decode = { embedding = { dims = 64 } }
    input = { width = 112, height = 112, order = "rgb", mean = [0.0, 0.0, 0.0], scale = [1.0, 1.0, 1.0] }
"#;

#[test]
fn the_builtin_manifest_is_whole_and_its_names_are_unique() {
    let manifest = Manifest::parse(BUILTIN).unwrap();
    assert_eq!(manifest.models().len(), 15);
    for model in manifest.models() {
        assert_eq!(manifest.find_by_name(&model.name), Some(model));
        assert_eq!(manifest.find_by_sha256(&model.sha256), Some(model));
        assert!(model.licence_text().is_some(), "{}", model.name);
    }
    assert_eq!(manifest.find_by_name("sface").unwrap().kind(), Kind::Encoder);
}

#[test]
fn an_unknown_network_needs_a_description_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.onnx");
    fs::write(&file, b"bytes").unwrap();
    let manifest = Manifest::builtin();
    let unknown = manifest.open(&file).unwrap_err();
    assert!(unknown.to_string().contains("mine.toml"), "{unknown}");
    fs::write(dir.path().join("mine.toml"), MINE).unwrap();
    let model = manifest.resolve(dir.path(), "mine").unwrap();
    assert_eq!((model.spec.name.as_str(), model.bytes.as_ref()), ("mine", &b"bytes"[..]));
    let wrong = model.expect(Kind::Detector).unwrap_err();
    assert!(wrong.to_string().contains("a detector is needed"), "{wrong}");
}

#[test]
fn a_folder_that_is_not_there_has_no_network_and_one_that_can_not_be_read_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (manifest, shut, file) = (Manifest::builtin(), dir.path().join("shut"), dir.path().join("file"));
    fs::write(&file, "").unwrap();
    for absent in [&dir.path().join("none"), &file] {
        for name in ["sface", "mine"] {
            assert!(matches!(manifest.resolve(absent, name), Err(ManifestError::NoSuch { .. })), "{name}");
        }
        assert!(manifest.installed(absent).is_empty());
    }
    fs::create_dir(&shut).unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&shut).is_ok() {
        eprintln!("SKIPPED: root reads every folder");
        let denied = unless_missing(&shut, io::ErrorKind::PermissionDenied.into()).unwrap_err().to_string();
        assert!(denied.contains("shut") && denied.contains("not for this user; run as root (sudo)"), "{denied}");
        return;
    }
    for name in ["sface", "mine"] {
        let told = manifest.resolve(&shut, name).unwrap_err().to_string();
        assert!(told.contains("not for this user; run as root (sudo)"), "{told}");
    }
    assert_eq!(manifest.installed(&shut).len(), 1);
}

#[test]
fn a_network_that_is_described_otherwise_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.onnx"), b"bytes").unwrap();
    let digest = |description: &str| {
        fs::write(dir.path().join("mine.toml"), description).unwrap();
        Manifest::builtin().open(&dir.path().join("mine.onnx")).unwrap().spec.sha256
    };
    let mine = digest(MINE);
    // What is enrolled and calibrated lies under this digest.
    assert_eq!(mine.to_string(), "f18ceb6987f308f412424edddf0cd8927a4abdab7266f401ef28e3abd6a13071");
    assert_eq!(digest(&MINE.replace("\"mine\"", "\"yours\"")), mine);
    for (from, to) in [("scale = [1.0", "scale = [0.5"), ("mean = [0.0", "mean = [127.5"), ("rgb", "bgr"), ("64", "65")]
    {
        assert_ne!(digest(&MINE.replacen(from, to, 1)), mine, "{to}");
    }
    fs::write(dir.path().join("mine.onnx"), b"other bytes").unwrap();
    assert_ne!(digest(MINE), mine);
}

#[test]
fn a_file_of_another_ending_is_not_added_and_leaves_its_neighbours_description_alone() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lay = |file: &str, text: &str| fs::write(from.path().join(file), text).unwrap();
    let (manifest, add) =
        (Manifest::builtin(), |file: &str| Manifest::builtin().add(&from.path().join(file), to.path()));
    lay("net.onnx", "bytes");
    lay("net.toml", MINE);
    add("net.onnx").unwrap();
    lay("net.toml", &MINE.replace("mine", "yours"));
    for file in ["net.ONNX", "net.bin", "net"] {
        lay(file, "other bytes");
        let refused = add(file).unwrap_err();
        assert!(matches!(refused, ManifestError::Ending { .. }), "{refused}");
    }
    assert_eq!(manifest.resolve(to.path(), "mine").unwrap().path, to.path().join("net.onnx"));
    // A known network's file is called as the manifest says, whatever it was called.
    fs::write(from.path().join("download"), &manifest.built_in("facelatch-detector").unwrap().bytes).unwrap();
    assert_eq!(add("download").unwrap().path, to.path().join("detector.onnx"));
}

#[test]
fn a_description_with_impossible_numbers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.onnx"), b"bytes").unwrap();
    for (from, to) in [
        ("64", "0"),
        ("112,", "113,"),
        ("scale = [1.0", "scale = [nan"),
        ("scale = [1.0", "scale = [1e-30"),
        ("mean = [0.0", "mean = [-1e30"),
        ("name", "nom"),
    ] {
        fs::write(dir.path().join("mine.toml"), MINE.replacen(from, to, 1)).unwrap();
        let spec = Manifest::builtin().open(&dir.path().join("mine.onnx"));
        assert!(matches!(spec, Err(ManifestError::Spec { .. })), "{from} -> {to}");
    }
}

#[test]
fn a_known_name_with_other_bytes_is_damaged_and_not_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("face_detection_yunet_2023mar.onnx");
    fs::write(&file, b"half a download").unwrap();
    let damaged = Manifest::builtin().open(&file).unwrap_err();
    assert!(matches!(damaged, ManifestError::WrongDigest { .. }), "{damaged}");
}

#[test]
fn no_description_makes_other_bytes_a_known_network() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest::builtin();
    let lay = |file: &str, bytes: &[u8]| fs::write(dir.path().join(file), bytes).unwrap();
    lay("face_detection_yunet_2023mar.onnx", b"another network");
    lay("face_detection_yunet_2023mar.toml", MINE.as_bytes());
    for name in ["yunet".to_owned(), dir.path().join("face_detection_yunet_2023mar.onnx").display().to_string()] {
        let wrong = manifest.resolve(dir.path(), &name).unwrap_err();
        assert!(matches!(wrong, ManifestError::WrongDigest { .. }), "{wrong}");
    }
    // Nor do another known network's bytes.
    lay("scrfd_500m.onnx", &manifest.built_in("facelatch-detector").unwrap().bytes);
    let wrong = manifest.resolve(dir.path(), "scrfd-500m").unwrap_err();
    assert!(wrong.to_string().contains("and scrfd-500m's is"), "{wrong}");
}

#[test]
fn adding_copies_once_and_leaves_nothing_partial() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = from.path().join("mine.onnx");
    fs::write(&file, b"bytes").unwrap();
    fs::write(from.path().join("mine.toml"), MINE).unwrap();
    let (manifest, dir) = (Manifest::builtin(), to.path().join("models"));
    assert!(!manifest.add(&file, &dir).unwrap().already);
    assert!(manifest.add(&file, &dir).unwrap().already);
    assert_eq!(manifest.resolve(&dir, "mine").unwrap().bytes.as_ref(), b"bytes");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    assert_eq!(manifest.installed(&dir).len(), 1);
}

#[test]
fn a_network_is_chosen_by_the_name_that_its_description_gives_it_unless_two_bear_it() {
    let dir = tempfile::tempdir().unwrap();
    let lay = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
    lay("net-v2.onnx", "bytes");
    lay("net-v2.toml", MINE);
    let manifest = Manifest::builtin();
    assert_eq!(manifest.resolve(dir.path(), "mine").unwrap().path, dir.path().join("net-v2.onnx"));
    assert_eq!(manifest.resolve(dir.path(), "net-v2").unwrap().spec.name, "mine");
    assert!(matches!(manifest.resolve(dir.path(), "yours"), Err(ManifestError::NoSuch { .. })));
    lay("mine.onnx", "of another name");
    lay("mine.toml", &MINE.replace("mine", "another"));
    let either = manifest.resolve(dir.path(), "mine").unwrap_err().to_string();
    assert!(either.contains("mine.onnx") && either.contains("net-v2.onnx"), "{either}");
    fs::remove_file(dir.path().join("mine.onnx")).unwrap();
    lay("net-v3.onnx", "other bytes");
    lay("net-v3.toml", MINE);
    let two = manifest.resolve(dir.path(), "mine").unwrap_err().to_string();
    assert!(two.contains("net-v2.onnx") && two.contains("net-v3.onnx"), "{two}");
}

#[test]
fn a_network_of_ones_own_takes_no_others_name_and_may_lie_there_twice() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (manifest, dir) = (Manifest::builtin(), to.path());
    let add = |stem: &str, bytes: &str, description: &str| {
        fs::write(from.path().join(format!("{stem}.toml")), description).unwrap();
        fs::write(from.path().join(format!("{stem}.onnx")), bytes).unwrap();
        manifest.add(&from.path().join(format!("{stem}.onnx")), dir)
    };
    add("net-v2", "bytes", MINE).unwrap();
    let refused = add("net-v3", "other bytes", MINE).unwrap_err();
    assert!(matches!(refused, ManifestError::Namesakes { .. }), "{refused}");
    let otherwise = add("net-v3", "bytes", &MINE.replace("rgb", "bgr")).unwrap_err();
    assert!(matches!(otherwise, ManifestError::Namesakes { .. }), "{otherwise}");
    let known = add("net-v4", "yet others", &MINE.replace("mine", "yunet")).unwrap_err();
    assert!(matches!(known, ManifestError::KnownName { .. }), "{known}");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 2, "nothing of what was refused");
    add("net-v3", "bytes", MINE).unwrap();
    assert_eq!(manifest.resolve(dir, "mine").unwrap().path, dir.join("net-v2.onnx"));
}

#[test]
fn a_network_of_ones_own_takes_no_others_place_and_a_known_one_that_of_a_damaged_file() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = from.path().join("model.onnx");
    fs::write(from.path().join("model.toml"), MINE).unwrap();
    let (manifest, dir) = (Manifest::builtin(), to.path());
    fs::write(&file, b"one").unwrap();
    manifest.add(&file, dir).unwrap();
    fs::write(&file, b"two").unwrap();
    fs::write(from.path().join("model.toml"), MINE.replace("mine", "yours")).unwrap();
    let taken = manifest.add(&file, dir).unwrap_err();
    assert!(matches!(taken, ManifestError::Taken { .. }), "{taken}");
    let there = manifest.resolve(dir, "mine").unwrap();
    assert_eq!((there.bytes.as_ref(), there.spec.name.as_str()), (&b"one"[..], "mine"));
    let known = manifest.built_in("facelatch-detector").unwrap();
    fs::write(from.path().join(&known.path), &known.bytes).unwrap();
    fs::write(dir.join(&known.path), b"half a download").unwrap();
    manifest.add(&from.path().join(&known.path), dir).unwrap();
    assert_eq!(fs::read(dir.join(&known.path)).unwrap(), known.bytes.as_ref());
}

#[test]
fn adding_writes_through_no_link_that_is_planted_in_the_directory() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = from.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let known = Manifest::builtin().built_in("facelatch-detector").unwrap();
    let file = from.path().join(&known.path);
    fs::write(&file, &known.bytes).unwrap();
    for planted in ["detector.onnx", "detector.partial"] {
        std::os::unix::fs::symlink(&victim, to.path().join(planted)).unwrap();
    }
    Manifest::builtin().add(&file, to.path()).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::symlink_metadata(to.path().join("detector.onnx")).unwrap().is_file());
}

#[test]
fn a_directory_is_no_network() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = Manifest::builtin().open(dir.path()).unwrap_err();
    assert!(matches!(wrong, ManifestError::NotAFile { .. }), "{wrong}");
}

//! Packages made, signed and checked. The release in tests/data/release was signed once by `minisign -S`; nobody has
//! its key any more.

use super::*;

/// As the key's file has it, and of somebody else.
const OTHER_KEY: &str = "RWQ7DcN7KYh/Flr1I6mfZomktB6fdDPOYMjalAeVA3gDk8a6HKcYFPY2";
const PACKAGE: &str = "facelatch_0.1.0-1_arm64.deb";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/release").join(name)
}

/// A copy that may be damaged.
fn release(home: &Home) -> PathBuf {
    let dir = home.path("release");
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir(data("")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    dir
}

fn check(home: &Home, key: &str) -> Said {
    home.run(&["release", "check", "release", "--public-key", key, "--json"])
}

#[test]
fn a_release_is_whole_although_packages_for_others_are_missing() {
    let home = Home::new();
    let dir = release(&home);
    let key = data("release.pub").display().to_string();
    let answer = check(&home, &key);
    assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
    let answer = answer.json();
    assert!(answer["signed"].as_str().unwrap().starts_with("timestamp:"), "{answer}");
    assert_eq!(answer["files"][0], serde_json::json!({ "name": "facelatch_0.1.0-1_amd64.deb", "is": "absent" }));
    let line = fs::read_to_string(&key).unwrap().lines().nth(1).unwrap().to_owned();
    assert_eq!(check(&home, &line).code, 0, "the key itself in the place of its file");
    fs::copy(&key, dir.join("facelatch.pub")).unwrap();
    fs::create_dir(dir.join("facelatch")).unwrap();
    let beside = check(&home, "release/facelatch.pub");
    assert_eq!(beside.code, 0, "key and sources beside the packages are no part of a release: {}", beside.out);
    for name in [PACKAGE, "facelatch_0.1.0-1_arm64"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    assert_eq!(check(&home, &key).code, 1, "nothing is here");
}

#[test]
fn what_was_changed_added_or_signed_by_another_is_no_release() {
    let home = Home::new();
    let dir = release(&home);
    let key = data("release.pub").display().to_string();
    let with = |name: &str, bytes: &[u8], expected: &str| {
        let before = fs::read(dir.join(name)).ok();
        fs::write(dir.join(name), bytes).unwrap();
        let said = home.run(&["release", "check", "release", "--public-key", &key]);
        assert!(said.code == 1 && said.out.contains(expected), "{}{}", said.out, said.err);
        before.map_or_else(|| fs::remove_file(dir.join(name)), |bytes| fs::write(dir.join(name), bytes)).unwrap();
    };
    with(PACKAGE, b"something else", "facelatch_0.1.0-1_arm64.deb is not what was signed");
    for package in ["facelatch_9.9.9-1_arm64.deb", "facelatch-9_arm64.deb", "Facelatch_0.1.0-1_arm64.DEB"] {
        with(package, b"", &format!("NO  {package} is no part of the release"));
    }
    let moves_the_cursor = "facelatch_\u{1b}[4A\u{1b}[J\nok  all.deb";
    with(moves_the_cursor, b"", r"NO  facelatch_\u{1b}[4A\u{1b}[J\nok  all.deb is no part of the release");
    let list = fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    with("SHA256SUMS", list.replace("0.1.0-1, commit", "0.1.0-2, commit").as_bytes(), "the signature doesn't fit");
    let other = home.run(&["release", "check", "release", "--public-key", OTHER_KEY]);
    assert!(other.code == 1 && other.out.contains("signed by another key"), "{}", other.out);
    assert!(!other.out.contains(PACKAGE), "nothing is said of files whose list isn't trusted");
}

#[test]
fn what_is_no_list_no_signature_or_no_key_says_so() {
    let home = Home::new();
    let dir = release(&home);
    check(&home, "/nowhere.pub").fails(66, &["/nowhere.pub"]);
    check(&home, &home.write("junk.pub", b"no key")).fails(65, &["junk.pub", "no public key"]);
    fs::write(dir.join("SHA256SUMS.minisig"), "untrusted comment: nothing\n").unwrap();
    check(&home, OTHER_KEY).fails(65, &["SHA256SUMS.minisig", "no signature"]);
    fs::remove_file(dir.join("SHA256SUMS.minisig")).unwrap();
    check(&home, OTHER_KEY).fails(66, &["SHA256SUMS.minisig"]);
    fs::write(dir.join("SHA256SUMS"), "\n").unwrap();
    check(&home, OTHER_KEY).fails(65, &["SHA256SUMS", "line 1"]);
}

#[test]
fn the_check_that_the_documents_name_passes_for_no_package_that_was_not_signed() {
    let home = Home::new();
    let dir = release(&home);
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/install.md")).unwrap();
    let line = document.lines().find(|line| line.starts_with("minisign -Vm SHA256SUMS")).unwrap();
    let command = line.split_once("&&").unwrap().1.split('#').next().unwrap();
    let passes = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(&dir).output().unwrap().status.success()
    };
    assert!(passes(command), "{command}");
    fs::rename(dir.join(PACKAGE), dir.join("facelatch_0.1.1-1_arm64.deb")).unwrap();
    assert!(!passes(command), "the package isn't here, although another file of the list is");
    assert!(!passes(&command.replace("0.1.0-1", "0.1.1-1")), "the list doesn't name it");
    fs::write(dir.join(PACKAGE), "something else").unwrap();
    assert!(!passes(command), "it isn't what was signed");
}

/// git in this folder, and nowhere else: a hook's environment names the repository that is being committed to, and the
/// user's settings may ask for a signature.
fn git(dir: &Path, args: &[&str]) {
    let mut git = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        git.env_remove(name);
    }
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").arg("-C").arg(dir).args(args);
    assert!(git.status().unwrap().success(), "git {args:?}");
}

/// A checkout whose scripts make files of a few bytes.
fn checkout(home: &Home) -> PathBuf {
    let dir = home.path("checkout");
    let script = |name: &str, lines: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\nset -e\ncd \"$(dirname \"$0\")\"\n{lines}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("cross/build.sh", "mkdir -p ../target/board/$1\necho binary for $1 >../target/board/$1/facelatch\n");
    script(
        "cross/packaging/deb.sh",
        "cd ../../target/board\nfor e in deb cdx.json; do echo $e >facelatch_1.2-3_$1.$e; done\n",
    );
    fs::create_dir(dir.join("cross/packaging/debian")).unwrap();
    fs::write(dir.join("cross/packaging/debian/changelog"), "facelatch (1.2-3) unstable; urgency=medium\n").unwrap();
    fs::write(dir.join(".gitignore"), "/target\n").unwrap();
    let who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"];
    for args in [&["init", "-q"][..], &["add", "."], &[&who[..], &["commit", "-qm", "all"]].concat()] {
        git(&dir, args);
    }
    dir
}

#[test]
fn a_release_is_made_of_what_was_committed_and_signed_as_its_list_says() {
    if crate::testing::answer(Command::new("git").arg("--version")).is_none() {
        return crate::testing::skipped("git is missing, so no release was made");
    }
    let home = Home::new();
    let source = checkout(&home);
    let make = |args: &[&str]| {
        let mut command = home.command(&[&["release", "make", "release"], args].concat());
        // As in a hook of another repository.
        command.env("GIT_DIR", "/nowhere").env("GIT_INDEX_FILE", "/nowhere/index");
        said(command)
    };
    make(&["--source", "/nowhere"]).fails(66, &["/nowhere", "name a checkout"]);
    fs::write(source.join("notes"), "").unwrap();
    make(&["--source", "checkout"]).fails(65, &["move these away", "notes"]);
    fs::remove_file(source.join("notes")).unwrap();
    fs::write(source.join(".gitignore"), "/target\n/out\n").unwrap();
    make(&["--source", "checkout"]).fails(65, &["commit or undo these", ".gitignore"]);
    git(&source, &["checkout", "-q", ".gitignore"]);
    let inside = home.run(&["release", "make", "checkout/cross/../out", "--source", "checkout"]);
    inside.fails(2, &["lies in the checkout", "../out"]);
    assert!(!source.join("out").exists());
    let made = make(&["--source", "checkout"]);
    assert_eq!(made.code, 0, "{}{}", made.out, made.err);
    assert!(home.path("release/facelatch_1.2-3_amd64.cdx.json").exists());
    let mut sum = Command::new("sha256sum");
    sum.args(["--check", "--strict", "SHA256SUMS"]).current_dir(home.path("release"));
    assert!(sum.status().unwrap().success(), "{}", made.out);
    make(&["--source", "checkout"]).fails(73, &["release"]);

    fs::write(home.path("release/facelatch_1.2-3_arm64.deb"), "changed").unwrap();
    let sign = ["release", "sign", "release", "--secret-key", "a.key", "--public-key", "a.pub"];
    home.write("a.pub", format!("untrusted comment: a\n{OTHER_KEY}\n").as_bytes());
    home.run(&sign).fails(65, &["facelatch_1.2-3_arm64.deb is not what", "nothing was signed"]);
    fs::write(home.path("release/facelatch_1.2-3_arm64.deb"), "deb\n").unwrap();
    let mut generate = Command::new("minisign");
    generate.args(["-GWf", "-p", "a.pub", "-s", "a.key"]).current_dir(home.0.path());
    if crate::testing::answer(&mut generate).is_none() {
        return crate::testing::skipped("minisign is missing, so nothing was signed");
    }
    let signed = home.run(&sign);
    assert_eq!(signed.code, 0, "{}{}", signed.out, signed.err);
    assert_eq!(signed.out.matches("ok  facelatch_1.2-3_").count(), 6, "{}", signed.out);
    assert_eq!(home.run(&[&sign[..6], &[OTHER_KEY]].concat()).code, 1, "what people couldn't check is said at once");
}

//! What is kept in the state directory: rid of who was erased, changed whole, and its owner's.

use super::*;

fn finding(home: &Home, check: &str) -> Option<Value> {
    let doctor = home.run(&["doctor", "--json"]);
    let mut findings = doctor.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    findings.find(|finding| finding["check"] == check)
}

#[test]
fn an_erasure_that_leaves_bytes_on_the_disk_is_no_success_and_the_doctor_complains_until_they_are_gone() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    let reader = rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM people").unwrap();
    let erased = home.run(&["people", "erase", "Ana", "--yes"]);
    erased.fails(
        69,
        &[
            "Ana and 1 template are erased, but bytes of them may still be on the disk",
            "facelatch.db is rewritten (another",
        ],
    );
    assert!(!erased.out.contains("destroyed"), "{}", erased.out);
    let complaint = finding(&home, "erasure").unwrap();
    assert_eq!(complaint["level"], "complaint", "{complaint}");
    reader.execute_batch("COMMIT").unwrap();
    home.enrol("Ben", -1.0);
    assert_eq!(finding(&home, "erasure"), None);
    home.run(&["people", "erase", "Ana", "--yes"]).fails(66, &["nobody here"]);
}
